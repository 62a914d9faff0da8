//! What unitfix computes from unit files, without a manager, is what the manager shows of any unit: a property test
//! over random units and trees of drop-ins, and every unit that is installed.
//!
//! | variable | meaning |
//! |---|---|
//! | `UNITFIX_PROPERTY_UNITS` | how many units, 2,000 if it is not set |
//! | `UNITFIX_PROPERTY_SEED` | where the random numbers begin; it is printed |

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use crate::bed::Bed;
use crate::shown::Comparison;
use crate::shown::generate::{Sample, sample, type_wide};
use crate::shown::lines::Forms;
use crate::shown::random::Random;
use crate::shown::tree::{Tree, remove};
use crate::suites::not_run;

use super::Case;

pub const CASES: &[Case] = &[
    Case::new("shown::random_units", random_units).only_on(&["bullseye", "bookworm", "trixie", "sid"]),
    Case::new("shown::refused_values", refused_values),
    Case::new("shown::installed_units", installed_units),
    Case::new("shown::kept_cases", kept_cases).only_on(&["bullseye", "bookworm", "trixie", "sid"]),
];

/// How many units one reload loads.
const BATCH: usize = 500;
/// How many counterexamples are made small.
const EXAMPLES: usize = 5;

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => default,
    }
}

fn random_units(bed: &Bed) {
    let begun = Instant::now();
    let wanted = usize::try_from(number("UNITFIX_PROPERTY_UNITS", 2000)).unwrap();
    let seed = number("UNITFIX_PROPERTY_SEED", 1);
    let comparison = Comparison::new(bed);
    let mut random = Random::new(seed);
    let mut forms = Forms::default();
    let mut failing = Vec::new();
    let (mut units, mut failed) = (0, 0);
    while units < wanted {
        let shared = type_wide(&mut random, &mut forms);
        let samples: Vec<Sample> =
            (0..BATCH).map(|index| sample(&mut random, &mut forms, &format!("u{index:05}"))).collect();
        units += samples.iter().map(|sample| sample.units.len()).sum::<usize>();
        for (sample, text) in samples.iter().zip(comparison.try_samples(&samples, &shared)) {
            failed += usize::from(text.is_some());
            failing.extend(text.map(|text| (sample.clone(), shared.clone(), text)));
            failing.truncate(EXAMPLES);
        }
    }
    let version = bed.systemd_version();
    eprintln!(
        "systemd {version}: {units} random units from seed {seed}, {failed} samples differ, {:.1} s; forms: {:?}",
        begun.elapsed().as_secs_f64(),
        forms.0
    );
    let mut text = String::new();
    for (sample, shared, why) in failing {
        let (smallest, shared, why) = comparison.shrink(&sample, &shared, &why);
        let _ = writeln!(text, "{why}{}{shared}", smallest.tree);
    }
    assert_eq!(failed, 0, "systemd {version}, seed {seed}:\n{text}");
    if wanted >= 2000 {
        forms.assert_complete();
    }
}

