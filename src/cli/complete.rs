//! What a shell can complete: `unitfix __complete WORD...`, which the scripts in completions/ run. The words are those of
//! the command line as far as the cursor; the last one is to be completed, and may be empty. Each candidate is a line: the
//! word, and behind a tabulator what it is. Only directories and files are read, no service manager is asked.

use super::{Cli, OLDEST_SYSTEMD};
use crate::change::Store;
use crate::explain::knowledge::groups;
use crate::manager::{BusManager, Manager};
use crate::report::output;
use crate::root::Root;
use crate::rules::calls;
use crate::scope::Scope;
use crate::syscalls::{Arch, RULES_OF};
use crate::unit::{NameMap, UnitName, started};
use clap::CommandFactory;
use clap_complete::engine::{CompletionCandidate, PathCompleter, ValueCompleter};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

/// The first argument that asks for it.
pub const ARGUMENT: &str = "__complete";

/// Print what can stand in the place of the last word.
#[must_use]
pub fn complete_main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(2).collect();
    output::result(&candidates(words));
    ExitCode::SUCCESS
}

/// The lines.
fn candidates(words: Vec<OsString>) -> String {
    let Some((word, at)) = words.last().cloned().zip(words.len().checked_sub(1)) else {
        return String::new();
    };
    let here = std::env::current_dir().ok();
    let found = clap_complete::engine::complete(&mut Cli::command(), words, at, here.as_deref());
    // nothing that can be completed there is no mistake
    let found = found.unwrap_or_default().into_iter().filter_map(|candidate| line(&candidate, &word));
    found.collect()
}

/// A candidate as a line. Options are many, and shown to those who begin one.
fn line(candidate: &CompletionCandidate, word: &OsStr) -> Option<String> {
    let value = candidate.get_value().to_str().filter(|value| value.chars().all(is_plain))?;
    if value.starts_with('-') && !word.as_encoded_bytes().starts_with(b"-") {
        return None;
    }
    let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
    let help = help.lines().next().map(|help| format!("\t{help}")).unwrap_or_default();
    Some(format!("{value}{help}\n"))
}

/// Whether a character stands for itself on a command line and on a terminal: others can name files, and what completes
/// them would have to be believed. The backslash of escaped unit names is left to the shells.
fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || "@%+=:,./_-~\\".contains(c)
}

/// The root that the command line names.
fn root() -> Root {
    let mut words = std::env::args_os().skip_while(|word| word != "--root");
    let separate = words.nth(1);
    let joined = || std::env::args_os().find_map(|word| Some(word.to_str()?.strip_prefix("--root=")?.into()));
    separate.or_else(joined).map(Root::new).unwrap_or_default()
}

/// Whether the units of the user's own manager are meant.
fn of_user() -> bool {
    std::env::args_os().any(|word| word == "--user")
}

/// The receipts that are meant.
fn store() -> Store {
    if of_user() { Store::of(&Scope::of_caller()) } else { Store::new(&root()) }
}

