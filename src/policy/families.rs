//! `RestrictAddressFamilies=`: the families of sockets that a unit may open.
//! `config_parse_address_families()` in src/core/load-fragment.c.

use super::Token;
use super::words::{Quotes, words};
use crate::finding::{Code, Finding};
use crate::unit::{Setting, Unit};
use std::collections::BTreeMap;

const SETTING: &str = "RestrictAddressFamilies";

/// From this version on (seen on 252, not on 247), `none` allows no family at all.
const NONE_FROM: u32 = 252;

/// From this version on (seen on 262, not on 257), an unknown name ends the line.
const UNKNOWN_ENDS_FROM: u32 = 262;

/// The oldest version that was seen to know `AF_MCTP`: systemd has the names from the headers it was built with.
const MCTP_FROM: u32 = 252;

/// The names that the manager shows and their numbers: bits/socket.h of glibc 2.36, each taken by the running managers
/// 247, 252, 257 and 262 (but see `MCTP_FROM`).
const FAMILIES: [(&str, u16); 45] = [
    ("AF_UNIX", 1),
    ("AF_INET", 2),
    ("AF_AX25", 3),
    ("AF_IPX", 4),
    ("AF_APPLETALK", 5),
    ("AF_NETROM", 6),
    ("AF_BRIDGE", 7),
    ("AF_ATMPVC", 8),
    ("AF_X25", 9),
    ("AF_INET6", 10),
    ("AF_ROSE", 11),
    ("AF_DECnet", 12),
    ("AF_NETBEUI", 13),
    ("AF_SECURITY", 14),
    ("AF_KEY", 15),
    ("AF_NETLINK", 16),
    ("AF_PACKET", 17),
    ("AF_ASH", 18),
    ("AF_ECONET", 19),
    ("AF_ATMSVC", 20),
    ("AF_RDS", 21),
    ("AF_SNA", 22),
    ("AF_IRDA", 23),
    ("AF_PPPOX", 24),
    ("AF_WANPIPE", 25),
    ("AF_LLC", 26),
    ("AF_IB", 27),
    ("AF_MPLS", 28),
    ("AF_CAN", 29),
    ("AF_TIPC", 30),
    ("AF_BLUETOOTH", 31),
    ("AF_IUCV", 32),
    ("AF_RXRPC", 33),
    ("AF_ISDN", 34),
    ("AF_PHONET", 35),
    ("AF_IEEE802154", 36),
    ("AF_CAIF", 37),
    ("AF_ALG", 38),
    ("AF_NFC", 39),
    ("AF_VSOCK", 40),
    ("AF_KCM", 41),
    ("AF_QIPCRTR", 42),
    ("AF_SMC", 43),
    ("AF_XDP", 44),
    ("AF_MCTP", 45),
];

/// Other names of some, which are taken and shown as those.
const ALIASES: [(&str, &str); 3] =
    [("AF_LOCAL", "AF_UNIX"), ("AF_FILE", "AF_UNIX"), ("AF_ROUTE", "AF_NETLINK")];

/// A family of addresses by number, as socket(2) takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family(u16);

impl Family {
    /// The family of a number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Family(number)
    }

    /// The number, the first argument of socket(2).
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The family of a name, which may be in lower case.
    #[must_use]
    pub fn from_name(name: &str, version: u32) -> Option<Self> {
        let alias = ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name));
        let name = alias.map_or(name, |(_, real)| real);
        let (found, number) = FAMILIES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        (*found != "AF_MCTP" || version >= MCTP_FROM).then_some(Family(*number))
    }

    /// The name, where it has one.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        FAMILIES.iter().find(|(_, number)| *number == self.0).map(|(name, _)| *name)
    }
}

/// The families that a unit allows, or denies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressFamilies {
    /// Only what is listed is allowed; else everything but what is listed.
    pub allow: bool,
    /// What is listed, with the token that put it there; nothing where no line fixed the kind yet.
    families: Option<BTreeMap<Family, Token>>,
    /// The token that fixed the kind.
    first: Option<Token>,
    /// Families that a later line took off the list again, with the token that did.
    removed: BTreeMap<Family, Token>,
}

impl AddressFamilies {
    /// Read the setting as systemd of this major version does.
    #[must_use]
    pub fn evaluate(unit: &Unit, version: u32, findings: &mut Vec<Finding>) -> Self {
        let mut out = AddressFamilies::default();
        for setting in unit.service(SETTING) {
            out.line(setting, version, findings);
        }
        out
    }

