//! A stack: which functions had called which, when a denied call was made.

use crate::evidence::Untrusted;
use serde::Serialize;

/// No more frames are kept of a stack: what is further out says little, and recursion may have no end.
pub const FRAMES_MAX: usize = 64;

/// So many frames are shown on one line.
const SHOWN_MAX: usize = 4;

/// A stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Stack {
    /// The frames: first the function that made the call, then who called that, and so on.
    pub frames: Vec<Frame>,
}

/// A function that was running.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Frame {
    /// Its name, where that is known.
    pub function: Option<Untrusted>,
    /// The program or library.
    pub module: Option<Untrusted>,
    /// Where in it: the address as the file's own symbols count. Of a caller, where the call returns to.
    pub address: u64,
    /// The source file, where that is known. Of what the compiler put into a function from another, it is the other's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Untrusted>,
    /// The line in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// An address in the function that a frame is of: where a call returns to may be the first of another function.
pub(super) fn inside(frame: usize, address: u64) -> u64 {
    if frame == 0 { address } else { address.saturating_sub(1) }
}

/// Names are cut to so many bytes.
const NAME_MAX: usize = 512;

/// A name in another program's words; nothing, if it is empty.
#[must_use]
pub fn told_name(name: &[u8]) -> Option<Untrusted> {
    let name = name.get(..NAME_MAX).unwrap_or(name);
    (!name.is_empty()).then(|| Untrusted::new(name))
}

impl Stack {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The few frames that say something, outermost first: `os.init → syscall.Setrlimit (/usr/bin/docker)`. What every
    /// program does to begin or to make a call is left out. Nothing, where no frame would be left.
    #[must_use]
    pub fn short(&self) -> Option<String> {
        let telling: Vec<&Frame> = self.frames.iter().filter(|f| !f.is_machinery()).collect();
        let mut shown: Vec<&Frame> = Vec::new();
        for frame in telling {
            // of functions without a name, the innermost in a row stands for all; of recursion, one
            let same = shown
                .last()
                .is_some_and(|last| last.function == frame.function && last.module == frame.module);
            if !same {
                shown.push(frame);
            }
        }
        // where the program itself begins says less than what it then does
        let named_main = |frame: &&Frame| frame.name() == b"main" || frame.name() == b"main.main";
        if shown.len() > SHOWN_MAX && shown.last().is_some_and(named_main) {
            shown.pop();
        }
        let more = shown.len() > SHOWN_MAX;
        shown.truncate(SHOWN_MAX);
        // the C library only passes the call on
        let module = shown.iter().find(|f| !f.is_library()).or(shown.first())?.module.as_ref();
        let mut words: Vec<String> = shown.iter().rev().map(|frame| frame.shown()).collect();
        if more {
            words.insert(0, "…".to_owned());
        }
        let module = module.map(|module| format!(" ({module})")).unwrap_or_default();
        Some(format!("{}{module}", words.join(" → ")))
    }

    /// Whether the program's own functions have names.
    #[must_use]
    pub fn is_named(&self) -> bool {
        let mut own = self.frames.iter().filter(|f| !f.is_machinery() && !f.is_library());
        own.any(|frame| frame.function.is_some())
    }
}

impl Frame {
    fn name(&self) -> &[u8] {
        self.function.as_ref().map(Untrusted::bytes).unwrap_or_default()
    }

    /// Its name as people write it: Go counts the init functions of a package, which all have one name.
    fn shown(&self) -> String {
        let Some(function) = &self.function else { return format!("0x{:x}", self.address) };
        let name = function.bytes();
        let digits = name.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        let init = name.get(..name.len() - digits).and_then(|rest| rest.strip_suffix(b"."));
        match init.filter(|rest| digits > 0 && rest.ends_with(b".init")) {
            Some(init) => Untrusted::new(init).to_string(),
            None => function.to_string(),
        }
    }