/// Those of some names that begin with a word.
fn beginning<'a>(names: impl Iterator<Item = &'a str>, word: &OsStr) -> Vec<CompletionCandidate> {
    let Some(word) = word.to_str() else { return Vec::new() };
    let names: BTreeSet<&str> = names.filter(|name| name.starts_with(word)).collect();
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// Services, or behind a slash unit files.
pub(super) fn units(word: &OsStr) -> Vec<CompletionCandidate> {
    if word.as_encoded_bytes().contains(&b'/') {
        return unit_files(word);
    }
    if of_user() { services_of_user(word) } else { services(&root(), word) }
}

/// The services that the user's own manager knows; none where it does not run.
fn services_of_user(word: &OsStr) -> Vec<CompletionCandidate> {
    let known = BusManager::connect(&Scope::of_caller()).and_then(|manager| manager.known_units());
    let known: Vec<UnitName> = known.iter().flatten().filter_map(|name| UnitName::parse(name).ok()).collect();
    beginning(known.iter().map(UnitName::as_str), word)
}

/// The services that have a unit file below a root, or run.
fn services(root: &Root, word: &OsStr) -> Vec<CompletionCandidate> {
    // the oldest looks into most directories
    let names: Vec<UnitName> = NameMap::read(root, OLDEST_SYSTEMD).services().chain(started(root)).collect();
    beginning(names.iter().map(UnitName::as_str), word)
}

/// Unit files, and the directories on the way to them.
fn unit_files(word: &OsStr) -> Vec<CompletionCandidate> {
    let is_service = |path: &Path| path.extension().is_some_and(|extension| extension == "service");
    PathCompleter::file().filter(is_service).complete(word)
}

/// Units for which something was written, or behind a slash unit files.
pub(super) fn written(word: &OsStr) -> Vec<CompletionCandidate> {
    if word.as_encoded_bytes().contains(&b'/') {
        return unit_files(word);
    }
    let units = store().units().unwrap_or_default();
    beginning(units.iter().map(UnitName::as_str), word)
}

/// Calls, also behind an architecture, and units.
pub(super) fn units_and_calls(word: &OsStr) -> Vec<CompletionCandidate> {
    let mut found = calls_of(word);
    found.extend(units(word));
    found
}

/// Calls and groups of them.
pub(super) fn calls_and_groups(word: &OsStr) -> Vec<CompletionCandidate> {
    beginning(calls().chain(groups()), word)
}

fn calls_of(word: &OsStr) -> Vec<CompletionCandidate> {
    let behind = word.to_str().and_then(|word| word.split_once(':'));
    let Some((prefix, word)) = behind else { return beginning(calls(), word) };
    let Some(arch) = Arch::from_systemd_name(prefix) else { return Vec::new() };
    let found = beginning(calls().filter(|call| arch.number(call).is_some()), OsStr::new(word));
    found.into_iter().map(|call| call.add_prefix(format!("{prefix}:"))).collect()
}

/// The versions of systemd of which everything is known.
pub(super) fn versions(word: &OsStr) -> Vec<CompletionCandidate> {
    let versions = RULES_OF.map(|version| version.to_string());
    beginning(versions.iter().map(String::as_str), word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn completed(words: &[&str]) -> Vec<String> {
        let lines =
            candidates(std::iter::once("unitfix").chain(words.iter().copied()).map(OsString::from).collect());
        lines.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn what_can_follow() {
        assert_eq!(completed(&["expl"]), ["explain"]);
        assert_eq!(completed(&["explain", "setrlim"]), ["setrlimit"]);
        assert_eq!(completed(&["explain", "@resour"]), ["@resources"]);
        assert_eq!(completed(&["explain", "31/SYS", "@reb"]), ["@reboot"]);
        assert_eq!(completed(&["policy", "a.service", "x86:socketc"]), ["x86:socketcall"]);
        assert_eq!(completed(&["policy", "a.service", "mount", "pivot"]), ["pivot_root"]);
        assert_eq!(completed(&["policy", "a.service", "vax:mou"]), Vec::<String>::new());
        assert_eq!(completed(&["--prefer", ""]), ["exact", "soft", "family", "group"]);
        assert_eq!(completed(&["--prefer=fam"]), ["--prefer=family"]);
        assert_eq!(completed(&["explain", "--systemd", "25"]), ["252", "257"]);
        assert_eq!(completed(&["--min"]), ["--minimize"]);
        assert!(!completed(&[""]).iter().any(|word| word.starts_with('-')));
        assert!(candidates(Vec::new()).is_empty());
    }

    #[test]
    fn options_say_what_they_are() {
        let lines = candidates(["unitfix", "watch", "--until"].map(OsString::from).to_vec());
        assert_eq!(lines, "--until-idle\tUntil no new kind of call came for so long (5min)\n");
    }

    #[test]
    fn services_of_a_root() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["etc/systemd/system", "usr/lib/systemd/system", "run/systemd/units"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for file in [
            "etc/systemd/system/docuum.service",
            "usr/lib/systemd/system/docuum.service",
            "usr/lib/systemd/system/docuum.socket",
            "usr/lib/systemd/system/getty@.service",
            "usr/lib/systemd/system/\u{1b}[31m.service",
            "run/systemd/units/invocation:getty@tty1.service",
            "run/systemd/units/log-level-max:other.service",
        ] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        let root = Root::new(dir.path());
        let names = |word: &str| {
            let found = services(&root, OsStr::new(word)).into_iter();
            found.map(|candidate| candidate.get_value().to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(""), ["docuum.service", "getty@tty1.service"]);
        assert_eq!(names("g"), ["getty@tty1.service"]);
        assert!(services(&Root::new(dir.path().join("nothing")), OsStr::new("")).is_empty());
    }

    #[test]
    fn names_that_a_shell_would_take_apart_are_left_out() {
        let word = OsStr::new("");
        for hostile in
            ["a b", "$(reboot).service", "a;b", "a\nb", "\u{1b}[2J", "a'b", "a\"b", "a*", "\u{202e}x"]
        {
            assert_eq!(line(&CompletionCandidate::new(hostile), word), None, "{hostile:?}");
        }
        let escaped = r"systemd-fsck@dev-disk-by\x2duuid.service";
        assert_eq!(line(&CompletionCandidate::new(escaped), word).unwrap(), format!("{escaped}\n"));
    }

    proptest! {
        #[test]
        fn no_command_line_is_too_odd(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "", "-", "--", "---", "-D", "-Dx", "-x", "--root", "--root=", "--prefer", "--prefer=", "--until-idle",
                    "--boot=", "--patch", "--since", "-2h", "policy", "watch", "scan", "help", "explain", "status", "a.service",
                    "./", "@", ":", "x86:", "=", "é", "160",
                ]),
                0..6,
            )
        ) {
            candidates(std::iter::once("unitfix").chain(words).map(OsString::from).collect());
        }
    }
}
