//! Texts that are shown in messages.

/// At most `most` characters of a text, with an ellipsis where there are more.
pub fn beginning(text: &str, most: usize) -> String {
    let mut start: String = text.chars().take(most).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}
