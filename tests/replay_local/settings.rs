//! What settings beside `SystemCallFilter=` forbid, in the local replay.

use super::*;

/// The lines that a replay found.
fn relaxed(seen: &Observation) -> Vec<String> {
    seen.settings.as_ref().unwrap().text()
}

#[test]
fn what_other_settings_forbid_fails_as_under_the_manager() {
    let _alone = serial();
    let case = Case::new();
    let file = case.path("file");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let command = format!("/bin/chmod u+s {}", file.display());
    let unit = format!("ExecStart={command}\nSystemCallFilter=~kcmp");
    assert_eq!(case.record(&unit).unwrap().outcome, Outcome::Finished);
    let confined = unit + "\nRestrictSUIDSGID=yes";
    let seen = case.prove(&confined).unwrap();
    assert_eq!(seen.outcome, failed("exit-code", Exit::Status(1), &command));
    assert_eq!(denied(&seen), ["chmod fchmodat Failed(1)"]);
    assert_eq!(seen.denials[0].arguments, ["…", "…", "04644"]);
    // run again with that setting relaxed, it works
    let seen = case.record(&confined).unwrap();
    assert_eq!(seen.outcome, Outcome::Finished);
    assert_eq!(denied(&seen), ["chmod fchmodat Failed(1)"]);
    assert_eq!(relaxed(&seen), ["RestrictSUIDSGID=no"]);
    assert_eq!(case.prove(&(confined + "\nRestrictSUIDSGID=no")).unwrap().outcome, Outcome::Finished);
}

/// Several causes in one unit, of which the filter is one; and what fails without harm stays forbidden.
#[test]
fn several_settings_at_once() {
    let _alone = serial();
    let case = Case::new();
    let unit = "Type=oneshot\nExecStart=/usr/bin/nice -n 5 /bin/true\n\
                ExecStart=/usr/bin/perl -e 'socket(S, 17, 3, 0); socket(S, 16, 3, 0) or exit 3'\n\
                ExecStart=/usr/bin/perl -e 'exit(syscall(9, 0, 4096, 7, 0x22, -1, 0) == -1)'\n\
                SystemCallFilter=~setpriority\nRestrictAddressFamilies=AF_UNIX\nMemoryDenyWriteExecute=yes";
    let seen = case.record(unit).unwrap();
    assert_eq!(seen.outcome, Outcome::Finished);
    assert_eq!(denied(&seen), ["nice setpriority Recorded", "perl mmap Failed(1)", "perl socket Failed(97)"]);
    assert_eq!(relaxed(&seen), ["RestrictAddressFamilies=AF_NETLINK", "MemoryDenyWriteExecute=no"]);
    let runs: Vec<_> = seen.notes.iter().filter(|note| note.starts_with("run again")).collect();
    assert_eq!(
        runs,
        [
            "run again with RestrictAddressFamilies=AF_NETLINK AF_PACKET: it fails",
            "run again with RestrictAddressFamilies=AF_NETLINK AF_PACKET and MemoryDenyWriteExecute=no: it finishes \
             successfully",
            "run again with RestrictAddressFamilies=AF_NETLINK AF_PACKET: it fails",
            "run again with RestrictAddressFamilies=AF_PACKET and MemoryDenyWriteExecute=no: it fails",
            "run again with RestrictAddressFamilies=AF_NETLINK and MemoryDenyWriteExecute=no: it finishes successfully",
        ]
    );
}

/// Newer systemd has the kernel refuse to make memory executable; what is executable already stays so.
#[test]
fn memory_that_is_executable_already() {
    let _alone = serial();
    let case = Case::new();
    // maps a page that may be read and executed, or only read, and protects it anew as the former
    let program = |protection: u32| {
        format!(
            "ExecStart=/usr/bin/perl -e '$$p = syscall(9, 0, 4096, {protection}, 0x22, -1, 0); \
             exit(syscall(10, $$p, 4096, 5) == -1)'\nMemoryDenyWriteExecute=yes"
        )
    };
    let record = |protection| {
        let unit = case.unit(&program(protection));
        let policy = Policy::evaluate(&unit, &Groups::from_rules(262).unwrap());
        local::record(&unit, &policy, &case.options()).unwrap()
    };
    let fine = record(5);
    assert_eq!((denied(&fine), fine.outcome), (vec![], Outcome::Finished));
    let refused = record(1);
    assert_eq!(denied(&refused), ["perl mprotect Failed(13)"]);
    assert_eq!(relaxed(&refused), ["MemoryDenyWriteExecute=no"]);
}
