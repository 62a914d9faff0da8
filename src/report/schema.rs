//! man/unitfix.schema.json: the JSON Schema of everything that `--json` prints, made of the types that print it.
//! Only tests know it; `UNITFIX_BLESS=1 cargo test --lib schema` writes it anew.

use super::{CheckReport, Lint, PolicyPage, Report, SCHEMA, ScanReport};
use crate::explain::Explanation;
use crate::undo::Status;
use crate::watch::{Last, Stamped};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const FILE: &str = "man/unitfix.schema.json";

/// What an object may be: its command, and its definition.
fn outputs(generator: &mut SchemaGenerator) -> Vec<Value> {
    fn output<T: JsonSchema>(generator: &mut SchemaGenerator, of: &str) -> Value {
        let mut schema = generator.subschema_for::<T>();
        schema.insert("title".to_owned(), of.into());
        schema.to_value()
    }
    vec![
        output::<Report>(generator, "unitfix UNIT"),
        output::<Stamped>(generator, "unitfix watch: each line but the last"),
        output::<Last>(generator, "unitfix watch: the last line"),
        output::<PolicyPage>(generator, "unitfix policy"),
        output::<Lint>(generator, "unitfix policy --lint"),
        output::<CheckReport>(generator, "unitfix check --format json"),
        output::<Explanation>(generator, "unitfix explain"),
        output::<ScanReport>(generator, "unitfix scan"),
        output::<Status>(generator, "unitfix status"),
    ]
}

fn schema() -> String {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let outputs = outputs(&mut generator);
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:unitfix:json:{SCHEMA}"),
        "title": format!("What unitfix prints with --json, version {SCHEMA}"),
        "description": "Within a version, fields and words may be added, so readers pass over what they do not know; \
                        none goes, or changes its meaning. See JSON in unitfix(1).",
        "anyOf": outputs,
        "$defs": generator.take_definitions(true),
    });
    serde_json::to_string_pretty(&schema).unwrap() + "\n"
}

#[test]
fn the_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let made = schema();
    if std::env::var_os("UNITFIX_BLESS").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let diff = similar::TextDiff::from_lines(&kept, &made);
    assert!(kept == made, "{FILE} is not what the types are:\n{}", diff.unified_diff());
}

/// Two types of one name would be told apart by a number, which says nothing to a reader.
#[test]
fn definitions_have_names_of_their_own() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    let names: Vec<&String> = schema["$defs"].as_object().unwrap().keys().collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        let row = ["Row", "Page"].iter().any(|end| name.ends_with(end)); // names of this program's own
        assert!(!row && name.chars().all(|c| c.is_ascii_alphabetic()), "{name}");
    }
}
