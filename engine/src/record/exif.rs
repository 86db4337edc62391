//! Generation parameters in EXIF, for formats without text chunks: the `parameters` text as UTF-16
//! in `UserComment`, where stable-diffusion-webui writes it, and the recipe in `MakerNote`, which
//! EXIF leaves to the program that makes the image. A note of ASCII text alone is one that
//! exiftool knows, and does not warn of.

use std::fmt::Write as _;
use std::io::Cursor;

use exif::experimental::Writer;
use exif::{Field, In, Rational, Reader, Tag, Value};

use super::metadata::{Metadata, PARAMETERS, RECIPE};
use super::texts::Texts;

/// The codes that the tags' values begin with (EXIF 2.3, section 4.6.5, `UserComment`).
const UNICODE: &[u8; 8] = b"UNICODE\0";
const ASCII: &[u8; 8] = b"ASCII\0\0\0";
const JIS: &[u8; 8] = b"JIS\0\0\0\0\0";
const UNDEFINED: &[u8; 8] = &[0; 8];
/// The beginning of our `MakerNote`.
const MAKER: &str = "qwen-image-burn ";
/// Its beginning in earlier versions.
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

/// The texts of an EXIF block that may tell how an image was made.
///
/// # Errors
/// The fault in the block, in words.
pub(super) fn read(block: Vec<u8>) -> Result<Texts, String> {
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
    let mut texts = Texts::default();
    let value = |tag| exif.get_field(tag, In::PRIMARY).and_then(text_bytes);
    if let Some(bytes) = value(Tag::UserComment) {
        match comment(&bytes) {
            Ok(Some(text)) => texts.add(PARAMETERS, text),
            Ok(None) => {}
            Err(what) => texts.set_unread(what),
        }
    }
    let note = value(Tag::MakerNote);
    let json = note.as_ref().and_then(|note| {
        let earlier = || note.strip_prefix(EARLIER_MAKER);
        note.strip_prefix(MAKER.as_bytes()).or_else(earlier)
    });
    if let Some(json) = json {
        texts.add(RECIPE, String::from_utf8_lossy(json).into_owned());
    }
    // ComfyUI has its two texts in tags that are meant for a camera's make and model.
    for field in exif.fields().filter(|field| field.ifd_num == In::PRIMARY) {
        let Value::Ascii(_) = field.value else {
            continue;
        };
        let Some(text) = text_bytes(field).map(|bytes| plain(&bytes)) else {
            continue;
        };
        let named = text
            .split_once(':')
            .filter(|(_, json)| json.trim_start().starts_with('{'));
        match named {
            Some((name, json)) => texts.add(name, json.to_owned()),
            // SwarmUI's older versions write their object there.
            None if text.starts_with('{') => texts.add(PARAMETERS, text),
            None if field.tag == Tag::Software => texts.add("software", text),
            None => {}
        }
    }
    Ok(texts)
}

/// The bytes of a field that has text in it.
fn text_bytes(field: &Field) -> Option<Vec<u8>> {
    match &field.value {
        Value::Undefined(bytes, _) | Value::Byte(bytes) => Some(bytes.clone()),
        Value::Ascii(parts) => Some(parts.join(&0)),
        _ => None,
    }
}

