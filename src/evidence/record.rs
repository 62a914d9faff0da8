//! The kernel's SECCOMP record (type 1326): `audit_seccomp()` and `audit_log_task()` in kernel/auditsc.c write it.
//! The fields come in one fixed order, and a name that holds a quote, a space or a control character is written
//! in hexadecimal (`audit_log_n_untrustedstring()`), so a parser that walks the fields in that order cannot be
//! misled by what a process calls itself.

use super::{Denial, Effect, Process, Source, Untrusted};
use crate::blame::Stack;
use crate::syscalls::Call;
use std::fmt;

/// The number of the record's type (`AUDIT_SECCOMP` in linux/audit.h).
pub const AUDIT_SECCOMP: u16 = 1326;

/// The `auid` of processes that no login began (`AUDIT_UID_UNSET` in linux/audit.h).
pub const NOBODY_LOGGED_IN: u32 = u32::MAX;

/// What the kernel wrote about one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When, in microseconds since the epoch; the kernel gives milliseconds. Nothing in the journal's message.
    pub time_us: Option<u64>,
    /// The number of the event, which together with the time names it. Nothing in the journal's message.
    pub serial: Option<u64>,
    /// The user who logged in and whose process this descends from (`loginuid`, which a process cannot take off);
    /// [`NOBODY_LOGGED_IN`] for system services.
    pub login: u32,
    /// The process, in the initial PID namespace.
    pub pid: u32,
    /// The user that the process ran as.
    pub uid: u32,
    /// Its name; empty where the kernel knew none.
    pub comm: Untrusted,
    /// Its program.
    pub exe: Option<Untrusted>,
    /// The signal that it got; 0: none.
    pub signal: u32,
    /// `AUDIT_ARCH_*` of the call.
    pub audit_arch: u32,
    /// The call's number as the kernel gives it.
    pub number: u32,
    /// The call; nothing where unitfix does not know the architecture.
    pub call: Option<Call>,
    /// Where in the program the call was made.
    pub ip: u64,
    /// `SECCOMP_RET_*` of the filter.
    pub code: u32,
}

/// Why a line that claims to be a SECCOMP record is not one that a kernel wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {fault}")]
pub struct Malformed {
    /// How many bytes into the line, from 0.
    pub at: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This field should stand here.
    Missing(&'static str),
    /// This field is no number, or too large a one.
    Number(&'static str),
    /// This field is neither quoted, nor hexadecimal, nor `(null)`.
    Name(&'static str),
    /// Something follows the last field.
    Trailing,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Missing(key) => write!(f, "{key} should stand here"),
            Fault::Number(key) => write!(f, "{key} is not a number that the kernel writes"),
            Fault::Name(key) => write!(f, "{key} is not a name as the kernel writes it"),
            Fault::Trailing => f.write_str("something follows the record"),
        }
    }
}

impl Record {
    /// What became of the call. The kernel leaves the errno out of a record that it writes for one, so that
    /// `Failed(0)` is a call that failed with an unknown errno.
    #[must_use]
    pub fn effect(&self) -> Option<Effect> {
        // SECCOMP_RET_* of linux/seccomp.h; the lower half is the action's data
        match self.code & 0xffff_0000 {
            0x8000_0000 | 0 => Some(Effect::Killed),
            0x7ffc_0000 => Some(Effect::Recorded),
            0x0005_0000 => Some(Effect::Failed(u16::try_from(self.code & 0xffff).unwrap_or_default())),
            _ => None,
        }
    }

