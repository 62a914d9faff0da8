//! Where something stands in a file of rules. serde_yaml keeps no places, but tells that of what it fails at: so the file
//! is read once more, to fail right there.

use super::names::Read;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A step down, from the top of the file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    /// Into what stands behind a key.
    Key(&'a str),
    /// Into an item of a list, counted from 0.
    Item(usize),
    /// To a key itself; the last step.
    Name(&'a str),
}

/// Line and column, both from 1, of where some steps lead.
pub(super) fn place(text: &str, steps: &[Step]) -> Option<(usize, usize)> {
    let error = At(steps).deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    let location = error.location()?;
    Some((location.line(), location.column()))
}

/// Goes down some steps, and fails there.
struct At<'a>(&'a [Step<'a>]);

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("what is looked for")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (wanted, rest) = match self.0.split_first() {
            Some((Step::Key(wanted), rest)) => (*wanted, Some(rest)),
            Some((Step::Name(wanted), _)) => (*wanted, None),
            _ => return Err(A::Error::custom("here")),
        };
        while let Some(key) = map.next_key_seed(Name { refused: rest.is_none().then_some(wanted) })? {
            match rest.filter(|_| key == wanted) {
                Some(rest) => return map.next_value_seed(At(rest)),
                None => map.next_value::<IgnoredAny>()?,
            };
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((Step::Item(wanted), rest)) = self.0.split_first() else {
            return Err(A::Error::custom("here"));
        };
        for _ in 0..*wanted {
            list.next_element::<IgnoredAny>()?;
        }
        list.next_element_seed(At(rest)).map(|_| ())
    }
}

/// A key; reading the one that is refused fails.
struct Name<'a> {
    refused: Option<&'a str>,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        let read = |name: &str| match self.refused {
            Some(refused) if refused == name => Err("here".to_owned()),
            _ => Ok(name.to_owned()),
        };
        deserializer.deserialize_str(Read { expected: "a key", read })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_leads_to_its_place() {
        let text = "# fchown\na: fchown\nb:\n- {c: [x, y]}\n- c:\n  - fchown # not fchown\n  - 'fchown'\n";
        let item = |n| [Step::Key("b"), Step::Item(1), Step::Key("c"), Step::Item(n)];
        assert_eq!(place(text, &item(0)), Some((6, 5)));
        assert_eq!(place(text, &item(1)), Some((7, 5)));
        assert_eq!(
            place(text, &[Step::Key("b"), Step::Item(0), Step::Key("c"), Step::Item(1)]),
            Some((4, 11))
        );
        assert_eq!(place(text, &[Step::Key("b"), Step::Item(1)]), Some((5, 3)));
        assert_eq!(place(text, &[Step::Key("b"), Step::Item(1), Step::Name("c")]), Some((5, 3)));
        assert_eq!(place(text, &[Step::Name("b")]), Some((3, 1)));
        assert_eq!(place(text, &[Step::Key("z")]), None);
    }
}
