//! What unitfix computes from unit files against what the manager shows, for many units at a time.

pub mod generate;
pub mod lines;
pub mod random;
pub mod shrink;
pub mod tree;

use std::fmt::Write as _;

use unitfix::policy::show::{PROPERTIES, Shown, show};
use unitfix::root::Root;
use unitfix::syscalls::Groups;
use unitfix::unit::exec::Stage;
use unitfix::unit::{Examined, LoadState, NameMap, Unit, UnitName};

use crate::bed::Bed;
use crate::suites::not_run;

/// What the manager of a bed says of the units in it, and what unitfix does.
pub struct Comparison<'a> {
    bed: &'a Bed,
    /// Where they come from, and the groups.
    groups: Vec<(&'static str, Groups)>,
}

/// What one side has to say of a unit.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    pub id: String,
    pub state: &'static str,
    pub fragment: String,
    pub drop_ins: Vec<String>,
    pub shown: Vec<String>,
}

/// A unit of which the two sides do not say the same.
pub struct Difference {
    pub unit: String,
    pub text: String,
}

impl<'a> Comparison<'a> {
    /// With the groups of the bed's manager, and the shipped ones where they are of its very version.
    pub fn new(bed: &'a Bed) -> Self {
        let version = bed.systemd_version();
        let listing = bed.run(&["systemd-analyze", "syscall-filter"]);
        let mut groups = vec![("the manager", Groups::from_listing(&listing, version).unwrap())];
        let file = format!("{}/rules/groups/systemd-{version}.yaml", env!("CARGO_MANIFEST_DIR"));
        if std::path::Path::new(&file).exists() {
            groups.push(("the rules", Groups::from_rules(version).unwrap()));
        } else {
            assert_eq!(bed.suite, "sid", "rules/generate does not know systemd {version}");
            not_run(&format!("{}: no rules for systemd {version}, run rules/generate", bed.suite));
        }
        Self { bed, groups }
    }

    /// What the manager shows of units, in one go.
    pub fn theirs(&self, units: &[String]) -> Vec<Seen> {
        let mut out = Vec::new();
        for some in units.chunks(500) {
            let mut command = vec!["systemctl", "show"];
            let properties = ["Id", "LoadState", "FragmentPath", "DropInPaths"];
            let options: Vec<String> =
                properties.iter().chain(&PROPERTIES).map(|name| format!("--property={name}")).collect();
            command.extend(options.iter().map(String::as_str));
            command.push("--");
            command.extend(some.iter().map(String::as_str));
            let text = self.bed.run(&command);
            let blocks: Vec<&str> = text.split("\n\n").collect();
            assert_eq!(blocks.len(), some.len(), "{text}");
            out.extend(blocks.into_iter().map(Seen::read));
        }
        out
    }

    /// Everything that differs.
    pub fn differences(&self, units: &[String]) -> Vec<Difference> {
        let theirs = self.theirs(units);
        let map = NameMap::read(&Root::new(self.bed.root()), self.bed.systemd_version());
        let mut out = Vec::new();
        for (unit, theirs) in units.iter().zip(theirs) {
            let name = UnitName::parse(unit).unwrap();
            let examined = Unit::examine_in(&map, &name);
            // what becomes of an alias of a masked unit depends on whether the unit happens to be loaded
            if matches!(examined.state, LoadState::Masked(_)) && examined.unit.name != name {
                continue;
            }
            let texts = self.groups.iter().filter_map(|(from, groups)| {
                let ours = Seen::compute(&examined, groups);
                theirs.difference(&ours).map(|text| format!("{unit}, groups of {from}:\n{text}"))
            });
            if let Some(text) = texts.into_iter().next() {
                out.push(Difference { unit: unit.clone(), text });
            }
        }
        out
    }

    /// Panics with every difference.
    pub fn assert_same(&self, units: &[String]) {
        let texts: Vec<String> = self.differences(units).into_iter().map(|d| d.text).collect();
        assert!(texts.is_empty(), "systemd {}:\n{}", self.bed.systemd_version(), texts.concat());
    }
}

fn lacks_a_command(unit: &Unit) -> bool {
    let has_success_action = unit.settings.iter().any(|s| s.key == "SuccessAction");
    unit.commands(Stage::Start).is_empty() && unit.last("Type").is_none() && !has_success_action
}

impl Seen {
    /// From a block of `systemctl show`.
    fn read(block: &str) -> Self {
        let value = |name: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_default().to_owned()
        };
        Seen {
            id: value("Id"),
            state: match value("LoadState").as_str() {
                "loaded" => "loaded",
                "masked" => "masked",
                "not-found" => "not-found",
                "error" => "error",
                "bad-setting" => "bad-setting",
                other => panic!("LoadState={other}"),
            },
            fragment: value("FragmentPath"),
            drop_ins: value("DropInPaths").split_whitespace().map(str::to_owned).collect(),
            shown: block
                .lines()
                .filter(|line| PROPERTIES.iter().any(|p| line.starts_with(&format!("{p}="))))
                .map(str::to_owned)
                .collect(),
        }
    }

    fn compute(examined: &Examined, groups: &Groups) -> Self {
        let unit = &examined.unit;
        let shown: Shown = show(unit, groups);
        Seen {
            id: unit.name.to_string(),
            state: match examined.state {
                // service_verify() of src/core/service.c; what was read counts all the same
                LoadState::Loaded if lacks_a_command(unit) => "bad-setting",
                LoadState::Loaded => "loaded",
                LoadState::Masked(_) => "masked",
                LoadState::NotFound => "not-found",
                LoadState::Broken { .. } => "error",
            },
            fragment: unit.fragment.path.display().to_string(),
            drop_ins: unit.drop_ins.iter().map(|file| file.path.display().to_string()).collect(),
            shown: shown.to_string().lines().map(str::to_owned).collect(),
        }
    }

    /// What differs between the manager's side and ours, in words.
    fn difference(&self, ours: &Seen) -> Option<String> {
        let mut out = String::new();
        let mut compare = |what: &str, theirs: &str, ours: &str| {
            if theirs != ours {
                let _ = writeln!(out, "  {what}\n    manager: {theirs}\n    unitfix: {ours}");
            }
        };
        compare("Id", &self.id, &ours.id);
        // a refused value is a bad setting, a broken file an error
        let refused = self.state == "bad-setting" && ours.state == "error";
        compare("LoadState", if refused { ours.state } else { self.state }, ours.state);
        compare("FragmentPath", &self.fragment, &ours.fragment);
        // the manager also lists those that it cannot read anything from
        let read: Vec<&String> = self.drop_ins.iter().filter(|path| ours.drop_ins.contains(path)).collect();
        compare("DropInPaths", &format!("{read:?}"), &format!("{:?}", ours.drop_ins));
        for (theirs, ours) in self.shown.iter().zip(&ours.shown) {
            compare("shown", theirs, ours);
        }
        assert_eq!(self.shown.len(), PROPERTIES.len());
        (!out.is_empty()).then_some(out)
    }
}