    /// As a denial; nothing where the architecture is unknown or the filter did not forbid the call.
    #[must_use]
    pub fn denial(self, source: Source) -> Option<Denial> {
        let (call, effect) = (self.call?, self.effect()?);
        let login = self.login != NOBODY_LOGGED_IN;
        let process = Process {
            pid: self.pid,
            comm: self.comm,
            exe: self.exe,
            parent: None,
            login,
            user: Some(self.uid),
        };
        Some(Denial {
            call,
            effect,
            process,
            time: self.time_us,
            source,
            attribution: None,
            arguments: Vec::new(),
            raw_arguments: None,
            stack: Stack::default(),
        })
    }
}

/// Read one line of a log, or one message of the audit socket. Nothing: it is about something else.
///
/// These forms are known, each also with what journalctl, dmesg or syslog put in front of it:
///
/// - `audit(1690000000.123:456): auid=…` from the audit socket (which brings only the record's text)
/// - `SECCOMP auid=…`, the journal's message for it
/// - `audit: type=1326 audit(…): auid=…` of the kernel's log
/// - `type=SECCOMP msg=audit(…): auid=…` of audit.log, also with `node=…` in front of it
pub fn parse(line: &[u8]) -> Result<Option<Record>, Malformed> {
    let Some(body) = body(line) else {
        return Ok(None);
    };
    let mut scan = Scan { line, at: body.at };
    let (time_us, serial) = if body.stamped { scan.stamp()? } else { (None, None) };
    let login = scan.decimal("auid")?;
    scan.expect(b" ", "uid")?;
    let uid = scan.decimal("uid")?;
    scan.expect(b" ", "gid")?;
    scan.decimal("gid")?;
    scan.expect(b" ", "ses")?;
    scan.decimal("ses")?;
    scan.expect(b" ", "pid")?;
    scan.label();
    let pid = scan.decimal("pid")?;
    scan.expect(b" ", "comm")?;
    let comm = scan.name("comm")?.unwrap_or_default();
    scan.expect(b" ", "exe")?;
    let exe = scan.name("exe")?;
    scan.expect(b" ", "sig")?;
    let signal = scan.decimal("sig")?;
    scan.expect(b" ", "arch")?;
    let audit_arch = scan.hexadecimal("arch", b"arch=")?;
    scan.expect(b" ", "syscall")?;
    let number = scan.call_number()?;
    scan.expect(b" ", "compat")?;
    scan.decimal("compat")?;
    scan.expect(b" ", "ip")?;
    let ip = scan.hexadecimal("ip", b"ip=0x")?;
    scan.expect(b" ", "code")?;
    let code = scan.hexadecimal("code", b"code=0x")?;
    scan.end(body.read_by_auditd)?;
    let audit_arch = u32::try_from(audit_arch).map_err(|_| scan.fault(Fault::Number("arch")))?;
    let code = u32::try_from(code).map_err(|_| scan.fault(Fault::Number("code")))?;
    let call = Call::from_record(audit_arch, number);
    Ok(Some(Record {
        time_us,
        serial,
        login,
        pid,
        uid,
        comm,
        exe,
        signal,
        audit_arch,
        number,
        call,
        ip,
        code,
    }))
}

/// Where the record's own text begins.
struct Body {
    at: usize,
    /// It begins with `audit(TIME:SERIAL): `.
    stamped: bool,
    /// auditd may have added its own reading of the numbers.
    read_by_auditd: bool,
}

fn body(line: &[u8]) -> Option<Body> {
    if line.starts_with(b"audit(") {
        // the socket brings records of all types in this form; its caller has looked at the type
        return find(line, b" auid=").map(|_| Body { at: 0, stamped: true, read_by_auditd: false });
    }
    for head in [&b"type=SECCOMP msg="[..], b"type=1326 msg="] {
        if let Some(at) = find(line, head).filter(|at| is_node(line.get(..*at))) {
            return Some(Body { at: at + head.len(), stamped: true, read_by_auditd: true });
        }
    }
    if let Some(at) = find(line, b"audit: type=1326 ").filter(|at| is_kernel_prefix(line.get(..*at))) {
        let at = at + b"audit: type=1326 ".len();
        return Some(Body { at, stamped: true, read_by_auditd: false });
    }
    let at = find(line, b"SECCOMP auid=").filter(|at| is_audit_prefix(line.get(..*at)))?;
    Some(Body { at: at + b"SECCOMP ".len(), stamped: false, read_by_auditd: false })
}

/// `node=HOST ` of an audit.log that collects several hosts, or nothing.
fn is_node(prefix: Option<&[u8]>) -> bool {
    let words = prefix.and_then(|p| p.strip_prefix(b"node="));
    prefix == Some(b"") || words.is_some_and(|w| w.iter().position(|b| *b == b' ') == w.len().checked_sub(1))
}

/// Whether this is what journalctl and syslog write before the name of who wrote a line. Behind that name, and `: `,
/// stands what he wrote, which is not to be taken for a name.
fn is_date_and_host(text: &[u8]) -> bool {
    find(text, b": ").is_none()
}

/// What dmesg (`[  123.456] `), journalctl and syslog (`DATE HOST kernel: `, then perhaps the former) put first.
fn is_kernel_prefix(prefix: Option<&[u8]>) -> bool {
    let Some(prefix) = prefix else { return false };
    let rest = match find(prefix, b" kernel: ") {
        Some(at) if prefix.get(..at).is_some_and(is_date_and_host) => {
            prefix.get(at + b" kernel: ".len()..).unwrap_or_default()
        }
        Some(_) => return false,
        None => prefix,
    };
    let uptime = |c: &u8| c.is_ascii_digit() || matches!(c, b' ' | b'.' | b',' | b'T');
    let level = rest.strip_prefix(b"<5>").unwrap_or(rest);
    level.is_empty()
        || level.strip_prefix(b"[").and_then(|r| r.strip_suffix(b"] ")).is_some_and(|r| r.iter().all(uptime))
}

/// `DATE HOST audit[PID]: ` of journalctl, or nothing.
fn is_audit_prefix(prefix: Option<&[u8]>) -> bool {
    let Some(prefix) = prefix else { return false };
    prefix.is_empty()
        || find(prefix, b" audit[")
            .filter(|at| prefix.get(..*at).is_some_and(is_date_and_host))
            .and_then(|at| prefix.get(at + b" audit[".len()..))
            .and_then(|rest| rest.strip_suffix(b"]: "))
            .is_some_and(|pid| !pid.is_empty() && pid.iter().all(u8::is_ascii_digit))
}

pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

/// Walks a record from field to field.
struct Scan<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a [u8] {
        self.line.get(self.at..).unwrap_or_default()
    }