    /// Whether every program, or every call, goes through this function.
    fn is_machinery(&self) -> bool {
        const BEGIN: [&[u8]; 8] = [
            b"_start",
            b"__libc_start_main",
            b"__libc_start_call_main",
            b"__libc_init_first",
            b"__clone",
            b"__clone3",
            b"clone3",
            b"start_thread",
        ];
        const GO: [&[u8]; 4] = [b"runtime.", b"runtime/", b"internal/runtime/", b"internal/syscall/unix."];
        const GO_CALLS: [&[u8]; 4] =
            [b"syscall.RawSyscall", b"syscall.Syscall", b"syscall.rawSyscall", b"syscall.runtime_"];
        let name = self.name();
        let name = name.split(|b| *b == b'@').next().unwrap_or_default();
        BEGIN.contains(&name)
            || GO.iter().chain(&GO_CALLS).any(|head| name.starts_with(head))
            || self.module.as_ref().is_some_and(|module| base(module).starts_with(b"ld-linux"))
    }

    /// Whether it is in the C library, whose functions are named like the calls.
    fn is_library(&self) -> bool {
        let module = self.module.as_ref().map(base).unwrap_or_default();
        [&b"libc.so"[..], b"libc-2.", b"libpthread", b"ld-musl", b"libc.musl", b"[vdso]"]
            .iter()
            .any(|head| module.starts_with(head))
    }
}

fn base(path: &Untrusted) -> &[u8] {
    path.bytes().rsplit(|b| *b == b'/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `function module`, innermost first.
    fn stack(frames: &[(&str, &str)]) -> Stack {
        let frame = |(at, (function, module)): (usize, &(&str, &str))| Frame {
            function: (!function.is_empty()).then(|| Untrusted::new(*function)),
            module: (!module.is_empty()).then(|| Untrusted::new(*module)),
            address: 0x1000 * (at as u64 + 1),
            ..Frame::default()
        };
        Stack { frames: frames.iter().enumerate().map(frame).collect() }
    }

    #[test]
    fn what_is_worth_a_line() {
        let docker = "/usr/bin/docker";
        let libc = "/usr/lib/x86_64-linux-gnu/libc.so.6";
        for (frames, short) in [
            (
                &[
                    ("runtime/internal/syscall.Syscall6", docker),
                    ("syscall.RawSyscall", docker),
                    ("syscall.Setrlimit", docker),
                    ("os.init.1", docker),
                    ("runtime.doInit", docker),
                    ("runtime.main", docker),
                    ("runtime.goexit", docker),
                ][..],
                Some("os.init → syscall.Setrlimit (/usr/bin/docker)"),
            ),
            (
                &[
                    ("setpriority", libc),
                    ("raise_priority", "/usr/bin/p"),
                    ("main", "/usr/bin/p"),
                    ("__libc_start_call_main", libc),
                    ("__libc_start_main@@GLIBC_2.34", libc),
                    ("_start", "/usr/bin/p"),
                ],
                Some("main → raise_priority → setpriority (/usr/bin/p)"),
            ),
            (
                &[
                    ("chown", libc),
                    ("", "/usr/bin/p"),
                    ("", "/usr/bin/p"),
                    ("", "/usr/bin/p"),
                    ("_start", "/usr/bin/p"),
                ],
                Some("0x2000 → chown (/usr/bin/p)"),
            ),
            (
                &[
                    ("a", "/p"),
                    ("b", "/p"),
                    ("b", "/p"),
                    ("c", "/p"),
                    ("d", "/p"),
                    ("e", "/p"),
                    ("main", "/p"),
                ],
                Some("… → d → c → b → a (/p)"),
            ),
            (
                &[("a", "/p"), ("b", "/p"), ("c", "/p"), ("d", "/p"), ("main", "/p")],
                Some("d → c → b → a (/p)"),
            ),
            (&[("x\x1b[31m", "/p\n")], Some(r"x\u{1b}[31m (/p\n)")),
            (&[("", "")], Some("0x1000")),
            (&[("_start", "/p")], None),
            (&[], None),
        ] {
            assert_eq!(stack(frames).short().as_deref(), short, "{frames:?}");
        }
    }

    #[test]
    fn whether_the_program_has_names() {
        assert!(!stack(&[("chown", "/lib/libc.so.6"), ("", "/p"), ("_start", "/p")]).is_named());
        assert!(stack(&[("chown", "/lib/libc.so.6"), ("", "/p"), ("main", "/p")]).is_named());
    }
}
