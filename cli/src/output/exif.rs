//! Generation parameters in EXIF, for formats without text chunks: the `parameters` text as UTF-16
//! in `UserComment`, where stable-diffusion-webui writes it, and the recipe in `MakerNote`, which
//! EXIF leaves to the program that makes the picture. A note of ASCII text alone is one that
//! exiftool knows, and does not warn of.

use std::fmt::Write as _;
use std::io::Cursor;

use exif::experimental::Writer;
use exif::{Field, In, Rational, Reader, Tag, Value};

use super::metadata::Metadata;

/// What the tags' values begin with (EXIF 2.3, section 4.6.5, `UserComment`).
const UNICODE: &[u8; 8] = b"UNICODE\0";
const ASCII: &[u8; 8] = b"ASCII\0\0\0";
const UNDEFINED: &[u8; 8] = &[0; 8];
/// What our `MakerNote` begins with.
const MAKER: &str = "qwen-image-burn ";
/// What it began with in earlier versions.
const EARLIER_MAKER: &[u8] = b"qwen-image-burn\0";
/// Some writers put this before the data that a container's own framing already marks as EXIF.
const HEADER: &[u8] = b"Exif\0\0";

/// The EXIF block of some metadata, from its byte order mark on. `jpeg` are the sides of a JPEG file,
/// in which EXIF requires more tags.
///
/// # Errors
/// The writer's own words.
pub(super) fn write(metadata: &Metadata, jpeg: Option<[u32; 2]>) -> Result<Vec<u8>, String> {
    let mut comment = UNICODE.to_vec();
    comment.extend(
        metadata
            .parameters
            .encode_utf16()
            .flat_map(u16::to_be_bytes),
    );
    let note = format!("{MAKER}{}", ascii(&metadata.recipe));
    let software = concat!("qwen-image-burn ", env!("CARGO_PKG_VERSION"));
    let mut fields = vec![
        (Tag::Software, Value::Ascii(vec![software.into()])),
        (Tag::ExifVersion, bytes(b"0232")),
        (Tag::MakerNote, bytes(note.as_bytes())),
        (Tag::UserComment, bytes(&comment)),
    ];
    if let Some(sides) = jpeg {
        fields.extend(required_in_jpeg(sides));
    }
    // A directory's entries are in the order of their numbers (TIFF 6.0, section 2).
    fields.sort_by_key(|(tag, _)| tag.number());
    let fields = fields.into_iter().map(|(tag, value)| Field {
        tag,
        ifd_num: In::PRIMARY,
        value,
    });
    let fields: Vec<Field> = fields.collect();
    let mut writer = Writer::new();
    for field in &fields {
        writer.push_field(field);
    }
    let mut block = Cursor::new(Vec::new());
    writer
        .write(&mut block, false)
        .map_err(|error| error.to_string())?;
    Ok(block.into_inner())
}

fn bytes(bytes: &[u8]) -> Value {
    Value::Undefined(bytes.to_vec(), 0)
}

/// The tags that EXIF 2.32 requires in a JPEG file (section 4.6.8): YCC colours of sRGB, centred, at
/// no particular resolution.
fn required_in_jpeg([width, height]: [u32; 2]) -> [(Tag, Value); 9] {
    let resolution = || Value::Rational(vec![Rational { num: 72, denom: 1 }]);
    [
        (Tag::XResolution, resolution()),
        (Tag::YResolution, resolution()),
        (Tag::ResolutionUnit, Value::Short(vec![2])),
        (Tag::YCbCrPositioning, Value::Short(vec![1])),
        (Tag::ComponentsConfiguration, bytes(&[1, 2, 3, 0])),
        (Tag::FlashpixVersion, bytes(b"0100")),
        (Tag::ColorSpace, Value::Short(vec![1])),
        (Tag::PixelXDimension, Value::Long(vec![width])),
        (Tag::PixelYDimension, Value::Long(vec![height])),
    ]
}

/// JSON whose strings have escapes for all but ASCII.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if matches!(character, ' '..='~') {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text
}

/// The `parameters` text and the recipe's JSON in an EXIF block, each where it is there.
///
/// # Errors
/// What is wrong with the block.
pub(super) fn read(block: Vec<u8>) -> Result<(Option<String>, Option<String>), String> {
    let block = match block.strip_prefix(HEADER) {
        Some(rest) => rest.to_vec(),
        None => block,
    };
    // Other programs' blocks may have a fault in a tag that matters to nobody.
    let exif = Reader::new()
        .continue_on_error(true)
        .read_raw(block)
        .or_else(|error| error.distill_partial_result(|_| ()))
        .map_err(|error| format!("EXIF: {error}"))?;
    let bytes = |tag| match &exif.get_field(tag, In::PRIMARY)?.value {
        Value::Undefined(bytes, _) => Some(bytes.as_slice()),
        _ => None,
    };
    let parameters = bytes(Tag::UserComment).and_then(comment);
    let recipe = bytes(Tag::MakerNote)
        .and_then(|note| {
            let earlier = || note.strip_prefix(EARLIER_MAKER);
            note.strip_prefix(MAKER.as_bytes()).or_else(earlier)
        })
        .map(|json| String::from_utf8_lossy(json).into_owned());
    Ok((parameters, recipe))
}

