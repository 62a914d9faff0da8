//! What `policy --lint` says keeps a service from starting does, and nothing else does.

use std::fmt::Write as _;

use unitfix::finding::{Code, Severity};
use unitfix::policy::Policy;
use unitfix::root::Root;
use unitfix::syscalls::Groups;
use unitfix::unit::{Unit, UnitName};

use crate::bed::Bed;

use super::Case;

pub const CASES: &[Case] = &[Case::new("lint::what_does_not_start", what_does_not_start)];

/// `EXIT_SECCOMP`
const SECCOMP: &str = "228";

/// Settings of services that run /bin/true. What they forbid, it does not call.
const LINES: &[&str] = &[
    "SystemCallFilter=~kcmp:EPERM",
    "SystemCallFilter=@system-service\nSystemCallFilter=~write:EPERM",
    "SystemCallFilter=~write:EPERM kcmp",
    "SystemCallFilter=~kcmp:kill",
    "SystemCallFilter=~kcmp:0",
    "SystemCallFilter=~kcmp:4094",
    "SystemCallFilter=~kcmp:4095",
    "SystemCallFilter=~@swap:4095 kcmp:4095",
    "SystemCallFilter=~kcmp:4095\nSystemCallFilter=kcmp",
    "SystemCallFilter=~kcmp:4095\nSystemCallFilter=~kcmp",
    "SystemCallFilter=~kcmp:EPERM\nSystemCallErrorNumber=EPERM",
    "SystemCallFilter=~kcmp:ENOSYS\nSystemCallErrorNumber=ENOSYS",
    "SystemCallFilter=~kcmp\nSystemCallErrorNumber=4095",
    "SystemCallErrorNumber=4095",
    "SystemCallFilter=@known\nSystemCallErrorNumber=4095",
    "SystemCallFilter=@system-service\nSystemCallErrorNumber=4095",
    "SystemCallFilter=~kcmp:EPERM\nSystemCallErrorNumber=4095",
    "SystemCallFilter=~kcmp:EPERM mount\nSystemCallErrorNumber=4095",
    "SystemCallFilter=@known\nSystemCallErrorNumber=4094",
    "SystemCallFilter=@known\nSystemCallErrorNumber=0",
    "SystemCallFilter=@known\nSystemCallErrorNumber=ENOSYS",
    "SystemCallFilter=@known\nSystemCallErrorNumber=ENOSYS\nSystemCallFilter=~kcmp:ENOSYS",
    "SystemCallFilter=@known\nSystemCallFilter=~kcmp:EPERM",
    "SystemCallFilter=@known\nSystemCallFilter=~kcmp:kill",
    "SystemCallFilter=@known\nSystemCallFilter=~kcmp:kill\nSystemCallErrorNumber=EPERM",
    "SystemCallFilter=@known\nSystemCallFilter=~kcmp:ENOSYS",
    "SystemCallFilter=@known\nSystemCallFilter=~kcmp:EPERM\nSystemCallErrorNumber=EPERM",
    "SystemCallFilter=@known\nSystemCallFilter=~@swap:EPERM\nSystemCallErrorNumber=EPERM",
    "SystemCallFilter=@known\nSystemCallFilter=~kcmp:EACCES\nSystemCallErrorNumber=EPERM",
    "SystemCallFilter=@known\nSystemCallFilter=~kcmp:EPERM\nSystemCallFilter=kcmp\nSystemCallErrorNumber=EPERM",
    "SystemCallFilter=@known\nSystemCallFilter=~kcmp:EPERM\nSystemCallFilter=~kcmp\nSystemCallErrorNumber=EPERM",
    "SystemCallFilter=@known\nSystemCallFilter=~kcmp:4095",
    "SystemCallFilter=@known\nSystemCallFilter=kcmp:4095",
    "SystemCallFilter=@known\nSystemCallFilter=~kcmp:0\nSystemCallErrorNumber=0",
    "SystemCallFilter=~\nSystemCallErrorNumber=4095",
    "SystemCallFilter=~socketcall:4095",
    "SystemCallFilter=@known\nSystemCallFilter=~socketcall:EPERM\nSystemCallErrorNumber=EPERM",
    "SystemCallFilter=@known\nSystemCallFilter=~write:ENOSYS",
    "SystemCallFilter=@known\nSystemCallFilter=~arm_fadvise64_64:4095",
    "SystemCallFilter=@known\nSystemCallLog=~kcmp",
];

fn what_does_not_start(bed: &Bed) {
    let version = bed.systemd_version();
    let listing = bed.run(&["systemd-analyze", "syscall-filter"]);
    let groups = Groups::from_listing(&listing, version).unwrap();
    let names: Vec<String> = (0..LINES.len()).map(|number| format!("lint{number}.service")).collect();
    for (name, lines) in names.iter().zip(LINES) {
        let text = format!("[Service]\nType=oneshot\nExecStart=/bin/true\n{lines}\n");
        bed.write_file(&format!("/etc/systemd/system/{name}"), text);
    }
    bed.run(&["systemctl", "daemon-reload"]);
    let root = Root::new(bed.root());
    let mut differences = String::new();
    for (name, lines) in names.iter().zip(LINES) {
        bed.exec(&["systemctl", "start", name]);
        let refused = bed.show(name, "ExecMainStatus") == SECCOMP;
        let unit = Unit::find(&root, &UnitName::parse(name).unwrap(), version).unwrap();
        let policy = Policy::evaluate(&unit, &groups);
        let said = policy.findings.iter().any(|finding| {
            let fatal =
                [Code::ErrnoIsDefault, Code::ErrnoOnWrite, Code::ErrnoTooHigh].contains(&finding.code);
            assert_eq!(fatal, finding.severity == Severity::Error, "{finding:?}");
            fatal
        });
        if said != refused {
            let _ = writeln!(differences, "{lines:?}: said {said}, is {refused}");
        }
    }
    assert!(differences.is_empty(), "systemd {version}:\n{differences}");
}
