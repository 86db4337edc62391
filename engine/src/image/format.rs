//! The formats that images are written in; the extension of a file's name chooses one.

use std::ffi::OsStr;
use std::path::Path;

/// A file format for images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// PNG, lossless; the default.
    Png,
    /// WebP, written losslessly.
    WebP,
    /// JPEG, with losses.
    Jpeg,
}

impl Format {
    /// Tells the format by a name's extension, in either case; `None` for one that is not written.
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension().and_then(OsStr::to_str)?;
        match extension.to_ascii_lowercase().as_str() {
            "png" => Some(Self::Png),
            "webp" => Some(Self::WebP),
            "jpg" | "jpeg" => Some(Self::Jpeg),
            _ => None,
        }
    }

    /// Tells the format by the first bytes of a file; 12 are enough.
    pub fn of_bytes(start: &[u8]) -> Option<Self> {
        if start.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if start.starts_with(b"\xff\xd8\xff") {
            Some(Self::Jpeg)
        } else if start.starts_with(b"RIFF") && start.get(8..12) == Some(b"WEBP") {
            Some(Self::WebP)
        } else {
            None
        }
    }

    /// The format's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Jpeg => "JPEG",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Format;

    #[test]
    fn names_and_bytes_tell_the_format() {
        for (name, format) in [
            ("a.png", Some(Format::Png)),
            ("a.b.WebP", Some(Format::WebP)),
            ("a.JPG", Some(Format::Jpeg)),
            ("a.jpeg", Some(Format::Jpeg)),
            ("a.gif", None),
            ("png", None),
        ] {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
        for (bytes, format) in [
            (&b"\x89PNG\r\n\x1a\n\0\0\0\r"[..], Some(Format::Png)),
            (b"\xff\xd8\xff\xe0", Some(Format::Jpeg)),
            (b"RIFF\x10\0\0\0WEBPVP8L", Some(Format::WebP)),
            (b"RIFF\x10\0\0\0WAVE", None),
            (b"RIFF", None),
            (b"", None),
        ] {
            assert_eq!(Format::of_bytes(bytes), format, "{bytes:?}");
        }
    }
}
