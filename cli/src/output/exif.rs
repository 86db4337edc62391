//! Generation parameters in EXIF, for formats without text chunks: the `parameters` text as UTF-16
//! in `UserComment`, where stable-diffusion-webui writes it, and the recipe in `MakerNote`, which
//! EXIF leaves to the program that makes the picture.

use std::io::Cursor;

use exif::experimental::Writer;
use exif::{Field, In, Reader, Tag, Value};

use super::metadata::Metadata;

/// What the tags' values begin with (EXIF 2.3, section 4.6.5, `UserComment`).
const UNICODE: &[u8; 8] = b"UNICODE\0";
const ASCII: &[u8; 8] = b"ASCII\0\0\0";
const UNDEFINED: &[u8; 8] = &[0; 8];
/// What our `MakerNote` begins with.
const MAKER: &[u8] = b"qwen-image-burn\0";
/// Some writers put this before the data that a container's own framing already marks as EXIF.
const HEADER: &[u8] = b"Exif\0\0";

/// The EXIF block of some metadata, from its byte order mark on.
///
/// # Errors
/// The writer's own words.
pub(super) fn write(metadata: &Metadata) -> Result<Vec<u8>, String> {
    let field = |tag, value| Field {
        tag,
        ifd_num: In::PRIMARY,
        value,
    };
    let mut comment = UNICODE.to_vec();
    comment.extend(
        metadata
            .parameters
            .encode_utf16()
            .flat_map(u16::to_be_bytes),
    );
    let note = [MAKER, metadata.recipe.as_bytes()].concat();
    let software = concat!("qwen-image-burn ", env!("CARGO_PKG_VERSION"));
    let fields = [
        field(Tag::Software, Value::Ascii(vec![software.into()])),
        field(Tag::UserComment, Value::Undefined(comment, 0)),
        field(Tag::MakerNote, Value::Undefined(note, 0)),
    ];
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
        .and_then(|note| note.strip_prefix(MAKER))
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
    use super::{ASCII, HEADER, UNICODE, comment, read, write};
    use crate::output::metadata::Metadata;

    #[test]
    fn what_is_written_is_read_back() {
        let metadata = Metadata {
            parameters: "一只猫 🦊\nSteps: 2".to_owned(),
            recipe: "{\"prompt\":\"一只猫\"}".to_owned(),
        };
        let block = write(&metadata).unwrap();
        let expected = (Some(metadata.parameters), Some(metadata.recipe));
        assert_eq!(read(block.clone()).unwrap(), expected);
        assert_eq!(read([HEADER, &block].concat()).unwrap(), expected);
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
        let block = write(&metadata).unwrap();
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
