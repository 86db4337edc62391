//! File names with a place for what tells images apart.

use std::path::Path;

use engine::files::{DIGEST_PLACE, with_suffix};

use crate::error::CliError;

/// The most digits a `%0Nd` may ask for.
const MAX_DIGITS: usize = 20;
/// A file name, with or without a place for the image's number and for its recipe's digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Piece>);

/// A part of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Itself.
    Text(String),
    /// `%d`: the image's number, padded to so many digits.
    Number(usize),
    /// `%h`: the digest of the image's recipe.
    Digest,
}

impl Pattern {
    /// Reads a name; `what` names the flag or field in errors.
    ///
    /// # Errors
    /// [`CliError::Usage`] for a second `%d` or `%h`, or too many digits.
    pub(super) fn parse(what: &str, name: &str) -> Result<Self, CliError> {
        let wrong = || {
            Err(CliError::Usage(format!(
                "{what} {name}: one `%d` or `%04d` at most, of up to {MAX_DIGITS} digits, and one \
                 `%h`"
            )))
        };
        let mut pattern = Self(Vec::new());
        let mut rest = name;
        while let Some(at) = rest.find('%') {
            pattern.push_text(&rest[..at]);
            let directive = &rest[at + 1..];
            let digits = directive.bytes().take_while(u8::is_ascii_digit).count();
            if directive[digits..].starts_with('d') {
                let width = match &directive[..digits] {
                    "" => 0,
                    width => width.parse().unwrap_or(usize::MAX),
                };
                if pattern.is_numbered() || width > MAX_DIGITS {
                    return wrong();
                }
                pattern.0.push(Piece::Number(width));
                rest = &directive[digits + 1..];
            } else if let Some(after) = directive.strip_prefix('h') {
                if pattern.has_digest() {
                    return wrong();
                }
                pattern.0.push(Piece::Digest);
                rest = after;
            } else {
                // `%%` is a percent sign, and so is one that starts nothing.
                pattern.push_text("%");
                rest = directive.strip_prefix('%').unwrap_or(directive);
            }
        }
        pattern.push_text(rest);
        Ok(pattern)
    }

    fn push_text(&mut self, text: &str) {
        match self.0.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.0.push(Piece::Text(text.to_owned())),
        }
    }

    fn is_numbered(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Number(_)))
    }

    /// Tells whether each of several images has another name.
    pub(super) fn is_for_many(&self) -> bool {
        self.is_numbered() || self.has_digest()
    }

    /// Tells whether the recipe's digest is in the name.
    pub(super) fn has_digest(&self) -> bool {
        self.0.contains(&Piece::Digest)
    }

    /// The name with `number` in its place, or with `suffix` before the extension.
    pub(super) fn numbered(&self, suffix: Option<usize>, number: usize) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Number(digits) => format!("{number:0digits$}"),
            Piece::Digest => DIGEST_PLACE.to_owned(),
        });
        let name: String = pieces.collect();
        match suffix {
            Some(suffix) if !self.is_for_many() => with_suffix(Path::new(&name), suffix)
                .to_string_lossy()
                .into_owned(),
            _ => name,
        }
    }
}