/// The text of a `UserComment`; `None` for an empty one or one in an encoding that is not read.
fn comment(bytes: &[u8]) -> Option<String> {
    let (code, text) = bytes.split_first_chunk::<8>()?;
    let text = match code {
        UNICODE => utf16(text),
        ASCII | UNDEFINED => String::from_utf8_lossy(text).into_owned(),
        _ => return None,
    };
    let text = text.trim_end_matches(['\0', ' ']);
    (!text.is_empty()).then(|| text.to_owned())
}

/// UTF-16 in the byte order in which it is text: the specification leaves it open, and programs
/// differ.
fn utf16(bytes: &[u8]) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    // Spaces, line ends, digits and Latin letters have a zero byte; parameters are full of them.
    let zeros = |at: usize| pairs.iter().filter(|pair| pair[at] == 0).count();
    let unit = if zeros(1) > zeros(0) {
        u16::from_le_bytes
    } else {
        u16::from_be_bytes
    };
    let units: Vec<u16> = pairs.iter().map(|&pair| unit(pair)).collect();
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{ASCII, EARLIER_MAKER, HEADER, MAKER, UNICODE, comment, read, write};
    use crate::output::metadata::Metadata;

    #[test]
    fn what_is_written_is_read_back() {
        let metadata = Metadata {
            parameters: "一只猫 🦊\nSteps: 2".to_owned(),
            recipe: "{\"prompt\":\"一只猫 🦊\"}".to_owned(),
        };
        let block = write(&metadata, None).unwrap();
        let recipe = |block: Vec<u8>| {
            let (parameters, recipe) = read(block).unwrap();
            assert_eq!(parameters.as_ref(), Some(&metadata.parameters));
            serde_json::from_str::<serde_json::Value>(&recipe.unwrap()).unwrap()
        };
        let expected = serde_json::json!({"prompt": "一只猫 🦊"});
        assert_eq!(recipe(block.clone()), expected);
        assert_eq!(recipe([HEADER, &block].concat()), expected);
        let jpeg = write(&metadata, Some([24, 16])).unwrap();
        assert_eq!(recipe(jpeg), expected);
    }

    #[test]
    fn the_note_is_one_line_of_ascii() {
        let metadata = Metadata {
            parameters: String::new(),
            recipe: "{\"prompt\":\"猫 🦊 é\u{7f}\"}".to_owned(),
        };
        let block = write(&metadata, None).unwrap();
        let note = r#"qwen-image-burn {"prompt":"\u732b \ud83e\udd8a \u00e9\u007f"}"#;
        let found = block
            .windows(note.len())
            .any(|bytes| bytes == note.as_bytes());
        assert!(found, "{}", block.escape_ascii());
    }

    #[test]
    fn notes_of_earlier_versions_are_read() {
        let metadata = Metadata {
            parameters: String::new(),
            recipe: "{\"a\":1}".to_owned(),
        };
        let mut block = write(&metadata, None).unwrap();
        let place = |bytes: &[u8]| bytes.windows(16).position(|at| at == MAKER.as_bytes());
        let at = place(&block).unwrap();
        block[at..at + 16].copy_from_slice(EARLIER_MAKER);
        assert_eq!(read(block).unwrap().1, Some(metadata.recipe));
    }

    #[test]
    fn the_entries_of_each_directory_are_in_order() {
        let metadata = Metadata {
            parameters: "x".to_owned(),
            recipe: "{}".to_owned(),
        };
        for jpeg in [None, Some([24, 16])] {
            let block = write(&metadata, jpeg).unwrap();
            let short = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
            let long = |at: usize| (usize::from(short(at)) << 16) + usize::from(short(at + 2));
            let tags = |directory: usize| {
                let entries = 0..usize::from(short(directory));
                let entries = entries.map(|entry| directory + 2 + 12 * entry);
                entries.map(|at| (short(at), at)).collect::<Vec<_>>()
            };
            let primary = tags(long(4));
            // Where the EXIF tags are.
            let &(_, pointer) = primary.iter().find(|(tag, _)| *tag == 0x8769).unwrap();
            for directory in [primary, tags(long(pointer + 8))] {
                assert!(directory.len() > 1);
                assert!(
                    directory.is_sorted_by(|(a, _), (b, _)| a < b),
                    "{directory:x?}"
                );
            }
        }
    }

    #[test]
    fn comments_of_other_programs_are_read() {
        let le: Vec<u8> = "a cat, 猫"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let text = |code: &[u8; 8], text: &[u8]| comment(&[code, text].concat());
        assert_eq!(text(UNICODE, &le).as_deref(), Some("a cat, 猫"));
        assert_eq!(text(ASCII, b"a cat\0").as_deref(), Some("a cat"));
        assert_eq!(text(&[0; 8], b"a cat").as_deref(), Some("a cat"));
        assert_eq!(text(b"JIS\0\0\0\0\0", b"a cat"), None);
        assert_eq!(text(ASCII, b""), None);
        assert_eq!(comment(b"short"), None);
    }

    #[test]
    fn a_damaged_block_is_an_error_or_less_text_and_never_a_panic() {
        let metadata = Metadata {
            parameters: "a red fox\nSteps: 2".to_owned(),
            recipe: "{}".to_owned(),
        };
        let block = write(&metadata, None).unwrap();
        for at in 0..block.len() {
            let _ = read(block[..at].to_vec());
            for byte in [0, 0x7f, 0x80, 0xff] {
                let mut damaged = block.clone();
                damaged[at] = byte;
                let _ = read(damaged);
            }
        }
        assert!(read(b"junk".to_vec()).is_err());
    }
}
