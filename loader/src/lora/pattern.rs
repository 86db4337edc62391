//! PEFT's tables of numbers by layer. Their keys are regular expressions of Python's `re`, and the
//! first one that matches a layer's name counts.

use fancy_regex::Regex;

/// A table, in the order of its file.
#[derive(Debug, Default)]
pub(super) struct Patterns(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    key: String,
    regex: Regex,
    value: f64,
}

/// A key that cannot be followed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadPattern {
    /// The key.
    pub(super) key: String,
    /// Why.
    pub(super) reason: String,
}

impl Patterns {
    /// Reads the keys as PEFT does: each matches the end of a name, from a dot or from its
    /// beginning on.
    ///
    /// # Errors
    /// An expression that is wrong, or that means something else here than in Python.
    pub(super) fn new(table: Vec<(String, f64)>) -> Result<Self, BadPattern> {
        let entry = |(key, value): (String, f64)| {
            let regex = check(&key).map_err(str::to_owned).and_then(|()| {
                // Python's `match` begins at the name's beginning.
                let whole = format!(r"\A(?:(.*\.)?({key})$)");
                Regex::new(&whole).map_err(|_| "it is no regular expression".to_owned())
            });
            match regex {
                Ok(regex) => Ok(Entry { key, regex, value }),
                Err(reason) => Err(BadPattern { key, reason }),
            }
        };
        table
            .into_iter()
            .map(entry)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The value of the first expression that matches one of a layer's names.
    ///
    /// # Errors
    /// An expression that takes too long.
    pub(super) fn get(&self, names: &[&str]) -> Result<Option<f64>, BadPattern> {
        for Entry { key, regex, value } in &self.0 {
            for name in names {
                match regex.is_match(name) {
                    Ok(true) => return Ok(Some(*value)),
                    Ok(false) => {}
                    Err(_) => {
                        return Err(BadPattern {
                            key: key.clone(),
                            reason: "it takes too long to match".to_owned(),
                        });
                    }
                }
            }
        }
        Ok(None)
    }
}

/// Allows only what means the same in Python and here.
fn check(key: &str) -> Result<(), &'static str> {
    let mut rest = key;
    // Whether a repetition has just ended, after which Python allows no other.
    let mut repeated = false;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        let was_repeated = std::mem::replace(&mut repeated, false);
        rest = match first {
            '\\' => escape(after, "dDwWsSbBAZtnrfva")?,
            '[' => class(after)?,
            '(' => group(after)?,
            '*' | '+' | '?' | '{' => {
                if was_repeated {
                    return Err("it repeats a repetition");
                }
                let after = if first == '{' { counts(after)? } else { after };
                repeated = true;
                after.strip_prefix('?').unwrap_or(after)
            }
            _ => after,
        };
    }
    Ok(())
}

/// Goes past what follows a backslash: punctuation, or one of some letters.
fn escape<'a>(rest: &'a str, letters: &str) -> Result<&'a str, &'static str> {
    let escaped = rest.chars().next().ok_or("it ends in a backslash")?;
    let punctuation = escaped.is_ascii_punctuation() && !matches!(escaped, '<' | '>');
    let after = &rest[escaped.len_utf8()..];
    // `\b{start}` is a boundary of another kind here.
    let boundary = matches!(escaped, 'b' | 'B') && after.starts_with('{');
    if (punctuation || letters.contains(escaped)) && !boundary {
        Ok(after)
    } else {
        Err("it has an escape that is not supported")
    }
}

/// Goes past a class of characters, whose bracket has been read.
fn class(rest: &str) -> Result<&str, &'static str> {
    let mut rest = rest.strip_prefix('^').unwrap_or(rest);
    rest = rest.strip_prefix(']').unwrap_or(rest);
    loop {
        if ["[", "&&", "--", "~~"]
            .iter()
            .any(|set| rest.starts_with(set))
        {
            return Err("it has a set within a class of characters");
        }
        let first = rest
            .chars()
            .next()
            .ok_or("a class of characters has no end")?;
        let after = &rest[first.len_utf8()..];
        rest = match first {
            ']' => return Ok(after),
            '\\' => escape(after, "dDwWsStnrfv")?,
            _ => after,
        };
    }
}

/// Goes past the beginning of a group, whose parenthesis has been read.
fn group(rest: &str) -> Result<&str, &'static str> {
    let Some(extension) = rest.strip_prefix('?') else {
        return Ok(rest);
    };
    let mut known = [":", "=", "!", "<=", "<!", "i:", "P<"].into_iter();
    let after = known.find_map(|kind| extension.strip_prefix(kind));
    after.ok_or("it has a group of a kind that is not supported")
}

