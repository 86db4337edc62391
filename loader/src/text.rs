//! Text of foreign origin, made safe to print.
//!
//! Tensor names and metadata come from files that anybody may have written. Before they reach a
//! terminal, control characters (which could move the cursor or recolour the screen) are escaped
//! and long text is shortened.

use std::fmt;
use std::path::Path;

/// The longest excerpt, in characters of the original text.
const MAX_CHARS: usize = 96;

/// A printable, shortened copy of text found in a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Excerpt(String);

impl Excerpt {
    /// Escapes control and invisible characters of `text` and cuts it after 96 characters.
    pub fn new(text: &str) -> Self {
        let mut shown = String::new();
        let mut chars = text.chars();
        for c in chars.by_ref().take(MAX_CHARS) {
            push_escaped(&mut shown, c);
        }
        if chars.next().is_some() {
            shown.push('…');
        }
        Self(shown)
    }
}

impl From<&str> for Excerpt {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<&String> for Excerpt {
    fn from(text: &String) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A path with its control characters escaped, in full.
pub(crate) fn shown(path: &Path) -> String {
    let mut text = String::new();
    for c in path.to_string_lossy().chars() {
        push_escaped(&mut text, c);
    }
    text
}

/// A list such as `a, b, c and 4 more`: the first `limit` items, then the count of the rest.
pub(crate) fn listed<T: fmt::Display>(items: &[T], limit: usize) -> String {
    let mut text = items
        .iter()
        .take(limit)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if items.len() > limit {
        text.push_str(&format!(" and {} more", items.len() - limit));
    }
    text
}

/// `escape_debug` knows which characters do not print; quotes and backslashes do.
fn push_escaped(text: &mut String, c: char) {
    match c {
        '\'' | '"' | '\\' => text.push(c),
        _ => text.extend(c.escape_debug()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_unchanged() {
        let name = "transformer_blocks.0.attn.to_out.0.weight";
        assert_eq!(Excerpt::new(name).to_string(), name);
        assert_eq!(Excerpt::new("模型 \"x\"").to_string(), "模型 \"x\"");
    }

    #[test]
    fn control_and_bidi_characters_are_escaped() {
        assert_eq!(
            Excerpt::new("a\x1b[31m\nb\u{202e}c").to_string(),
            "a\\u{1b}[31m\\nb\\u{202e}c"
        );
    }

    #[test]
    fn long_text_is_cut() {
        let shown = Excerpt::new(&"x".repeat(1000)).to_string();
        assert_eq!(shown.chars().count(), MAX_CHARS + 1);
        assert!(shown.ends_with('…'));
    }

    #[test]
    fn lists_are_cut_and_counted() {
        assert_eq!(listed(&["a", "b"], 2), "a, b");
        assert_eq!(listed(&["a", "b", "c", "d"], 2), "a, b and 2 more");
    }
}
