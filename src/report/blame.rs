//! Who made a call, in the report: the stack in a line, and the package of the program.

use super::DenialRow;
use crate::blame::package::{Package, owner};
use crate::root::Root;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// So many programs are looked up: looking through the lists of all packages takes a moment for each.
const PROGRAMS_MAX: usize = 16;

/// The package that a program came with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PackageOfProgram"))]
pub struct PackageRow {
    /// The package.
    #[serde(flatten)]
    pub package: Package,
    /// In words, with how its last change lies to the first kill.
    pub words: String,
}

impl DenialRow {
    /// Find the packages of the programs of these rows, below a root.
    pub fn find_packages(rows: &mut [DenialRow], root: &Root, zone: &TimeZone) {
        let mut known: BTreeMap<Vec<u8>, Option<Package>> = BTreeMap::new();
        for row in rows {
            let Some(exe) = row.exe.as_ref().map(|exe| exe.bytes().to_vec()) else { continue };
            if known.len() >= PROGRAMS_MAX && !known.contains_key(&exe) {
                return;
            }
            let find = || owner(root, Path::new(OsStr::from_bytes(&exe)));
            let Some(package) = known.entry(exe.clone()).or_insert_with(find).clone() else { continue };
            let kill = row.first.filter(|_| row.effect == "killed");
            let words = package.words(kill, zone);
            row.package = Some(PackageRow { package, words });
        }
    }

    /// The lines below the row: who called, and from which package.
    pub(super) fn blame(&self) -> String {
        let mut out = String::new();
        if let Some(stack) = self.stack.short() {
            let _ = writeln!(out, "           called by  {stack}");
            if !self.stack.is_named() {
                out.push_str("           (its debug package would name the functions, or a server in DEBUGINFOD_URLS)\n");
            }
        }
        if let Some(package) = &self.package {
            let _ = writeln!(out, "           from       {}", package.words);
        }
        out
    }
}
