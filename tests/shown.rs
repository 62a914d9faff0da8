//! `tests/shown/NAME/`: what systemctl shows of a unit below `root/`, recorded from running managers, is what unitfix
//! computes without one.
//!
//! | in the folder | what it is |
//! |---|---|
//! | `root/` | the system's files |
//! | `unit` | the unit that is asked for |
//! | `252.txt` and so on | what `systemctl show` of that version prints |
//!
//! The live test `shown::kept_cases` checks that they are still true, and records them with `UNITFIX_BLESS=1`.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use unitfix::policy::show::show;
use unitfix::root::Root;
use unitfix::syscalls::Groups;
use unitfix::unit::{Unit, UnitName};

#[test]
fn what_the_managers_showed() {
    let mut compared = 0;
    for case in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shown")).unwrap() {
        let case = case.unwrap().path();
        let unit = UnitName::parse(fs::read_to_string(case.join("unit")).unwrap().trim()).unwrap();
        for version in [247, 252, 257, 262] {
            let expected = fs::read_to_string(case.join(format!("{version}.txt"))).unwrap();
            let examined = Unit::examine(&Root::new(case.join("root")), &unit, version);
            let shown = show(&examined.unit, &Groups::from_rules(version).unwrap()).to_string();
            assert_eq!(shown, expected, "{}, systemd {version}", case.display());
            compared += 1;
        }
    }
    assert!(compared >= 60, "{compared}");
}
