//! Turns the rules from YAML, which people write and read, into JSON, which the program reads many times as fast when it
//! starts. A rule that is no YAML, or a call that stands in two files, ends the build.

use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// What the entries of a file are, by the names of the calls.
type Calls = BTreeMap<String, Value>;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=rules");
    let rules = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("rules");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for path in yaml_files(&rules)?.into_iter().chain(yaml_files(&rules.join("groups"))?) {
        let name = path.file_stem().ok_or("a file without a name")?;
        let value: Value = read(&path)?;
        fs::write(out.join(name).with_extension("json"), value.to_string())?;
    }
    fs::write(out.join("calls.rs"), table(&calls(&rules.join("calls"))?)?)?;
    Ok(())
}

fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Box<dyn Error>> {
    serde_yaml::from_str(&fs::read_to_string(path)?).map_err(|e| format!("{}: {e}", path.display()).into())
}

fn calls(folder: &Path) -> Result<Calls, Box<dyn Error>> {
    let mut calls = Calls::new();
    for path in yaml_files(folder)? {
        for (name, words) in read::<Calls>(&path)? {
            if calls.insert(name.clone(), words).is_some() {
                return Err(format!("{}: {name} stands in another file as well", path.display()).into());
            }
        }
    }
    Ok(calls)
}

/// The calls in order, each with its own JSON: of one that is asked for, only that is read.
fn table(calls: &Calls) -> Result<String, std::fmt::Error> {
    let mut text = format!("[(&str, &str); {}] = [\n", calls.len());
    for (name, words) in calls {
        writeln!(text, "    ({name:?}, {:?}),", words.to_string())?;
    }
    text.insert_str(0, "static CALLS: ");
    text.push_str("];\n");
    Ok(text)
}
