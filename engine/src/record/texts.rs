//! The texts in an image's file that may tell how it was made.

use super::metadata::{PARAMETERS, RECIPE};

/// Texts that are looked at, by their keywords in small letters.
const KNOWN: [&str; 12] = [
    PARAMETERS,
    RECIPE,
    "prompt",
    "workflow",
    "invokeai_metadata",
    "sd-metadata",
    "dream",
    "fooocus_scheme",
    "comment",
    "software",
    "description",
    XMP,
];
/// The keyword of Adobe's metadata in a PNG.
pub(super) const XMP: &str = "xml:com.adobe.xmp";
/// The keywords of the texts that another program's recipe may be in.
const RECIPES: [&str; 7] = [
    PARAMETERS,
    RECIPE,
    "prompt",
    "workflow",
    "invokeai_metadata",
    "sd-metadata",
    "dream",
];

/// The texts of a file.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Texts {
    known: Vec<(&'static str, String)>,
    others: Vec<String>,
    /// A name for what is there and cannot be read.
    unread: Option<&'static str>,
}

impl Texts {
    /// The known keyword of this spelling.
    pub(super) fn known(keyword: &str) -> Option<&'static str> {
        let keyword = keyword.trim();
        let mut known = KNOWN.into_iter();
        known.find(|known| known.eq_ignore_ascii_case(keyword))
    }

    /// Adds a text. The first one of a keyword counts.
    pub(super) fn add(&mut self, keyword: &str, text: String) {
        match Self::known(keyword) {
            Some(known) if self.get(known).is_none() => self.known.push((known, text)),
            Some(_) => {}
            None => self.add_name(keyword),
        }
    }

    /// Adds the keyword of a text that is not looked at.
    pub(super) fn add_name(&mut self, keyword: &str) {
        self.others.push(keyword.to_owned());
    }

    /// Notes that something is there that cannot be read.
    pub(super) fn set_unread(&mut self, what: &'static str) {
        self.unread = Some(what);
    }

    /// Adds the texts of `other` whose keywords are not there yet.
    pub(super) fn extend(&mut self, other: Self) {
        for (keyword, text) in other.known {
            self.add(keyword, text);
        }
        self.others.extend(other.others);
        self.unread = self.unread.or(other.unread);
    }

    /// The text of a keyword.
    pub fn get(&self, keyword: &str) -> Option<&str> {
        let mut known = self.known.iter();
        let (_, text) = known.find(|(known, _)| *known == keyword)?;
        Some(text)
    }

    /// Tells whether there is a text that a recipe may be in.
    pub(super) fn may_hold_recipe(&self) -> bool {
        RECIPES.iter().any(|keyword| self.get(keyword).is_some())
    }

    /// Names the texts of a file that hold no recipe that is read; `None` for a file without texts.
    pub fn what_there_is(&self) -> Option<String> {
        if let Some(unread) = self.unread {
            return Some(unread.to_owned());
        }
        // Cameras and editors of images write these.
        let telling = |keyword: &&str| !matches!(*keyword, "software" | XMP);
        let known = self.known.iter().map(|(keyword, _)| *keyword);
        let known = known.filter(telling);
        let names: Vec<&str> = known
            .chain(self.others.iter().map(String::as_str))
            .collect();
        match names.as_slice() {
            [] => None,
            [first, second, third, ..] if names.len() > 3 => {
                let more = names.len() - 3;
                Some(format!(
                    "the texts {first}, {second}, {third} and {more} more"
                ))
            }
            [only] => Some(format!("the text {only}")),
            names => Some(format!("the texts {}", names.join(", "))),
        }
    }
}
