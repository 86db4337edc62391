//! JSON whose objects keep their order: of PEFT's tables the first key that matches counts.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A value.
#[derive(Debug, PartialEq)]
pub(super) enum Field {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Object(Vec<(String, Self)>),
    /// An array, whose values nobody asks for.
    Array,
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Field, E> {
        Ok(Field::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Field, E> {
        Ok(Field::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Field, E> {
        Ok(Field::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Field, E> {
        Ok(Field::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Field, E> {
        Ok(Field::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        while let Some((key, value)) = map.next_entry::<String, Field>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format!("`{key}` is there twice")));
            }
            entries.push((key, value));
        }
        Ok(Field::Object(entries))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn objects_keep_their_order() {
        let text = r#"{"b": {"z": 1, "a": -2.5, "m": null}, "a": [1, {"x": []}], "c": "t"}"#;
        let number = |key: &str, value| (key.to_owned(), Field::Number(value));
        let inner = vec![
            number("z", 1.0),
            number("a", -2.5),
            ("m".to_owned(), Field::Null),
        ];
        let expected = vec![
            ("b".to_owned(), Field::Object(inner)),
            ("a".to_owned(), Field::Array),
            ("c".to_owned(), Field::Text("t".to_owned())),
        ];
        let found: Field = serde_json::from_str(text).unwrap();
        assert_eq!(found, Field::Object(expected));
    }

    #[test]
    fn a_key_is_there_once() {
        let twice = serde_json::from_str::<Field>(r#"{"a": 1, "a": 2}"#);
        assert!(
            twice
                .unwrap_err()
                .to_string()
                .contains("`a` is there twice")
        );
    }
}
