//! The settings beside `SystemCallFilter=` as the manager has them in force, to compare with what was written.

use crate::policy::families::AddressFamilies;
use crate::policy::namespaces::{NamespaceType, Namespaces};
use crate::unit::Unit;
use std::collections::{BTreeMap, BTreeSet};

/// The settings that are on or off, as properties of org.freedesktop.systemd1(5).
pub const SWITCHES: [&str; 10] = [
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "NoNewPrivileges",
    "PrivateDevices",
    "ProtectClock",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "RestrictRealtime",
    "RestrictSUIDSGID",
];

/// What the manager says of these settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// `RestrictAddressFamilies=`: whether it is an allow list, and its names.
    pub families: (bool, BTreeSet<String>),
    /// `RestrictNamespaces=`: the `CLONE_NEW*` flags of the types that are retained.
    pub namespaces: u64,
    /// `ProtectHostname=`: `yes`, `no`, or `private`.
    pub hostname: String,
    /// Those of [`SWITCHES`] that this manager knows.
    pub switches: BTreeMap<&'static str, bool>,
}

impl Confinement {
    /// A setting as the manager has it; nothing: it is none of these.
    #[must_use]
    pub fn shown(&self, setting: &str, version: u32) -> Option<String> {
        match setting {
            "RestrictAddressFamilies" => {
                let (allow, names) = &self.families;
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                Some(format!("{}{}", if *allow { "" } else { "~" }, names.join(" ")))
            }
            "RestrictNamespaces" => {
                let retained = |t: &NamespaceType| self.namespaces & u64::from(t.clone_flag()) != 0;
                Some(Namespaces::shown_of(
                    &NamespaceType::ALL.into_iter().filter(retained).collect(),
                    version,
                ))
            }
            "ProtectHostname" => Some(self.hostname.clone()),
            switch => self.switches.get(switch).map(|on| if *on { "yes" } else { "no" }.to_owned()),
        }
    }

    /// A setting as a manager of this version would have it for a unit.
    #[must_use]
    pub fn predicted(unit: &Unit, setting: &str, version: u32) -> Option<String> {
        let mut unread = Vec::new();
        match setting {
            "RestrictAddressFamilies" => Some(AddressFamilies::evaluate(unit, version, &mut unread).shown()),
            "RestrictNamespaces" => Some(Namespaces::evaluate(unit, version, &mut unread).shown()),
            "ProtectHostname" => {
                let text = unit.text(setting).unwrap_or("no");
                let mode = text.split_once(':').map_or(text, |(mode, _)| mode);
                let on = unit.flag(setting) || crate::unit::parse_boolean(mode) == Some(true);
                Some(
                    if mode == "private" {
                        mode
                    } else if on {
                        "yes"
                    } else {
                        "no"
                    }
                    .to_owned(),
                )
            }
            switch if SWITCHES.contains(&switch) => {
                // what DynamicUser= turns on stays on (`unit_patch_contexts()`)
                let implied =
                    ["RestrictSUIDSGID", "NoNewPrivileges"].contains(&switch) && unit.flag("DynamicUser");
                Some(if unit.flag(switch) || implied { "yes" } else { "no" }.to_owned())
            }
            _ => None,
        }
    }
}
