//! Units by chance: whatever the layout, the patched unit means what it means with the drop-in, and nothing but lines of
//! the filter was touched.

use super::*;
use crate::policy::show::show;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const CALLS: [&str; 9] =
    ["setrlimit", "setpriority", "chown", "fchown", "mlock", "keyctl", "bpf", "mount", "uname"];
const WORDS: [&str; 18] = [
    "setrlimit",
    "setpriority",
    "chown",
    "fchown",
    "mlock",
    "keyctl",
    "bpf",
    "mount",
    "uname",
    "@resources",
    "@chown",
    "@keyring",
    "@privileged",
    "@system-service",
    "@nonsense",
    "nonsense",
    "setrlimit:EPERM",
    "chown:ENOSYS",
];

/// A value of words, on one line or on several, with comments between.
fn value() -> impl Strategy<Value = String> {
    let breaks = prop_oneof![
        5 => Just(" "),
        1 => Just("   "),
        1 => Just(" \\\n  "),
        1 => Just("\\\n# a comment\n\t"),
    ];
    let words = prop::collection::vec((select(&WORDS[..]), breaks), 0..6);
    let start = prop_oneof![5 => Just("~"), 4 => Just(""), 1 => Just("~ ")];
    (start, words, prop_oneof![9 => Just(""), 1 => Just(" \\\n")]).prop_map(|(start, words, end)| {
        let mut text = start.to_owned();
        for (at, (word, space)) in words.iter().enumerate() {
            if at > 0 {
                text.push_str(space);
            }
            text.push_str(word);
        }
        text + end
    })
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => value().prop_map(|value| format!("SystemCallFilter={value}")),
        1 => value().prop_map(|value| format!("SystemCallFilter = {value}")),
        1 => Just("SystemCallFilter=".to_owned()),
        1 => Just("SystemCallArchitectures=native".to_owned()),
        1 => Just("SystemCallErrorNumber=EPERM".to_owned()),
        1 => Just("# a comment".to_owned()),
        1 => Just("\n".to_owned()),
        1 => Just("[Unit]\nDescription=x\n[Service]".to_owned()),
        1 => Just("ExecStart=/bin/true \\\n  --more".to_owned()),
    ]
}

/// A file, with line ends of one kind, and perhaps none at its end.
fn file() -> impl Strategy<Value = String> {
    let end = select(vec!["\n", "\n", "\r\n"]);
    (prop::collection::vec(line(), 1..6), end, any::<bool>()).prop_map(|(lines, end, last)| {
        let text = format!("[Service]\n{}{}", lines.join("\n"), if last { "\n" } else { "" });
        text.replace('\n', end)
    })
}

/// What is left of a file without the lines of the settings that may change.
fn rest(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8(bytes.to_vec()).unwrap().replace("\r\n", "\n");
    let mut kept: Vec<String> = Vec::new();
    let mut ours = false;
    let mut continued = false;
    for line in text.lines() {
        if line.starts_with('#') {
            kept.push(line.to_owned());
            continue;
        }
        if !continued {
            ours = line.starts_with("SystemCallFilter") || line.starts_with("SystemCallArchitectures");
        }
        continued = line.ends_with('\\');
        if !ours && !line.is_empty() {
            kept.push(line.to_owned());
        }
    }
    kept
}

/// Each takes a tenth of a second: few, where not more are asked for.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(32)
}

proptest! {
    // of every second unit there is nothing to repair
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_global_rejects: 8 * cases().max(128),
        ..ProptestConfig::default()
    })]
    #[test]
    fn the_patch_means_what_the_drop_in_means(
        fragment in file(),
        vendor in prop::option::of(file()),
        version in select(&[247, 252, 257, 262][..]),
        calls in subsequence(&CALLS[..], 1..4),
        soft in any::<bool>(),
        foreign in prop::bool::weighted(0.2),
    ) {
        let groups = Groups::from_rules(version).unwrap();
        let mut files = vec![(UNIT, fragment.as_bytes())];
        let vendor = vendor.unwrap_or_default();
        files.push(("/usr/lib/systemd/system/a.service.d/5.conf", vendor.as_bytes()));
        let before = unit(&files, version);
        let policy = Policy::evaluate(&before, &groups);
        let mut repair = Amendment::default();
        for (at, call) in calls.into_iter().filter(|call| policy.forbids(call)).enumerate() {
            if soft && at == 0 && policy.action(call) != crate::policy::Action::Errno(38) {
                repair.soften.insert(call.to_owned(), 38);
            } else {
                repair.allow.insert(call.to_owned());
            }
        }
        if foreign && !policy.admits(Arch::X86) {
            repair.architectures.insert(Arch::X86);
        }
        prop_assume!(!repair.is_empty());
        let mut wanted = before.clone();
        let drop_in = SourceFile::new("/d/zz-unitfix.conf", format!("[Service]\n{}", repair.lines()));
        wanted.add_drop_in(drop_in, version);

        let patched = patch(&before, &repair, &groups);
        let (was, should) = (Policy::evaluate(&before, &groups), Policy::evaluate(&wanted, &groups));
        let names = || (0..500).filter_map(|number| Arch::native().name(number));
        let changes = names().any(|name| was.action(name) != should.action(name));
        if !changes && was.admits(Arch::X86) == should.admits(Arch::X86) {
            // 247 forgets errnos on allow lists
            prop_assert_eq!(patched, Err(Refusal::Needless(UNIT.into())));
            return Ok(());
        }
        let patched = patched.map_err(|refusal| TestCaseError::fail(format!("{refusal}\n{fragment}\n{vendor}")))?;
        let mut after = before.clone();
        for file in &patched {
            prop_assert_eq!(rest(&file.before), rest(&file.after));
            after = after.with_file(&SourceFile::new(&file.path, file.after.clone()), version);
        }
        let text = patched.iter().map(|f| String::from_utf8_lossy(&f.after)).collect::<Vec<_>>().join("\n--\n");
        prop_assert_eq!(show(&after, &groups), show(&wanted, &groups), "{}", text);
        let is = Policy::evaluate(&after, &groups);
        for name in names() {
            prop_assert_eq!(is.action(name), should.action(name), "{}: {}", name, text);
        }
        if is.filter.exists() {
            // else a word would make an allow list
            prop_assert_eq!(patch(&after, &repair, &groups), Err(Refusal::Needless(UNIT.into())), "{}", text);
        }
    }
}