/// The text of a `UserComment`; `None` for an empty one.
///
/// # Errors
/// A name for a comment in an encoding that is not read.
fn comment(bytes: &[u8]) -> Result<Option<String>, &'static str> {
    let Some((code, text)) = bytes.split_first_chunk::<8>() else {
        return Ok(None);
    };
    let text = if code.eq_ignore_ascii_case(UNICODE) {
        match text.is_ascii() && !text.contains(&0) {
            // Some programs put UTF-8 behind this name.
            true => plain(text),
            false => utf16(text),
        }
    } else if code == JIS {
        // Escape sequences change to other characters than ASCII's.
        if !text.is_ascii() || text.contains(&0x1b) {
            return Err("an EXIF comment in the encoding JIS");
        }
        plain(text)
    } else if code.eq_ignore_ascii_case(ASCII) || code == UNDEFINED {
        plain(text)
    } else {
        // Some programs leave the code out.
        plain(bytes)
    };
    let text = text.trim_end_matches(['\0', ' ']);
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// Text whose encoding nobody tells: UTF-16 where it has a byte order mark or many zeros, UTF-8
/// where it is that, and else Latin-1.
fn plain(bytes: &[u8]) -> String {
    let marked = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    let zeros = bytes[..end].iter().filter(|byte| **byte == 0).count();
    if marked || zeros * 4 > end {
        return utf16(bytes);
    }
    match str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// UTF-16 in the byte order that its mark tells, or else in which it is text: the specification
/// leaves it open, and programs differ.
fn utf16(bytes: &[u8]) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    // Spaces, line ends, digits and Latin letters have a zero byte; parameters are full of them.
    let zeros = |at: usize| pairs.iter().filter(|pair| pair[at] == 0).count();
    let little = match pairs.first() {
        Some([0xff, 0xfe]) => true,
        Some([0xfe, 0xff]) => false,
        _ => zeros(1) > zeros(0),
    };
    let unit = if little {
        u16::from_le_bytes
    } else {
        u16::from_be_bytes
    };
    let units: Vec<u16> = pairs.iter().map(|&pair| unit(pair)).collect();
    let text = String::from_utf16_lossy(&units);
    match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{
        ASCII, EARLIER_MAKER, HEADER, JIS, MAKER, UNDEFINED, UNICODE, comment, read, write,
    };
    use crate::record::metadata::{Metadata, PARAMETERS, RECIPE};

    #[test]
    fn what_is_written_is_read_back() {
        let metadata = Metadata {
            parameters: "一只猫 🦊\nSteps: 2".to_owned(),
            recipe: "{\"prompt\":\"一只猫 🦊\"}".to_owned(),
        };
        let block = write(&metadata, None).unwrap();
        let recipe = |block: Vec<u8>| {
            let texts = read(block).unwrap();
            assert_eq!(texts.get(PARAMETERS), Some(metadata.parameters.as_str()));
            serde_json::from_str::<serde_json::Value>(texts.get(RECIPE).unwrap()).unwrap()
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
        assert_eq!(read(block).unwrap().get(RECIPE), Some("{\"a\":1}"));
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
        let wide = |text: &str, unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(unit).collect()
        };
        let text = |code: &[u8; 8], text: &[u8]| comment(&[code, text].concat()).unwrap();
        for code in [UNICODE, b"Unicode\0", UNDEFINED] {
            for mark in ["", "\u{feff}"] {
                for unit in [u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes] {
                    let bytes = wide(&format!("{mark}a cat, 猫\nSteps: 2"), unit);
                    let found = text(code, &bytes);
                    assert_eq!(
                        found.as_deref(),
                        Some("a cat, 猫\nSteps: 2"),
                        "{code:?} {mark:?}"
                    );
                }
            }
        }
        // A mark decides where no zero byte tells.
        let marked = wide("\u{feff}狐猫", u16::to_le_bytes);
        assert_eq!(text(UNICODE, &marked).as_deref(), Some("狐猫"));
        assert_eq!(text(UNICODE, b"{\"a\": 1}").as_deref(), Some("{\"a\": 1}"));
        assert_eq!(text(ASCII, b"a cat\0").as_deref(), Some("a cat"));
        assert_eq!(text(ASCII, "猫".as_bytes()).as_deref(), Some("猫"));
        assert_eq!(text(ASCII, b"caf\xe9").as_deref(), Some("café"));
        assert_eq!(text(UNDEFINED, b"a cat").as_deref(), Some("a cat"));
        assert_eq!(text(JIS, b"a cat").as_deref(), Some("a cat"));
        assert!(comment(&[JIS.as_slice(), b"\x1b$BG-"].concat()).is_err());
        let bare = b"{\"mflux_version\": \"1\"}";
        assert_eq!(comment(bare).unwrap().unwrap().as_bytes(), bare);
        assert_eq!(text(ASCII, b""), None);
        assert_eq!(comment(b"short"), Ok(None));
    }

    #[test]
    fn comfyuis_texts_are_where_it_writes_them() {
        let ascii = |tag, text: &str| exif::Field {
            tag,
            ifd_num: exif::In::PRIMARY,
            value: exif::Value::Ascii(vec![text.into()]),
        };
        let fields = [
            ascii(exif::Tag::Make, "workflow:{\"nodes\": []}"),
            ascii(exif::Tag::Model, "Prompt:{\"3\": {}}"),
            ascii(exif::Tag::Software, "ComfyUI: 0.3"),
        ];
        let mut writer = exif::experimental::Writer::new();
        for field in &fields {
            writer.push_field(field);
        }
        let mut block = std::io::Cursor::new(Vec::new());
        writer.write(&mut block, false).unwrap();
        let texts = read(block.into_inner()).unwrap();
        assert_eq!(texts.get("prompt"), Some("{\"3\": {}}"));
        assert_eq!(texts.get("workflow"), Some("{\"nodes\": []}"));
        assert_eq!(texts.get("software"), Some("ComfyUI: 0.3"));
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
