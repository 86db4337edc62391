//! Texts as a shell takes them, for the command lines that messages propose.

use engine::text::beginning;

/// The longest text that a message repeats.
const MAX_SHOWN: usize = 60;

/// A text in quotes, or the beginning of a long one.
pub(super) fn quoted(text: &str) -> String {
    let start = start(text);
    if start.contains(['"', '$', '`', '\\', '!']) {
        format!("'{}'", start.replace('\'', r"'\''"))
    } else {
        format!("\"{start}\"")
    }
}

/// A text, in quotes where it is not one plain word.
pub(super) fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_=+.,:/%@".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// At most the beginning of a text.
pub(super) fn start(text: &str) -> String {
    beginning(text, MAX_SHOWN)
}
