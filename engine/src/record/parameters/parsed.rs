//! A `parameters` text, taken apart.

use std::ops::Range;

/// The beginning of the negative prompt's line.
pub(super) const NEGATIVE: &str = "Negative prompt:";
/// Settings that stand on lines of their own where a program writes one on each.
const SETTINGS: [&str; 9] = [
    "steps",
    "seed",
    "size",
    "sampler",
    "cfg scale",
    "schedule type",
    "scheduler",
    "model",
    "version",
];
/// The characters that may stand between settings.
const SEPARATORS: [char; 4] = [',', '|', ';', '\t'];

/// The parts of such a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// The prompt.
    pub(crate) prompt: String,
    /// The negative prompt, where there is one.
    pub(crate) negative_prompt: Option<String>,
    pairs: Vec<(String, String)>,
}

impl Parsed {
    /// The value of a key, however its letters are written.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        let mut pairs = self.pairs.iter();
        let (_, value) = pairs.find(|(name, _)| name.eq_ignore_ascii_case(key))?;
        Some(value)
    }

    /// All settings.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.pairs.iter();
        pairs.map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// Takes a text apart; `None` for one without a line of settings.
pub(crate) fn parse(text: &str) -> Option<Parsed> {
    let lines: Vec<&str> = text.lines().collect();
    let settings = settings(&lines)?;
    let body = lines.get(..settings.start)?;
    let negative = body
        .iter()
        .position(|line| starts_with(line, NEGATIVE))
        .unwrap_or(body.len());
    let (prompt, negative) = body.split_at(negative);
    let negative = negative.join("\n");
    let pairs = lines.get(settings)?.iter().flat_map(|line| pairs(line));
    Some(Parsed {
        prompt: prompt.join("\n"),
        negative_prompt: starts_with(&negative, NEGATIVE).then(|| {
            // The line always has this space; an empty prompt may have lost it.
            let text = negative.get(NEGATIVE.len()..).unwrap_or_default();
            text.strip_prefix(' ').unwrap_or(text).to_owned()
        }),
        pairs: pairs.collect(),
    })
}

/// The lines of settings: the last that begins with `Steps:`, or else the last that has several
/// settings in it, and those beside it with one each.
fn settings(lines: &[&str]) -> Option<Range<usize>> {
    let is_of_steps = |line: &&str| {
        let value = line.get("Steps:".len()..).unwrap_or_default();
        starts_with(line, "Steps:") && !value.trim().is_empty()
    };
    let of_steps = lines.iter().rposition(is_of_steps);
    let has_several = |line: &&str| {
        let found = pairs(line);
        let known = found.iter().filter(|(key, _)| is_setting(key));
        known.count() > 1 && found.first().is_some_and(|(key, _)| is_setting(key))
    };
    let at = match of_steps {
        // A line of the prompt may begin so, too.
        Some(at) if pairs(lines[at]).len() < 2 => lines.iter().rposition(has_several).unwrap_or(at),
        Some(at) => at,
        None => lines.iter().rposition(has_several)?,
    };
    let is_single = |line: &&&str| {
        let found = pairs(line);
        matches!(found.as_slice(), [(key, _)] if is_setting(key))
    };
    let (before, after) = lines.split_at(at);
    let single = pairs(lines[at]).len() == 1;
    let above = before.iter().rev().take_while(is_single);
    let above = if single { above.count() } else { 0 };
    let below = after.iter().skip(1).take_while(is_single).count();
    Some(at - above..at + 1 + below)
}

fn is_setting(key: &str) -> bool {
    SETTINGS.iter().any(|known| known.eq_ignore_ascii_case(key))
}

/// Tells whether a line begins with a text, in letters of any case.
fn starts_with(line: &str, start: &str) -> bool {
    let line = line.get(..start.len());
    line.is_some_and(|line| line.eq_ignore_ascii_case(start))
}

