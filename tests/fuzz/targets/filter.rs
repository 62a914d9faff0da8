//! Any bytes below [Service] make a policy: it is evaluated and asked, by the rules of every version.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use unitfix::policy::Policy;
use unitfix::policy::show::{PROPERTIES, show};
use unitfix::report::{Lint, People, PolicyPage};
use unitfix::scope::Scope;
use unitfix::seccomp::bpf;
use unitfix::subject::Judged;
use unitfix::syscalls::{Arch, Call, Groups};
use unitfix::unit::{SourceFile, Unit, UnitName};

static GROUPS: LazyLock<Vec<Groups>> = LazyLock::new(|| {
    [247, 252, 257, 262].into_iter().map(|version| Groups::from_rules(version).unwrap()).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let mut unit = Unit {
        scope: Scope::System,
        name: UnitName::parse("fuzz.service").unwrap(),
        fragment: SourceFile::new("/fuzz.service", b"[Service]\n".as_slice()),
        drop_ins: Vec::new(),
        settings: Vec::new(),
        findings: Vec::new(),
    };
    let mut text = b"[Service]\n".to_vec();
    text.extend_from_slice(bytes);
    let version = bytes.first().copied().unwrap_or_default();
    let groups = &GROUPS[usize::from(version) % GROUPS.len()];
    unit.add_drop_in(SourceFile::new("/fuzz.service.d/\u{1b}[31m\n.conf", text), groups.systemd);
    let policy = Policy::evaluate(&unit, groups);
    for number in [0, 1, 56, 160, 435, 600, u32::MAX] {
        for arch in Arch::ALL {
            let call = Call { arch, number };
            let answer = policy.answer(call);
            assert!(!policy.decide(call).denies() || answer.otherwise.denies());
        }
    }
    assert_eq!(show(&unit, groups).properties.len(), PROPERTIES.len());
    // a thousand times slower than the rest
    if bytes.len() % 32 == 0 {
        let judged = Judged { unit, groups: groups.clone(), policy: policy.clone() };
        let page = PolicyPage::new(&judged, &[]);
        for text in [page.text(&People::default()), Lint::new(&judged, "fuzz").text(&People::default())] {
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        }
        let program = bpf::compile(&policy, bpf::OnDenied::Enforce);
        assert!(program.len() <= 4096, "BPF_MAXINSNS");
    }
});
