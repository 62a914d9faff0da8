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

/// The unit that a misspelt name was probably meant for, among those that are known. An instance is meant where only
/// its template is known.
#[must_use]
pub fn closest_unit<'a>(asked: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let asked = Parts::of(asked);
    let length = asked.prefix.chars().count();
    if !(3..=UNIT_NAME_MAX).contains(&length) {
        return None;
    }
    let far = if length < 5 { 1 } else { 2 };
    let near = known.filter_map(|name| {
        let other = Parts::of(name);
        let kind = usize::from(asked.suffix != other.suffix);
        let instance = match (asked.instance, other.instance) {
            (None, None) | (Some(""), Some("")) => String::new(),
            (Some(asked), Some("")) if !asked.is_empty() => asked.to_owned(),
            (Some(asked), Some(other)) if asked == other => asked.to_owned(),
            _ => return None,
        };
        let distance = kind + strsim::osa_distance(&asked.prefix, &other.prefix);
        let at = if other.instance.is_some() { "@" } else { "" };
        let prefix = name.get(..other.prefix.len())?;
        (distance <= far).then(|| (distance, format!("{prefix}{at}{instance}.{}", other.suffix)))
    });
    near.min().map(|(_, name)| name)
}

/// A unit's name is no longer (`UNIT_NAME_MAX` of systemd).
const UNIT_NAME_MAX: usize = 255;

/// A unit's name taken apart.
struct Parts<'a> {
    /// What stands before the `@` or the suffix, in lower case.
    prefix: String,
    /// What stands behind the `@`; nothing where there is none.
    instance: Option<&'a str>,
    suffix: &'a str,
}

impl<'a> Parts<'a> {
    fn of(name: &'a str) -> Self {
        const KINDS: [&str; 4] = ["service", "socket", "timer", "path"];
        let (stem, suffix) = match name.rsplit_once('.') {
            Some((stem, suffix)) if KINDS.contains(&suffix) => (stem, suffix),
            // docuum.servcie
            Some((stem, suffix)) if strsim::osa_distance(suffix, "service") <= 2 => (stem, "service"),
            _ => (name, "service"),
        };
        let (prefix, instance) = stem.split_once('@').map_or((stem, None), |(p, i)| (p, Some(i)));
        Parts { prefix: prefix.to_ascii_lowercase(), instance, suffix }
    }
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
    fn slips_in_the_names_of_units_are_understood() {
        let known =
            ["docuum.service", "NetworkManager.service", "getty@.service", "app@one.service", "a.socket"];
        let meant = |asked| super::closest_unit(asked, known.into_iter());
        assert_eq!(meant("docum").as_deref(), Some("docuum.service"));
        assert_eq!(meant("dcouum.service").as_deref(), Some("docuum.service"));
        assert_eq!(meant("docuum.servcie").as_deref(), Some("docuum.service"));
        assert_eq!(meant("docuum.timer").as_deref(), Some("docuum.service"));
        assert_eq!(meant("network-manager").as_deref(), Some("NetworkManager.service"));
        assert_eq!(meant("gety@tty1.service").as_deref(), Some("getty@tty1.service"));
        assert_eq!(meant("gety@.service").as_deref(), Some("getty@.service"));
        assert_eq!(meant("ap@one").as_deref(), None, "two letters may be anything");
        assert_eq!(meant("appp@one").as_deref(), Some("app@one.service"));
        assert_eq!(meant("getty.service"), None);
        assert_eq!(meant("nginx.service"), None);
        assert_eq!(meant(&"x".repeat(100_000)), None);
    }

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
