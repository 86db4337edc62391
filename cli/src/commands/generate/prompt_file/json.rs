//! The entries of a prompt file in JSON: objects one after another, or one list of them.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// One entry.
#[derive(Debug, PartialEq)]
pub(super) enum Entry {
    /// An object, with every field as often as it is there.
    Object(Vec<(String, Value)>),
    /// A prompt alone.
    Text(String),
    /// Something else, named.
    Other(&'static str),
}

/// An entry and its line, or what is wrong there.
pub(super) type Found = (usize, Result<Entry, String>);

/// The entries of a text. `lines` says that each should have a line of its own, so that those
/// behind a fault are still looked at.
pub(super) fn entries(text: &str, lines: bool) -> Vec<Found> {
    let text = text.trim_start_matches('\u{feff}');
    let start = text.len() - text.trim_start().len();
    let body = &text[start..];
    // A line that is a list of its own is a fault among lines, not the beginning of one list.
    let is_list = || !lines || !is_value(first(text)) || is_value(body);
    if body.starts_with('[') && is_list() {
        return of_list(text, start + 1);
    }
    let stream = of_stream(text);
    let broken = stream.iter().any(|(_, entry)| entry.is_err());
    // An object over several lines begins with its brace alone.
    if broken && lines && first(text) != "{" {
        return of_lines(text);
    }
    stream
}

fn first(text: &str) -> &str {
    text.trim_start().lines().next().unwrap_or_default().trim()
}

/// Tells whether a text is one value of JSON.
fn is_value(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The number of the line that an offset lies in, for offsets that grow.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
        }
    }

    fn line_of(&mut self, offset: usize) -> usize {
        let passed = self.text.get(self.at..offset).unwrap_or_default();
        self.line += passed.matches('\n').count();
        self.at = offset.max(self.at);
        self.line
    }
}

/// Values one after another.
fn of_stream(text: &str) -> Vec<Found> {
    let mut lines = Lines::of(text);
    let mut found = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Entry>();
    loop {
        let before = values.byte_offset();
        let Some(value) = values.next() else {
            return found;
        };
        let blank = text[before..].len() - text[before..].trim_start().len();
        let line = lines.line_of(before + blank);
        match value {
            Ok(entry) => found.push((line, Ok(entry))),
            Err(error) => {
                found.push((error.line().max(line), Err(reason(&error, ""))));
                return found;
            }
        }
    }
}

/// A value on each line.
fn of_lines(text: &str) -> Vec<Found> {
    let numbered = text.lines().enumerate();
    let filled = numbered.filter(|(_, line)| !line.trim().is_empty());
    filled
        .map(|(index, line)| {
            let line = line.trim().trim_start_matches('\u{feff}');
            let entry = serde_json::from_str(line);
            (index + 1, entry.map_err(|error| reason(&error, line)))
        })
        .collect()
}

/// The values of a list whose bracket stands before `at`.
fn of_list(text: &str, mut at: usize) -> Vec<Found> {
    let mut lines = Lines::of(text);
    let mut found = Vec::new();
    let skip = |at: usize| at + text[at..].len() - text[at..].trim_start().len();
    at = skip(at);
    if text[at..].starts_with(']') {
        return after_list(text, at + 1, &mut lines, found);
    }
    loop {
        let line = lines.line_of(at);
        let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Entry>();
        match values.next() {
            Some(Ok(entry)) => found.push((line, Ok(entry))),
            Some(Err(error)) => {
                let line = line + error.line().saturating_sub(1);
                found.push((line, Err(reason(&error, &text[at..]))));
                return found;
            }
            None => {
                found.push((line, Err("the list has no end (`]`)".to_owned())));
                return found;
            }
        }
        at = skip(at + values.byte_offset());
        match text[at..].chars().next() {
            Some(',') => at = skip(at + 1),
            Some(']') => return after_list(text, at + 1, &mut lines, found),
            other => {
                let reason = match other {
                    Some(_) => "a comma is missing before it",
                    None => "the list has no end (`]`)",
                };
                found.push((lines.line_of(at), Err(reason.to_owned())));
                return found;
            }
        }
        if text[at..].starts_with(']') {
            let reason = "a comma before the end of the list is no JSON";
            found.push((lines.line_of(at), Err(reason.to_owned())));
            return found;
        }
    }
}

/// The entries of a list with what must not follow it.
fn after_list(text: &str, at: usize, lines: &mut Lines<'_>, mut found: Vec<Found>) -> Vec<Found> {
    let rest = &text[at..];
    if !rest.trim().is_empty() {
        let at = at + rest.len() - rest.trim_start().len();
        let reason = "something follows the end of the list".to_owned();
        found.push((lines.line_of(at), Err(reason)));
    }
    found
}