/// Values that some manager refuses, and some that look like them: what stands behind a refused one is not read.
const VALUES: &[&str] = &[
    "ExecStart=/bin/true \"open",
    "ExecStart=-/bin/true \"open",
    "ExecStart=./true",
    "ExecStart=-./true",
    "ExecStart=/bin/",
    "ExecStart=@/bin/true",
    "ExecStart=\"\" x",
    "ExecStart=.",
    "ExecStart=..",
    "ExecStart=/.",
    "ExecStart=%%/x",
    "ExecStart=%Z/true",
    "ExecStart=!!!/x",
    "ExecStart=!+/x",
    "ExecStart=!!/bin/true",
    "ExecStart=+/bin/true",
    "ExecStart=:/bin/true",
    "ExecStart=/bin/tr\\x01ue",
    "ExecStart=/bin/tr?ue*",
    "ExecStart=|/bin/true",
    "ExecStart=/no/such",
    "ExecStart=true",
    "ExecStop=./true",
    "ExecReload=/bin/kill \"x",
    "ExecStop=-./true ; ./true",
    "User=a/b",
    "User=a b",
    "User=65535",
    "User=4294967295",
    "User=65534",
    "User=012",
    "User=%Z",
    "User=%p",
    "User=-x",
    "User=.x",
    "User=nobody",
    "Group=a/b",
    "Group=4294967295",
    "SupplementaryGroups=x a/b",
    "SupplementaryGroups=a b",
    "WorkingDirectory=x",
    "WorkingDirectory=~",
    "WorkingDirectory=~x",
    "WorkingDirectory=-x",
    "WorkingDirectory=/a/../b",
    "WorkingDirectory=/a//b/",
    "RootDirectory=x",
    "RootDirectory=/a/../b",
    "RootDirectory=/%Z",
    "RootImage=x",
    "RootVerity=x",
    "DynamicUser=foo",
    "Type=foo",
    "Restart=foo",
    "UMask=foo",
    "LimitNOFILE=foo",
    "Environment=\"open",
    "ProtectSystem=foo",
    "PrivateTmp=foo",
    "Slice=foo",
    "TimeoutSec=foo",
];

fn refused_values(bed: &Bed) {
    let unit = |before: &str, after: &str| format!("[Service]\nType=oneshot\n{before}\n{after}\n");
    let mut units = Vec::new();
    for (number, value) in VALUES.iter().enumerate() {
        let own = format!("own{number}.service");
        let text = unit(&format!("ExecStart=/bin/true\n{value}"), "SystemCallFilter=~mount");
        bed.write_file(&format!("/etc/systemd/system/{own}"), text);
        let dropped = format!("dropped{number}.service");
        let text = unit("ExecStart=/bin/true", "SystemCallFilter=~mount");
        bed.write_file(&format!("/etc/systemd/system/{dropped}"), text);
        let text = format!("[Service]\n{value}\nSystemCallFilter=~swapon\n");
        bed.write_file(&format!("/etc/systemd/system/{dropped}.d/50-more.conf"), text);
        units.extend([own, dropped]);
    }
    bed.run(&["systemctl", "daemon-reload"]);
    Comparison::new(bed).assert_same(&units);
}

fn installed_units(bed: &Bed) {
    let listed =
        bed.run(&["systemctl", "list-unit-files", "--type=service", "--no-legend", "--plain", "--full"]);
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    let units: Vec<String> = names.map(|name| name.replace("@.service", "@x.service")).collect();
    assert!(units.len() > 20, "{units:?}");
    Comparison::new(bed).assert_same(&units);
    eprintln!("systemd {}: {} installed units", bed.systemd_version(), units.len());
}

/// What stands in `tests/shown/` is still what the managers show. `UNITFIX_BLESS=1` records it anew.
fn kept_cases(bed: &Bed) {
    let version = bed.systemd_version();
    let comparison = Comparison::new(bed);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shown");
    let mut faults = String::new();
    for case in std::fs::read_dir(folder).unwrap() {
        let case = case.unwrap().path();
        let made = Tree::read(&case.join("root")).write(&bed.root());
        bed.run(&["systemctl", "daemon-reload"]);
        let unit = std::fs::read_to_string(case.join("unit")).unwrap().trim().to_owned();
        let seen = comparison.theirs(&[unit]).remove(0);
        remove(&made);
        let seen = seen.shown.join("\n") + "\n";
        let file = case.join(format!("{version}.txt"));
        if std::env::var_os("UNITFIX_BLESS").is_some() {
            std::fs::write(&file, &seen).unwrap();
        }
        match std::fs::read_to_string(&file) {
            Ok(kept) if kept == seen => {}
            Err(_) if bed.suite == "sid" => not_run(&format!("sid: nothing is kept for systemd {version}")),
            kept => {
                let _ = writeln!(faults, "{}: kept {kept:?}, seen {seen:?}", file.display());
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
}
