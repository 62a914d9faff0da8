//! The arguments of a notified call: those that the unit's settings look at, and how they are shown.

use crate::policy::families::Family;
use crate::policy::{Compare, Policy, Test};
use crate::syscalls::Call;

/// The arguments that the settings look at; the others, pointers among them, as 0.
pub(super) fn looked_at(policy: &Policy, call: Call, arguments: &[u64; 6]) -> [u64; 6] {
    let mut out = [0; 6];
    for at in policy.looks_at(call).into_iter().map(usize::from) {
        if let (Some(to), Some(from)) = (out.get_mut(at), arguments.get(at)) {
            *to = *from;
        }
    }
    out
}

/// The same for people, up to the last that is looked at: words where the setting has words, `…` for the others.
pub(super) fn shown(policy: &Policy, call: Call, arguments: &[u64; 6]) -> Vec<String> {
    let answer = policy.answer_of_settings(call);
    let (looked_at, tests) = (policy.looks_at(call), answer.holding(arguments));
    let last = looked_at.iter().max().map_or(0, |last| usize::from(*last) + 1);
    let one = |at: usize| {
        let counts = looked_at.iter().any(|argument| usize::from(*argument) == at);
        if counts { in_words(call, at, arguments[at], tests) } else { "…".to_owned() }
    };
    (0..last.min(arguments.len())).map(one).collect()
}

fn in_words(call: Call, at: usize, value: u64, tests: &[Test]) -> String {
    if call.name() == Some("socket") && at == 0 {
        let family = u16::try_from(value).ok().and_then(|number| Family::new(number).name());
        return family.map_or_else(|| value.to_string(), str::to_owned);
    }
    if tests.iter().any(|test| usize::from(test.argument) == at && test.words.starts_with("S_IS")) {
        return format!("0{value:o}"); // a mode, as everybody writes it
    }
    let of_this = tests.iter().filter(|test| usize::from(test.argument) == at);
    let words = of_this.filter_map(|test| match test.compare {
        Compare::Has(bits) if value == bits => Some(test.words.to_owned()),
        Compare::Has(_) => Some(format!("{} in {value:#x}", test.words)),
        Compare::Equal(_) | Compare::LowerHalf(_) => Some(test.words.to_owned()),
        Compare::NotEqual(_) | Compare::Less(_) | Compare::Greater(_) => None,
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() { format!("{value:#x}") } else { words.join("|") }
}
