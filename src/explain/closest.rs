//! The name that was probably meant.

use super::knowledge;
use crate::syscalls::Arch;

/// Longer than any name of a call.
const LENGTH_MAX: usize = 40;

/// The call or group that a misspelt name was probably meant for.
#[must_use]
pub fn closest(text: &str) -> Option<String> {
    among(text, calls().chain(knowledge::groups()))
}

/// The call that a misspelt name was probably meant for.
#[must_use]
pub fn closest_call(text: &str) -> Option<String> {
    among(text, calls())
}

fn calls() -> impl Iterator<Item = &'static str> {
    crate::rules::calls().chain((0..600).filter_map(|number| Arch::native().name(number)))
}

fn among<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let text = text.trim_start_matches('~').to_ascii_lowercase();
    let length = text.chars().count();
    if !(3..=LENGTH_MAX).contains(&length) {
        return None;
    }
    let far = if length < 5 { 1 } else { 2 };
    let near = names.map(|name| (strsim::osa_distance(&text, name), name));
    near.filter(|(distance, _)| *distance <= far).min().map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn slips_are_understood() {
        let to = |text| super::closest(text);
        assert_eq!(to("setrlmit").as_deref(), Some("setrlimit"));
        assert_eq!(to("prlimit").as_deref(), Some("prlimit64"));
        assert_eq!(to("@resource").as_deref(), Some("@resources"));
        assert_eq!(to("opne").as_deref(), Some("open"));
        assert_eq!(to("~SETRLIMITS").as_deref(), Some("setrlimit"));
        assert_eq!(to("docuum"), None);
        assert_eq!(super::closest_call("@resource"), None);
        assert_eq!(super::closest_call("setrlmit").as_deref(), Some("setrlimit"));
        assert_eq!(to("x"), None);
        assert_eq!(to(&"x".repeat(100_000)), None);
    }
}
