//! The rules that come with unitfix: JSON within the program, which build.rs makes of rules/*.yaml. Tests read all of it, and
//! check the names in it, which need not be done at each start.

use serde::de::DeserializeOwned;

/// The JSON of a file below rules/, by its name without its folder and ending.
macro_rules! compiled {
    ($name:literal) => {
        include_str!(concat!(env!("OUT_DIR"), "/", $name, ".json"))
    };
}
pub(crate) use compiled;

/// What is compiled in as a value. Nothing, where it is none, which tests rule out.
pub(crate) fn read<T: DeserializeOwned + Default>(json: &str) -> T {
    let read = || serde_json::from_str(json).unwrap_or_default();
    if cfg!(test) { read() } else { super::names::unchecked(read) }
}