/// Why a text is no JSON; `text` is that which the parser was given.
fn reason(error: &serde_json::Error, text: &str) -> String {
    let start = text.trim_start();
    if start.starts_with("//") || start.starts_with("/*") || start.starts_with('#') {
        return "is a remark, which JSON does not have".to_owned();
    }
    if text.ends_with(',') && is_value(text.trim_end_matches(',')) {
        return "ends with a comma, and lines of JSON have none between them".to_owned();
    }
    let words = error.to_string();
    let (why, _) = words.split_once(" at line ").unwrap_or((&words, ""));
    format!("is no JSON object: {why} at column {}", error.column())
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Entry::Object(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entry, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Entry::Other("a list"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Entry, E> {
        Ok(Entry::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Entry, E> {
        Ok(Entry::Other("true or false"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Entry, E> {
        Ok(Entry::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Entry, E> {
        Ok(Entry::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Entry, E> {
        Ok(Entry::Other("a number"))
    }

    fn visit_unit<E>(self) -> Result<Entry, E> {
        Ok(Entry::Other("null"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Entry, Found, entries};

    fn prompts(found: Vec<Found>) -> Vec<(usize, String)> {
        let prompt = |(line, entry): Found| {
            let prompt = match entry.unwrap() {
                Entry::Object(fields) => fields[0].1.as_str().unwrap().to_owned(),
                Entry::Text(text) => text,
                Entry::Other(kind) => panic!("{kind}"),
            };
            (line, prompt)
        };
        found.into_iter().map(prompt).collect()
    }

    #[test]
    fn objects_are_read_wherever_they_stand() {
        let expected = |lines: [usize; 2]| {
            let [a, b] = lines;
            vec![(a, "a".to_owned()), (b, "b".to_owned())]
        };
        for (text, lines) in [
            ("{\"prompt\":\"a\"}\n\n{\"prompt\":\"b\"}\n", [1, 3]),
            (
                "\n[\n{\"prompt\":\"a\"},\n  {\"prompt\":\"b\"}\n]\n",
                [3, 4],
            ),
            ("[{\"prompt\":\"a\"},{\"prompt\":\"b\"}]", [1, 1]),
            ("[\"a\",\n\"b\"]", [1, 2]),
            ("{\n \"prompt\":\"a\"\n}\n{\n \"prompt\":\"b\"\n}", [1, 4]),
            ("{\"prompt\":\"a\"}\n\u{feff}{\"prompt\":\"b\"}\n", [1, 2]),
        ] {
            assert_eq!(prompts(entries(text, true)), expected(lines), "{text}");
        }
        assert!(entries("[]", false).is_empty() && entries(" \n", true).is_empty());
    }

    #[test]
    fn faults_have_their_line_and_lines_behind_them_are_read() {
        for (text, lines, line, part) in [
            ("{\"p\":1}\n{\"p\":1},\n{}", true, 2, "comma"),
            ("{\"p\":1}\n// x\n{}", true, 2, "remark"),
            ("{\"p\":1}\n{\"p\":1,}\n{}", true, 2, "trailing comma"),
            ("{\"p\":1}\nfox\n{}", true, 2, "no JSON object"),
            ("{\"p\":1}\n{\"p\"\n{}", true, 2, "no JSON object"),
            ("[\n{\"p\":1},\n]", false, 3, "comma before the end"),
            ("[\n{\"p\":1}\n{\"p\":2}]", false, 3, "comma is missing"),
            ("[\n{\"p\":1}\n", false, 3, "no end"),
            ("[\n{\"p\":1},\n", false, 3, "no end"),
            ("[\n// x\n{\"p\":1}]", false, 2, "remark"),
            ("[\n{\"p\":\n1,}]", false, 3, "trailing comma"),
            ("[{}]\n{}", false, 2, "follows the end"),
            ("{\n\"p\": 1,\n}", true, 3, "trailing comma"),
        ] {
            let found = entries(text, lines);
            let bad: Vec<_> = found.iter().filter(|(_, entry)| entry.is_err()).collect();
            let [(number, Err(reason))] = bad.as_slice() else {
                panic!("{found:?} for {text}")
            };
            assert_eq!(*number, line, "{text}: {reason}");
            assert!(reason.contains(part), "{text}: {reason}");
            assert!(!reason.contains(" line "), "{reason}");
        }
        let found = entries("{\"p\":1}\nfox\n{\"p\":2}\ncat", true);
        let bad = found.iter().filter(|(_, entry)| entry.is_err()).count();
        assert_eq!((found.len(), bad), (4, 2));
    }

    #[test]
    fn other_values_are_named() {
        let found = entries("[1, null, [2], true, 1.5]", false);
        let kinds: Vec<_> = found.into_iter().map(|(_, entry)| entry.unwrap()).collect();
        let expected = ["a number", "null", "a list", "true or false", "a number"];
        assert_eq!(kinds, expected.map(Entry::Other));
    }
}
