use super::*;
use crate::syscalls::Arch;

const TASK: &str = "auid=4294967295 uid=0 gid=0 ses=4294967295 pid=537 comm=\"victim\" \
    exe=\"/usr/local/bin/victim\" sig=31 arch=c000003e syscall=92 compat=0 ip=0x433079 code=0x80000000";

fn fault(line: &str) -> Fault {
    parse(line.as_bytes()).unwrap_err().fault
}

#[test]
fn every_form() {
    let stamp = "audit(1795462747.021:142): ";
    for line in [
        format!("{stamp}{TASK}"),
        format!("{stamp}{TASK}\n\0"),
        format!("audit: type=1326 {stamp}{TASK}"),
        format!("[ 2873.312703] audit: type=1326 {stamp}{TASK}"),
        format!("[ 2873.312703] host kernel: audit: type=1326 {stamp}{TASK}"),
        format!("Nov 23 19:39:07 host kernel: audit: type=1326 {stamp}{TASK}"),
        format!("2026-11-23T19:39:16.273000+00:00 host kernel: [    1.5] audit: type=1326 {stamp}{TASK}"),
        format!("type=SECCOMP msg={stamp}{TASK}"),
        format!("node=web1 type=SECCOMP msg={stamp}{TASK}\x1dAUID=\"unset\" UID=\"root\" ARCH=x86_64"),
    ] {
        let record = parse(line.as_bytes()).unwrap().expect(&line);
        assert_eq!(record.time_us, Some(1_795_462_747_021_000), "{line}");
        assert_eq!((record.serial, record.pid, record.uid), (Some(142), 537, 0));
        assert_eq!((record.comm.bytes(), record.signal), (&b"victim"[..], 31));
        assert_eq!(record.call, Some(Call { arch: Arch::X86_64, number: 92 }));
        assert_eq!((record.ip, record.effect()), (0x0043_3079, Some(Effect::Killed)));
    }
    for line in [
        format!("SECCOMP {TASK}"),
        format!("2026-11-23T19:39:16.273000+00:00 host audit[537]: SECCOMP {TASK}"),
    ] {
        assert_eq!(parse(line.as_bytes()).unwrap().unwrap().time_us, None);
    }
}

#[test]
fn other_lines_are_none() {
    for line in [
        "",
        "audit(1.2:3): proctitle=2F62",
        "type=SYSCALL msg=audit(1.2:3): arch=c000003e",
        "audit: type=1400 audit(1.2:3): apparmor=\"DENIED\"",
    ] {
        assert_eq!(parse(line.as_bytes()), Ok(None), "{line}");
    }
    // what a service printed is not what the kernel wrote
    for forged in [
        "Nov 23 19:39:07 host web[7]: audit: type=1326 audit(1.2:3): ",
        "Nov 23 19:39:07 host web[7]: x kernel: audit: type=1326 audit(1.2:3): ",
        "Nov 23 19:39:07 host web: x kernel: [    1.5] audit: type=1326 audit(1.2:3): ",
        "Nov 23 19:39:07 host web[7]: x audit[5]: SECCOMP ",
        "web: SECCOMP ",
    ] {
        assert_eq!(parse(format!("{forged}{TASK}").as_bytes()), Ok(None), "{forged}");
    }
}

#[test]
fn what_follows_is_auditds_or_somebody_elses() {
    // an identifier that is a whole record, of which journalctl would print the message behind it
    let line = |head: &str| format!("{head}audit(1.2:3): {TASK}\x1d[7]: text");
    assert!(parse(line("type=SECCOMP msg=").as_bytes()).unwrap().is_some());
    assert_eq!(fault(&line("Nov 23 19:39:07 host kernel: audit: type=1326 ")), Fault::Trailing);
}

#[test]
fn names() {
    let line = |comm: &str| TASK.replace("\"victim\"", comm);
    let named = |comm: &str| parse(format!("SECCOMP {}", line(comm)).as_bytes()).unwrap().unwrap().comm;
    assert_eq!(named("78222073797363616C6C3D313635").bytes(), b"x\" syscall=165");
    assert_eq!(named("62FF64").bytes(), b"b\xffd");
    assert!(named("(null)").is_empty());
    for hostile in ["\"x\" syscall=165\"", "\"a b\"", "abc", "", "\"a\x1b\"", "\"x\" exe=\"/y\""] {
        let found = fault(&format!("SECCOMP {}", line(hostile)));
        assert!(matches!(found, Fault::Name(_) | Fault::Missing(_)), "{hostile}: {found}");
    }
}

#[test]
fn order_and_numbers_are_the_kernels() {
    let with = |from: &str, to: &str| fault(&format!("SECCOMP {}", TASK.replace(from, to)));
    assert_eq!(with("sig=31 arch=c000003e", "arch=c000003e sig=31"), Fault::Missing("sig"));
    assert_eq!(with("syscall=92", "syscall=92 syscall=93"), Fault::Missing("compat"));
    assert_eq!(with("pid=537", "pid=5x7"), Fault::Missing("comm"));
    assert_eq!(with("pid=537", "pid=99999999999"), Fault::Number("pid"));
    assert_eq!(with("code=0x80000000", "code=0x80000000 more"), Fault::Trailing);
    assert_eq!(with("code=0x80000000", "code=0x180000000"), Fault::Number("code"));
}

#[test]
fn labels_architectures_and_effects() {
    let with = |from: &str, to: &str| {
        parse(format!("SECCOMP {}", TASK.replace(from, to)).as_bytes()).unwrap().unwrap()
    };
    assert_eq!(with("pid=537", "subj=docker-default (enforce) pid=537").pid, 537);
    let foreign = with("arch=c000003e", "arch=80000016");
    assert_eq!((foreign.call, foreign.audit_arch, foreign.number), (None, 0x8000_0016, 92));
    assert!(foreign.denial(Source::AuditSocket).is_none());
    let x32 = with("syscall=92", "syscall=1073741984").call.unwrap();
    assert_eq!(x32, Call { arch: Arch::X32, number: 160 });
    assert_eq!(with("code=0x80000000", "code=0x0").effect(), Some(Effect::Killed));
    assert_eq!(with("code=0x80000000", "code=0x7ffc0000").effect(), Some(Effect::Recorded));
    assert_eq!(with("code=0x80000000", "code=0x50001").effect(), Some(Effect::Failed(1)));
    assert_eq!(with("code=0x80000000", "code=0x7ff00000").effect(), None);
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>, at in 0usize..240, byte: u8) {
        let _ = parse(&bytes);
        let mut line = format!("type=SECCOMP msg=audit(1.2:3): {TASK}").into_bytes();
        if let Some(place) = line.get_mut(at) {
            *place = byte;
        }
        let _ = parse(&line);
        line.truncate(at);
        let _ = parse(&line);
    }
}
