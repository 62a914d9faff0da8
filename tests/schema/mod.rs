//! man/unitfix.schema.json judges what unitfix printed with `--json`. Readers pass over fields that they do not know; here
//! such a field is one that nobody documented, and a mistake.

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// Not the file's own `$id`, as this one is stricter.
const LOCATION: &str = "urn:unitfix:strict";

/// The definitions that are compiled: what one object can be.
const DEFINITIONS: [&str; 9] =
    ["Report", "WatchEvent", "WatchReport", "Policy", "Lint", "Check", "Explanation", "Scan", "Status"];

struct Schema {
    schemas: Schemas,
    indexes: Vec<SchemaIndex>,
}

/// Panics unless every JSON value in a standard output is what the schema says of this command line; how many they are.
pub(crate) fn check(arguments: &[&str], output: &str) -> usize {
    let mut count = 0;
    for value in serde_json::Deserializer::from_str(output).into_iter::<Value>() {
        let value =
            value.unwrap_or_else(|error| panic!("{arguments:?} printed what is no JSON: {error}\n{output}"));
        let name = definition(arguments, &value);
        let schema = schema();
        let at = DEFINITIONS.iter().position(|known| *known == name).unwrap();
        if let Err(error) = schema.schemas.validate(&value, schema.indexes[at]) {
            panic!(
                "{arguments:?} printed what is no {name} of man/unitfix.schema.json: {error:#}\n{value:#}"
            );
        }
        count += 1;
    }
    count
}

/// Which definition it has to be: that of the command, not any that happens to fit.
fn definition(arguments: &[&str], value: &Value) -> &'static str {
    match *arguments.first().unwrap() {
        "policy" if arguments.contains(&"--lint") => "Lint",
        "policy" => "Policy",
        "check" => "Check",
        "explain" => "Explanation",
        "scan" => "Scan",
        "status" => "Status",
        "watch" if value["event"] == "report" => "WatchReport",
        "watch" => "WatchEvent",
        _ => "Report",
    }
}

fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/unitfix.schema.json");
        let mut file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        file.as_object_mut().unwrap().remove("$id");
        close(&mut file, false);
        let mut compiler = Compiler::new();
        compiler.add_resource(LOCATION, file).unwrap();
        let mut schemas = Schemas::new();
        let compile = |name: &&str| {
            let place = format!("{LOCATION}#/$defs/{name}");
            compiler.compile(&place, &mut schemas).unwrap_or_else(|error| panic!("{error:#}"))
        };
        let indexes = DEFINITIONS.iter().map(compile).collect();
        Schema { schemas, indexes }
    })
}

/// Forbid fields that are not named, in this schema and in all below it. What stands in the place of a part of an object
/// (`in_part`) leaves that to the whole.
fn close(schema: &mut Value, in_part: bool) {
    let Some(object) = schema.as_object_mut() else { return };
    let names_fields = object.contains_key("properties");
    if !in_part && names_fields && !object.contains_key("additionalProperties") {
        object.insert("unevaluatedProperties".to_owned(), json!(false));
    }
    for (key, below) in object.iter_mut() {
        match key.as_str() {
            "properties" | "$defs" => each(below.as_object_mut(), |schema| close(schema, false)),
            "oneOf" | "anyOf" | "allOf" => {
                let parts = below.as_array_mut().into_iter().flatten();
                parts.for_each(|part| close(part, in_part || names_fields));
            }
            "items" | "additionalProperties" => close(below, false),
            "prefixItems" => below.as_array_mut().into_iter().flatten().for_each(|item| close(item, false)),
            _ => {}
        }
    }
}

fn each(fields: Option<&mut Map<String, Value>>, then: impl Fn(&mut Value)) {
    fields.into_iter().flatten().for_each(|(_, schema)| then(schema));
}
