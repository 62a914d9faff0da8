//! The name that was probably meant.

use super::knowledge;
use crate::syscalls::Arch;

/// Longer than any name of a call.
const LENGTH_MAX: usize = 40;

/// The name that a misspelt one was probably meant for.
#[must_use]
pub(super) fn to(text: &str) -> Option<String> {
    let text = text.trim_start_matches('~').to_ascii_lowercase();
    let length = text.chars().count();
    if !(3..=LENGTH_MAX).contains(&length) {
        return None;
    }
    let far = if length < 5 { 1 } else { 2 };
    let tables = (0..600).filter_map(|number| Arch::native().name(number));
    let names = knowledge::calls().chain(knowledge::groups()).chain(tables);
    let near = names.map(|name| (strsim::osa_distance(&text, name), name));
    near.filter(|(distance, _)| *distance <= far).min().map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn slips_are_understood() {
        let to = |text| super::to(text);
        assert_eq!(to("setrlmit").as_deref(), Some("setrlimit"));
        assert_eq!(to("prlimit").as_deref(), Some("prlimit64"));
        assert_eq!(to("@resource").as_deref(), Some("@resources"));
        assert_eq!(to("opne").as_deref(), Some("open"));
        assert_eq!(to("~SETRLIMITS").as_deref(), Some("setrlimit"));
        assert_eq!(to("docuum"), None);
        assert_eq!(to("x"), None);
        assert_eq!(to(&"x".repeat(100_000)), None);
    }
}
