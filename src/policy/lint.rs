//! What is wrong with a unit's filter although every word of it is known: what looks like a filter and is none, and
//! what keeps the service from starting. What single words do wrong is found where they are read ([`super::filter`]).

use super::filter::FILTER;
use super::restriction::protects_hostname;
use super::{Action, Filter, Policy, errno_name};
use crate::finding::{Code, Finding};
use crate::plan::is_own;
use crate::unit::{SANDBOX, Setting, Unit, parse_boolean};

/// Settings of the sandbox that take a boolean and nothing else.
const BOOLEANS: [&str; 11] = [
    "PrivateDevices",
    "MemoryDenyWriteExecute",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "LockPersonality",
    "ProtectClock",
    "ProtectKernelModules",
    "ProtectKernelLogs",
    "ProtectKernelTunables",
    "NoNewPrivileges",
    "DynamicUser",
];

/// libseccomp takes errnos below this one (`MAX_ERRNO`, src/db.h).
const ERRNO_END: u16 = 4095;

/// Everything that is wrong with the filter as a whole.
pub(super) fn lint(unit: &Unit, policy: &Policy) -> Vec<Finding> {
    let mut out = Vec::new();
    out.extend(no_filter(unit, &policy.filter));
    out.extend(cannot_start(unit, policy));
    out.extend(unit.settings.iter().filter_map(misplaced));
    let boolean = |line: &&Setting| parse_boolean(&line.value.text).is_some();
    let hostname = |line: &&Setting| protects_hostname(&line.value.text, policy.systemd).is_some();
    let booleans = BOOLEANS.iter().flat_map(|name| unit.service(name)).filter(|line| !boolean(line));
    let hostnames = unit.service("ProtectHostname").filter(|line| !hostname(line));
    out.extend(booleans.chain(hostnames).map(not_a_boolean));
    out
}

/// Lines of a filter that come to nothing: every call is allowed.
fn no_filter(unit: &Unit, filter: &Filter) -> Option<Finding> {
    let lines: Vec<&Setting> = unit.service(FILTER).collect();
    if filter.exists() || lines.iter().all(|line| line.value.text.is_empty()) {
        return None;
    }
    let reset = lines.iter().rposition(|line| line.value.text.is_empty());
    let live = &lines[reset.map_or(0, |at| at + 1)..];
    let Some(last) = live.last() else {
        let place = lines.last().map(|line| line.value.whole());
        let message = "this takes the whole filter back: every call is allowed";
        return Some(Finding::note(Code::ResetLeavesNoFilter, message, place));
    };
    let place = Some(last.value.whole());
    let file = last.value.file();
    let named = file.path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("unitfix.conf"));
    if named && is_own(file) {
        let message = "the repair took the last call off this deny list, so there is no filter any more";
        return Some(Finding::note(Code::EmptiedDenyList, message, place));
    }
    // the first line that is not empty made it a deny list
    let message = if last.value.text.starts_with('~') {
        "nothing is on this deny list, so there is no filter: every call is allowed"
    } else {
        "this takes the last call off a deny list, so there is no filter: every call is allowed"
    };
    Some(Finding::warning(Code::EmptiedDenyList, message, place))
}

/// Actions that libseccomp refuses, so that the service ends with 228/SECCOMP before it begins.
fn cannot_start(unit: &Unit, policy: &Policy) -> Vec<Finding> {
    let mut out: Vec<Finding> = Vec::new();
    if !policy.filter.exists() {
        return out;
    }
    let default = policy.libseccomp_default();
    let place = || unit.last("SystemCallErrorNumber").map(|line| line.value.whole());
    if policy.default == Action::Errno(ERRNO_END) && policy.uses_default() {
        let message = "the kernel has no errno 4095: the service does not start (228/SECCOMP)";
        out.push(Finding::error(Code::ErrnoTooHigh, message, place()));
    }
    for (name, action, token) in policy.filter.own_actions() {
        let (code, message) = if action == Action::Errno(ERRNO_END) {
            (Code::ErrnoTooHigh, format!("the kernel has no errno 4095, which {name} is to get"))
        } else if name == "write" && policy.lets_write_through() && matches!(policy.filter, Filter::Allow(_))
        {
            let message = "write is to get an errno, and systemd itself has to put it on the list";
            (Code::ErrnoOnWrite, message.to_owned())
        } else if default == Some(action) {
            let words = match action {
                Action::Errno(number) => errno_name(number),
                _ => "kill".to_owned(),
            };
            let why = if policy.default == action {
                "what all other forbidden calls get"
            } else {
                "what this systemd gives unknown calls"
            };
            (
                Code::ErrnoIsDefault,
                format!("{name} is to get {words}, which is {why}, and libseccomp refuses that"),
            )
        } else {
            continue;
        };
        let span = token.map(|token| token.span.clone());
        // a group has many calls, and one finding
        if out.iter().all(|found| found.code != code || found.span != span) {
            let message = format!("{message}: the service does not start (228/SECCOMP)");
            out.push(Finding::error(code, message, span));
        }
    }
    out
}

/// A setting that confines system calls where systemd does not look for it, or almost spelt like one.
fn misplaced(setting: &Setting) -> Option<Finding> {
    let section = setting.section.as_str();
    if section.starts_with("X-") || setting.key.starts_with("X-") {
        return None; // for others than systemd
    }
    let known = SANDBOX.iter().find(|known| known.eq_ignore_ascii_case(&setting.key))?;
    let place = Some(setting.value.whole());
    if *known != setting.key {
        let message = format!("systemd knows no setting {}=, but {known}=: the line is ignored", setting.key);
        return Some(Finding::warning(Code::MisspeltSetting, message, place));
    }
    let message = format!("{known}= stands in [{section}] and counts only in [Service]: the line is ignored");
    (section != "Service").then(|| Finding::warning(Code::WrongSection, message, place))
}

fn not_a_boolean(setting: &Setting) -> Finding {
    let message = format!("'{}' is neither yes nor no: this systemd ignores the line", setting.value.text);
    Finding::warning(Code::BadBoolean, message, Some(setting.value.whole()))
}