/// `key: value, key: "a, b"` by key.
fn pairs(line: &str) -> Vec<(String, String)> {
    let separator = separator(line);
    let mut pairs = Vec::new();
    let mut rest = line;
    while let Some((key, after)) = rest.split_once(':') {
        let after = after.trim_start_matches(' ');
        // A quoted value is a JSON string, and may hold the separators.
        let mut quoted = serde_json::Deserializer::from_str(after).into_iter::<String>();
        let value = match quoted.next() {
            Some(Ok(value)) if after.starts_with('"') => {
                rest = after.get(quoted.byte_offset()..).unwrap_or_default();
                rest = rest.split_once(separator).map_or("", |(_, rest)| rest);
                value
            }
            _ => {
                let (value, next) = after.split_once(separator).unwrap_or((after, ""));
                rest = next;
                value.trim().to_owned()
            }
        };
        pairs.push((key.trim().to_owned(), value));
    }
    pairs
}

/// The separator of a line's settings, which is the one that follows the first value, a number or a
/// word.
fn separator(line: &str) -> char {
    let after = line.split_once(':').map_or("", |(_, after)| after);
    let first = after.find(|c| SEPARATORS.contains(&c));
    let first = first.and_then(|at| after[at..].chars().next());
    first.unwrap_or(',')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::parse;

    #[test]
    fn settings_are_read_however_they_are_set_out() {
        for text in [
            "a fox\nNegative prompt: blurry\nSteps: 3, Seed: 7, CFG scale: 2.5, Size: 64x64",
            "a fox\nNegative prompt: blurry\nSteps: 3 | Seed: 7 | CFG scale: 2.5 | Size: 64x64",
            "a fox\nNegative prompt: blurry\nSteps: 3| Seed: 7| CFG scale: 2.5| Size: 64x64",
            "a fox\nNegative prompt: blurry\nSteps: 3; Seed: 7; CFG scale: 2.5; Size: 64x64",
            "a fox\nNegative prompt: blurry\nSteps: 3\tSeed: 7\tCFG scale: 2.5\tSize: 64x64",
            "a fox\r\nNegative prompt: blurry\r\nSteps: 3, Seed: 7, CFG scale: 2.5, Size: 64x64\r\n",
            "a fox\nnegative prompt: blurry\nsteps: 3, seed: 7, cfg scale: 2.5, size: 64x64",
            "a fox\nNegative prompt: blurry\nSeed: 7, Steps: 3, CFG scale: 2.5, Size: 64x64",
            "a fox\nNegative prompt: blurry\nSteps: 3\nSeed: 7\nCFG scale: 2.5\nSize: 64x64\n",
            "a fox\nNegative prompt: blurry\nSeed: 7\nSize: 64x64\nSteps: 3\nCFG scale: 2.5\n",
            "a fox\nNegative prompt: blurry\nSteps: 3, Seed: 7, CFG scale: 2.5\nSize: 64x64",
        ] {
            let parsed = parse(text).unwrap();
            assert_eq!(parsed.prompt, "a fox", "{text:?}");
            assert_eq!(
                parsed.negative_prompt.as_deref(),
                Some("blurry"),
                "{text:?}"
            );
            for (key, value) in [("Steps", "3"), ("Seed", "7"), ("CFG scale", "2.5")] {
                assert_eq!(parsed.value(key), Some(value), "{text:?}");
            }
            assert_eq!(parsed.value("Size"), Some("64x64"), "{text:?}");
            assert_eq!(parsed.pairs().count(), 4, "{text:?}");
        }
    }

    #[test]
    fn a_prompt_keeps_lines_that_look_like_settings() {
        let text = "Steps: to the door\nSeed: of doubt\nSteps: 2, Seed: 7";
        let parsed = parse(text).unwrap();
        assert_eq!(parsed.prompt, "Steps: to the door\nSeed: of doubt");
        assert_eq!(parsed.value("Seed"), Some("7"));
        for text in ["", "only a prompt", "Steps", "a: b, c: d", "\n\n"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn quoted_values_keep_separators() {
        let parsed =
            parse("a\nSteps: 2 | Model: \"a | b\" | Lora hashes: \"x: 1, y: 2\" | Seed: 3");
        let parsed = parsed.unwrap();
        assert_eq!(parsed.value("Model"), Some("a | b"));
        assert_eq!(parsed.value("Lora hashes"), Some("x: 1, y: 2"));
        assert_eq!(parsed.value("Seed"), Some("3"));
    }
}
