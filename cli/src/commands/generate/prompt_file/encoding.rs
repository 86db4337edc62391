//! A prompt file's bytes as text.

use image::ImageFormat;

/// The text of a file, with `\n` at the end of each line whatever ended it there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// All of it; what is no UTF-8 stands as U+FFFD.
    pub(super) text: String,
    /// The lines that are no UTF-8, counted from 1.
    pub(super) bad_lines: Vec<usize>,
}

/// Decodes UTF-8, and UTF-16 that begins with its byte order mark, as Windows writes it.
///
/// # Errors
/// Says what the file is instead, in words that follow `is`.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    if let Some(kind) = binary_kind(bytes) {
        return Err(format!("is {kind}"));
    }
    let wide = match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            return Err("is UTF-32: save it as UTF-8".to_owned());
        }
        [0xff, 0xfe, rest @ ..] => Some((rest, u16::from_le_bytes as fn([u8; 2]) -> u16)),
        [0xfe, 0xff, rest @ ..] => Some((rest, u16::from_be_bytes as fn([u8; 2]) -> u16)),
        _ => None,
    };
    if let Some((rest, unit)) = wide {
        let (pairs, odd) = rest.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
        return match String::from_utf16(&units) {
            Ok(text) if odd.is_empty() => Ok(Decoded {
                text: with_one_line_end(&text),
                bad_lines: Vec::new(),
            }),
            _ => Err("is UTF-16 with a fault in it: save it as UTF-8".to_owned()),
        };
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if is_bare_utf16(bytes) {
        return Err("is UTF-16 without a byte order mark: save it as UTF-8".to_owned());
    }
    match str::from_utf8(bytes) {
        Ok(text) => Ok(Decoded {
            text: with_one_line_end(text),
            bad_lines: Vec::new(),
        }),
        Err(_) if bytes.contains(&0) => Err("is binary, no text".to_owned()),
        Err(_) => Ok(partly(bytes)),
    }
}

/// The text of bytes of which some lines are no UTF-8.
fn partly(bytes: &[u8]) -> Decoded {
    let mut rest = bytes;
    let mut lines = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let end = end.unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        lines.push(line);
        rest = after
            .strip_prefix(b"\r\n")
            .or_else(|| after.get(1..))
            .unwrap_or_default();
    }
    let bad = |line: &&[u8]| str::from_utf8(line).is_err();
    let numbered = lines.iter().enumerate();
    let bad_lines = numbered.filter(|(_, line)| bad(line));
    Decoded {
        bad_lines: bad_lines.map(|(index, _)| index + 1).collect(),
        text: lines
            .iter()
            .map(|line| String::from_utf8_lossy(line).into_owned() + "\n")
            .collect(),
    }
}

fn with_one_line_end(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// Tells whether every other byte is zero, as in Latin letters of UTF-16.
fn is_bare_utf16(bytes: &[u8]) -> bool {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let zero = |at: usize| pairs.iter().filter(|pair| pair[at] == 0).count();
    // Other scripts have fewer zeros than Latin text, and line ends have them in any.
    odd.is_empty() && pairs.len() > 1 && zero(0).max(zero(1)) * 2 > pairs.len()
}

/// The kind of a file that is no text, by how it begins.
fn binary_kind(bytes: &[u8]) -> Option<&'static str> {
    for (magic, kind) in [
        (&b"PK\x03\x04"[..], "a ZIP archive or an office document"),
        (b"PK\x05\x06", "a ZIP archive"),
        (b"\x1f\x8b", "compressed (gzip): unpack it first"),
        (
            b"\x28\xb5\x2f\xfd",
            "compressed (Zstandard): unpack it first",
        ),
        (b"\xfd7zXZ\0", "compressed (xz): unpack it first"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"%PDF-", "a PDF document"),
        (b"{\\rtf", "an RTF document: save it as plain text"),
        (b"\xd0\xcf\x11\xe0", "an office document"),
        (b"GGUF", "a GGUF file"),
        (b"SQLite format 3\0", "a database"),
    ] {
        if bytes.starts_with(magic) {
            return Some(kind);
        }
    }
    if bytes.get(8) == Some(&b'{') && bytes.get(4..8) == Some(&[0; 4]) {
        return Some("a safetensors file");
    }
    // Text may begin as an image of some kinds does.
    if str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0')) {
        return None;
    }
    let format = image::guess_format(bytes.get(..64).unwrap_or(bytes)).ok()?;
    Some(match format {
        ImageFormat::Png => "a PNG image: --from draws an image again",
        ImageFormat::Jpeg => "a JPEG image: --from draws an image again",
        ImageFormat::WebP => "a WebP image: --from draws an image again",
        _ => "an image",
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::decode;

    fn text(bytes: &[u8]) -> String {
        let decoded = decode(bytes).unwrap();
        assert_eq!(decoded.bad_lines, [0; 0]);
        decoded.text
    }

    #[test]
    fn byte_order_marks_and_line_ends_are_those_of_any_system() {
        let expected = "a fox, 猫\nb 🦊";
        let utf16 = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            let marked = format!("\u{feff}{}", expected.replace('\n', "\r\n"));
            marked.encode_utf16().flat_map(unit).collect()
        };
        for bytes in [
            expected.as_bytes().to_vec(),
            format!("\u{feff}{expected}").into_bytes(),
            expected.replace('\n', "\r").into_bytes(),
            utf16(u16::to_le_bytes),
            utf16(u16::to_be_bytes),
        ] {
            assert_eq!(text(&bytes), expected, "{bytes:?}");
        }
        assert_eq!(text(b""), "");
        assert_eq!(text(b"BMW on a road"), "BMW on a road");
        assert_eq!(text(b"GIF of a fox"), "GIF of a fox");
    }

    #[test]
    fn what_is_no_text_is_named() {
        let bare: Vec<u8> = "a fox, 猫\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for (bytes, part) in [
            (&b"\x89PNG\r\n\x1a\n\0\0"[..], "PNG image"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "JPEG image"),
            (b"GIF89a\x01\0\x01\0", "an image"),
            (b"PK\x03\x04\x14\0", "ZIP"),
            (b"\x1f\x8b\x08\0", "gzip"),
            (b"%PDF-1.7\n", "PDF"),
            (b"{\\rtf1\\ansi}", "RTF"),
            (b"\x10\0\0\0\0\0\0\0{\"a\":1}", "safetensors"),
            (b"\xff\xfe\0\0a\0\0\0", "UTF-32"),
            (b"\xff\xfea\0b", "UTF-16 with a fault"),
            (b"\xff\xfe\x00\xd8a\0", "UTF-16 with a fault"),
            (&bare, "UTF-16 without"),
            (b"\x7fELF\xff\0\0\xfe", "binary"),
        ] {
            let reason = decode(bytes).unwrap_err();
            assert!(reason.contains(part), "{reason} for {bytes:?}");
        }
    }

    #[test]
    fn lines_that_are_no_utf8_are_counted() {
        let decoded = decode(b"a\r\n\xe9\rc\n\n\xff\xfe").unwrap();
        assert_eq!(decoded.bad_lines, [2, 5]);
        assert_eq!(decoded.text, "a\n\u{fffd}\nc\n\n\u{fffd}\u{fffd}\n");
    }
}