/// Goes past the numbers of a repetition, whose brace has been read.
fn counts(rest: &str) -> Result<&str, &'static str> {
    let (counts, after) = rest.split_once('}').ok_or("it has a brace alone")?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (least, most) = counts.split_once(',').unwrap_or((counts, ""));
    if !least.is_empty() && digits(least) && digits(most) {
        Ok(after)
    } else {
        Err("it has braces without a number")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TO_Q: &str = "transformer_blocks.0.attn.to_q";

    fn matches(key: &str, name: &str) -> bool {
        let patterns = Patterns::new(vec![(key.to_owned(), 1.0)]).unwrap();
        patterns.get(&[name]).unwrap().is_some()
    }

    /// The expected results were computed with CPython's `re.match(rf"(.*\.)?({key})$", name)`.
    #[test]
    fn keys_match_as_in_python() {
        for (key, name, expected) in [
            ("to_q", TO_Q, true),
            ("attn.to_q", TO_Q, true),
            ("ttn.to_q", TO_Q, false),
            ("o_q", TO_Q, false),
            ("to_", TO_Q, false),
            ("", TO_Q, false),
            (TO_Q, TO_Q, true),
            ("^transformer_blocks.0.attn.to_q", TO_Q, true),
            ("^attn.to_q", TO_Q, false),
            ("^transformer_blocks.0.attn.to_q$", TO_Q, true),
            (
                "transformer_blocks.0.attn.to_q",
                "x.transformer_blocks.0.attn.to_q",
                true,
            ),
            (
                "^transformer_blocks.0.attn.to_q",
                "x.transformer_blocks.0.attn.to_q",
                false,
            ),
            // A dot is any character.
            ("blocks.0", "transformer_blocks.1.blocks_0", true),
            ("transformer.blocks.0.attn.to_q", TO_Q, true),
            (r"transformer\.blocks.0.attn.to_q", TO_Q, false),
            (r".*\.0\..*(to_k|to_v)", TO_Q, false),
            (r".*\.0\..*(to_k|to_q)", TO_Q, true),
            // An alternative is of the key alone.
            ("to_k|to_q", TO_Q, true),
            ("to_k|o_q", TO_Q, false),
            (".*to_q", TO_Q, true),
            ("blocks.*", TO_Q, false),
            ("attn.*", TO_Q, true),
            (r"transformer_blocks\.\d+\.attn\.to_[qkv]", TO_Q, true),
            (r"transformer_blocks\.\d{2,}\.attn\.to_[qkv]", TO_Q, false),
            (r"(?!transformer_blocks\.0\.).*to_q", TO_Q, true),
            (r"^(?!transformer_blocks\.0\.).*to_q", TO_Q, false),
            (r"attn\.(?P<kind>to|add)_q", TO_Q, true),
            (r"(?i:TO_Q)", TO_Q, true),
            ("TO_Q", TO_Q, false),
            (r"attn\.to_\w\Z", TO_Q, true),
            (r"a{1}ttn\.to_q", TO_Q, true),
            (r"[]t]o_q", TO_Q, true),
            (r"[^]t]o_q", TO_Q, false),
            (r"to_q)|(to_k", TO_Q, true),
        ] {
            assert_eq!(matches(key, name), expected, "{key} and {name}");
        }
    }

    #[test]
    fn the_first_key_that_matches_counts() {
        let table = [("to_q", 2.0), (".*attn.*", 3.0), ("to_k", 4.0)];
        let table = table.map(|(key, value)| (key.to_owned(), value));
        let patterns = Patterns::new(table.into()).unwrap();
        assert_eq!(patterns.get(&[TO_Q]).unwrap(), Some(2.0));
        let to_k = "transformer_blocks.0.attn.to_k";
        assert_eq!(patterns.get(&[to_k]).unwrap(), Some(3.0));
        assert_eq!(patterns.get(&["img_in"]).unwrap(), None);
        assert_eq!(patterns.get(&["img_in", to_k]).unwrap(), Some(3.0));
    }

    #[test]
    fn what_may_mean_something_else_than_in_python_is_refused() {
        for key in [
            "to_(q",
            "to_q)",
            "*to_q",
            r"\<to_q",
            r"to_q\b{end}",
            r"(to)_\1",
            r"to_\x71",
            r"to_\y",
            r"to_\",
            "[[a-z]]to_q",
            "[a-z&&[t]]o_q",
            "[a--b]",
            "[a",
            r"[\b]",
            "a++",
            "a**",
            "a??*",
            "a{2}{3}",
            "a{,3}",
            "a{x}",
            "a{",
            "(?x: to_q )",
            "(?i)to_q",
            "(?#remark)to_q",
            "(?>to)_q",
            "(?<name>to)_q",
            "(?P=name)",
            "(?(1)a|b)",
        ] {
            let refused = Patterns::new(vec![(key.to_owned(), 1.0)]);
            assert_eq!(refused.unwrap_err().key, key);
        }
    }

    #[test]
    fn an_expression_without_end_is_given_up() {
        let key = r"(?:(?=a)a|(?=a)a)*b".to_owned();
        let patterns = Patterns::new(vec![(key, 1.0)]).unwrap();
        let long = "a".repeat(200);
        assert!(patterns.get(&[&long]).is_err());
    }
}