    fn line(&mut self, setting: &Setting, version: u32, findings: &mut Vec<Finding>) {
        let value = &setting.value;
        let whole = || Token { text: value.text.clone(), setting: SETTING, span: value.whole() };
        if value.text.is_empty() {
            *self = AddressFamilies::default();
            return;
        }
        if value.text == "none" && version >= NONE_FROM {
            *self = AddressFamilies { allow: true, first: Some(whole()), ..AddressFamilies::default() };
            return;
        }
        let invert = value.text.starts_with('~');
        let offset = usize::from(invert);
        if self.families.is_none() {
            *self = AddressFamilies { allow: !invert, first: Some(whole()), ..AddressFamilies::default() };
        }
        let listed = self.families.get_or_insert_default();
        let words = words(&value.text[offset..], Quotes::Removed);
        for word in words.found {
            let span = value.span(word.range.start + offset..word.range.end + offset);
            let Some(family) = Family::from_name(&word.text, version) else {
                let what = if version >= UNKNOWN_ENDS_FROM { "the rest of the line" } else { "it" };
                let message = format!(
                    "'{}' is no address family that systemd {version} knows: {what} is ignored",
                    word.text
                );
                findings.push(Finding::warning(Code::UnknownFamily, message, Some(span)));
                if version >= UNKNOWN_ENDS_FROM {
                    return;
                }
                continue;
            };
            let token = Token { text: word.text, setting: SETTING, span };
            if invert != self.allow {
                listed.entry(family).or_insert(token);
                self.removed.remove(&family);
            } else if listed.remove(&family).is_some() {
                self.removed.insert(family, token);
            }
        }
        if let Some(range) = words.broken {
            findings.push(super::broken_words(value, range.start + offset..range.end + offset));
        }
    }

    /// Whether any family is forbidden, so that a seccomp filter is installed.
    #[must_use]
    pub fn restricts(&self) -> bool {
        self.allow || self.families().next().is_some()
    }

    /// The families on the list.
    pub fn families(&self) -> impl Iterator<Item = Family> {
        self.families.iter().flatten().map(|(family, _)| *family)
    }

    /// Whether sockets of a family may be opened.
    #[must_use]
    pub fn allows(&self, family: Family) -> bool {
        self.families.as_ref().is_some_and(|listed| listed.contains_key(&family)) == self.allow
    }

    /// The token that decides about a family; nothing where the setting is not in force.
    #[must_use]
    pub fn token(&self, family: Family) -> Option<&Token> {
        let listed = self.families.as_ref().and_then(|listed| listed.get(&family));
        listed.or_else(|| self.removed.get(&family)).or(self.first.as_ref()).filter(|_| self.restricts())
    }

    /// As `systemctl show` shows it.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut names: Vec<&str> = self.families().filter_map(Family::name).collect();
        names.sort_unstable();
        format!("{}{}", if self.allow { "" } else { "~" }, names.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::unit;
    use super::*;

    fn shown(values: &[&str], version: u32) -> String {
        let lines: Vec<String> = values.iter().map(|v| format!("RestrictAddressFamilies={v}\n")).collect();
        AddressFamilies::evaluate(&unit(&lines.concat()), version, &mut Vec::new()).shown()
    }

    /// Recorded from running managers.
    #[test]
    fn as_the_managers_show_it() {
        for (values, on_247, on_252, on_262) in [
            (&["none"][..], "", "", ""),
            (&["~AF_PACKET AF_FOO AF_INET"], "~AF_INET AF_PACKET", "~AF_INET AF_PACKET", "~AF_PACKET"),
            (&["AF_FOO AF_INET"], "AF_INET", "AF_INET", ""),
            (&["AF_INET", "none", "~AF_INET6"], "AF_INET", "~AF_INET6", "~AF_INET6"),
            (&["~none"], "~", "~", "~"),
            (&["~AF_INET", "none"], "~AF_INET", "", ""),
            (&["\"AF_INET AF_INET6"], "", "", ""),
            (
                &["\"AF_INET\" AF_INET6 \"\" AF_UNIX"],
                "AF_INET AF_INET6 AF_UNIX",
                "AF_INET AF_INET6 AF_UNIX",
                "AF_INET AF_INET6",
            ),
            (&["~AF_INET", "AF_INET", "AF_UNIX"], "~", "~", "~"),
            (&["AF_INET", "~AF_INET", "~AF_UNIX"], "", "", ""),
            (&["none", "AF_INET"], "AF_INET", "AF_INET", "AF_INET"),
            (
                &["af_local AF_ROUTE AF_MCTP"],
                "AF_NETLINK AF_UNIX",
                "AF_MCTP AF_NETLINK AF_UNIX",
                "AF_MCTP AF_NETLINK AF_UNIX",
            ),
        ] {
            assert_eq!(shown(values, 247), on_247, "{values:?}");
            assert_eq!(shown(values, 252), on_252, "{values:?}");
            assert_eq!(shown(values, 262), on_262, "{values:?}");
        }
    }

    #[test]
    fn the_deciding_token() {
        let unit = unit("RestrictAddressFamilies=AF_UNIX AF_INET\nRestrictAddressFamilies=~AF_INET\n");
        let found = AddressFamilies::evaluate(&unit, 252, &mut Vec::new());
        let decided = |number| {
            let family = Family::new(number);
            (found.allows(family), found.token(family).map(|t| t.text.as_str()))
        };
        assert_eq!(decided(1), (true, Some("AF_UNIX")));
        assert_eq!(decided(2), (false, Some("AF_INET")));
        assert_eq!(decided(10), (false, Some("AF_UNIX AF_INET")));
    }
}
