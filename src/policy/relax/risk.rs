//! What a word of a setting lets a program do: rules/settings-risk.yaml.

use crate::rules::Tier;
use crate::rules::compiled::{self, compiled};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) lets: String,
    pub(super) risk: Tier,
    #[serde(default)]
    pub(super) high: bool,
    #[serde(default)]
    pub(super) narrower: Option<String>,
    /// For who reads the rules.
    #[allow(dead_code)]
    source: String,
}

type Rules = BTreeMap<String, BTreeMap<String, Rule>>;

// the rules are part of the program, and a test reads them
static RULES: LazyLock<Rules> = LazyLock::new(|| compiled::read(compiled!("settings-risk")));

/// What a word of a setting lets a program do. What nobody has described counts as the most.
pub(super) fn of(setting: &str, word: &str) -> Rule {
    let word = word.split(':').next().unwrap_or(word);
    let rules = RULES.get(setting);
    let found = rules.and_then(|rules| rules.get(word).or_else(|| rules.get("*"))).cloned();
    found.unwrap_or_else(|| Rule {
        lets: format!("do what {setting}= forbids"),
        risk: Tier::System,
        high: true,
        narrower: None,
        source: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::families::Family;
    use crate::policy::namespaces::NamespaceType;

    #[test]
    fn every_rule_is_of_a_word_that_can_be_written() {
        let rules: Rules = serde_json::from_str(compiled!("settings-risk")).unwrap();
        for (setting, words) in &rules {
            for (word, rule) in words {
                let known = match setting.as_str() {
                    "RestrictAddressFamilies" => word == "*" || Family::from_name(word, 262).is_some(),
                    "RestrictNamespaces" => word == "no" || NamespaceType::from_name(word, 262).is_some(),
                    "ProtectHostname" => ["private", "no"].contains(&word.as_str()),
                    _ => word == "no",
                };
                assert!(known, "{setting}={word}");
                assert!(!rule.source.is_empty() && !rule.lets.is_empty(), "{setting}={word}");
                // a word that takes all of a setting back says why
                assert_eq!(word == "no", rule.narrower.is_some(), "{setting}={word}");
            }
        }
        for namespace in NamespaceType::ALL {
            assert!(rules["RestrictNamespaces"].contains_key(namespace.name()));
        }
    }
}
