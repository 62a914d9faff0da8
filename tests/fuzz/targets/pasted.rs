//! Anything may be pasted into `explain`: it is taken apart and explained.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use unitfix::explain::{Context, explain, parse};
use unitfix::report::People;
use unitfix::rules::Rules;
use unitfix::syscalls::Groups;

static RULES: LazyLock<Rules> = LazyLock::new(Rules::default);
static GROUPS: LazyLock<Groups> = LazyLock::new(|| Groups::from_rules(252).unwrap());

fuzz_target!(|bytes: &[u8]| {
    let explanation = explain(
        &parse::parse(bytes),
        Context { groups: &GROUPS, rules: &RULES, unit: None, repair: "unitfix UNIT".into() },
    );
    let text = People::default().explanation(&explanation);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
});