    fn fault(&self, fault: Fault) -> Malformed {
        Malformed { at: self.at, fault }
    }

    fn expect(&mut self, text: &[u8], field: &'static str) -> Result<(), Malformed> {
        if !self.rest().starts_with(text) {
            return Err(self.fault(Fault::Missing(field)));
        }
        self.at += text.len();
        Ok(())
    }

    fn key(&mut self, key: &'static str) -> Result<(), Malformed> {
        self.expect(key.as_bytes(), key)?;
        self.expect(b"=", key)
    }

    /// The bytes up to the end of the value.
    fn while_matching(&mut self, belongs: impl Fn(&u8) -> bool) -> &'a [u8] {
        let length = self.rest().iter().take_while(|b| belongs(b)).count();
        let value = self.rest().get(..length).unwrap_or_default();
        self.at += length;
        value
    }

    fn digits<T: std::str::FromStr>(&mut self, field: &'static str) -> Result<T, Malformed> {
        let start = self.at;
        let digits = self.while_matching(u8::is_ascii_digit);
        let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
        number.ok_or(Malformed { at: start, fault: Fault::Number(field) })
    }

    fn decimal(&mut self, key: &'static str) -> Result<u32, Malformed> {
        self.key(key)?;
        self.digits(key)
    }

    fn hexadecimal(&mut self, key: &'static str, head: &[u8]) -> Result<u64, Malformed> {
        self.expect(head, key)?;
        let start = self.at;
        let digits = self.while_matching(u8::is_ascii_hexdigit);
        let number = std::str::from_utf8(digits).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
        number.ok_or(Malformed { at: start, fault: Fault::Number(key) })
    }

    /// A number of a call is signed in the record: -1 is what a tracer puts there to skip a call.
    fn call_number(&mut self) -> Result<u32, Malformed> {
        self.key("syscall")?;
        if self.rest().starts_with(b"-1 ") {
            self.at += 2;
            return Ok(u32::MAX);
        }
        self.digits("syscall")
    }

    /// `audit(SECONDS.MILLISECONDS:SERIAL): `
    fn stamp(&mut self) -> Result<(Option<u64>, Option<u64>), Malformed> {
        const TIME: &str = "audit(TIME:SERIAL)";
        self.expect(b"audit(", TIME)?;
        let seconds: u64 = self.digits(TIME)?;
        self.expect(b".", TIME)?;
        let milliseconds: u64 = self.digits(TIME)?;
        self.expect(b":", TIME)?;
        let serial = self.digits(TIME)?;
        self.expect(b"): ", TIME)?;
        let time = seconds.checked_mul(1_000_000).and_then(|us| us.checked_add(milliseconds.min(999) * 1000));
        Ok((Some(time.ok_or_else(|| self.fault(Fault::Number(TIME)))?), Some(serial)))
    }

    /// The security label, which the kernel writes as it is, and which may hold spaces (`docker-default (enforce)`).
    /// Only the administrator names labels.
    fn label(&mut self) {
        if self.rest().starts_with(b"subj=")
            && let Some(length) = find(self.rest(), b" pid=")
        {
            self.at += length + 1;
        }
    }

    /// A name that the process chose: quoted, in hexadecimal, or `(null)`.
    fn name(&mut self, key: &'static str) -> Result<Option<Untrusted>, Malformed> {
        self.key(key)?;
        let start = self.at;
        let wrong = Malformed { at: start, fault: Fault::Name(key) };
        if self.rest().starts_with(b"(null)") {
            self.at += b"(null)".len();
            return Ok(None);
        }
        if self.rest().starts_with(b"\"") {
            self.at += 1;
            // audit_string_contains_control(): anything else would have been written in hexadecimal
            let value = self.while_matching(|b| (0x21..=0x7e).contains(b) && *b != b'"');
            self.expect(b"\"", key).map_err(|_| wrong)?;
            return Ok(Some(Untrusted::new(value)));
        }
        let value = self.while_matching(u8::is_ascii_hexdigit);
        unhex(value).filter(|bytes| !bytes.is_empty()).map(|bytes| Some(Untrusted::new(bytes))).ok_or(wrong)
    }

    /// Nothing may follow, but for the end of a message, and auditd's own reading of the numbers (after 0x1d) in its
    /// log: elsewhere it would be the rest of a line that somebody else wrote.
    fn end(&self, read_by_auditd: bool) -> Result<(), Malformed> {
        let rest = self.rest();
        let padding = rest.iter().all(|b| matches!(b, 0 | b'\n' | b'\r' | b' '));
        if padding || (read_by_auditd && rest.starts_with(b"\x1d")) {
            Ok(())
        } else {
            Err(self.fault(Fault::Trailing))
        }
    }
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_chunks::<2>() else {
        return None;
    };
    pairs.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
#[path = "record/tests.rs"]
mod tests;
