//! Any bytes are strace's output, with stacks or without: reading it ends, without a panic, and loses no call.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;
use unitfix::evidence::strace::{What, denials, read_line};
use unitfix::policy::Policy;
use unitfix::scope::Scope;
use unitfix::syscalls::Groups;
use unitfix::unit::{SourceFile, Unit, UnitName, syntax};

fn policy() -> Policy {
    let text = "[Service]\nSystemCallFilter=~@resources chown\n";
    let fragment = SourceFile::new("x.service", text.to_owned());
    let settings = syntax::parse_as(&fragment, u32::MAX).settings;
    let name = UnitName::parse("x.service").expect("a name");
    let unit =
        Unit { name, scope: Scope::System, fragment, drop_ins: Vec::new(), settings, findings: Vec::new() };
    Policy::evaluate(&unit, &Groups::from_rules(252).expect("groups"))
}

fuzz_target!(|bytes: &[u8]| {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    let Ok(read) = denials(bytes, POLICY.get_or_init(policy), None) else { return };
    let lines = bytes.split(|b| *b == b'\n');
    let calls = lines.filter(|line| matches!(read_line(line).what, What::Call(_))).count();
    assert!(read.calls >= calls as u64);
    for denial in read.kept.denials {
        let _ = denial.stack.short();
    }
});
