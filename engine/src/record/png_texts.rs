//! The texts of a PNG file: its chunks tEXt, zTXt and iTXt, and EXIF.

use std::fs::File;
use std::io::BufReader;

use super::exif;
use super::texts::Texts;

/// The longest text that is read.
const MAX_TEXT_BYTES: usize = 4 << 20;

/// The size in pixels and the texts of a file.
///
/// # Errors
/// The fault in the file, in words.
pub(super) fn read(file: File) -> Result<((u32, u32), Texts), String> {
    let limits = png::Limits {
        bytes: 2 * MAX_TEXT_BYTES,
    };
    let decoder = png::Decoder::new_with_limits(BufReader::new(file), limits);
    let words = |error: png::DecodingError| error.to_string();
    let mut reader = decoder.read_info().map_err(words)?;
    let mut texts = of_info(reader.info()).map_err(words)?;
    if !texts.may_hold_recipe() {
        // Texts may also come behind the pixels.
        reader.finish().map_err(words)?;
        texts = of_info(reader.info()).map_err(words)?;
    }
    let info = reader.info();
    if let Some(block) = &info.exif_metadata {
        // A fault in it is nobody's loss where the recipe is a text.
        match exif::read(block.to_vec()) {
            Ok(found) => texts.extend(found),
            Err(reason) if !texts.may_hold_recipe() => return Err(reason),
            Err(_) => {}
        }
    }
    Ok(((info.width, info.height), texts))
}

fn of_info(info: &png::Info<'_>) -> Result<Texts, png::DecodingError> {
    let mut texts = Texts::default();
    for chunk in &info.uncompressed_latin1_text {
        texts.add(&chunk.keyword, as_meant(chunk.text.clone()));
    }
    for chunk in &info.utf8_text {
        if Texts::known(&chunk.keyword).is_none() {
            texts.add_name(&chunk.keyword);
            continue;
        }
        let mut chunk = chunk.clone();
        chunk.decompress_text_with_limit(MAX_TEXT_BYTES)?;
        texts.add(&chunk.keyword, unmarked(chunk.get_text()?));
    }
    for chunk in &info.compressed_latin1_text {
        if Texts::known(&chunk.keyword).is_none() {
            texts.add_name(&chunk.keyword);
            continue;
        }
        let mut chunk = chunk.clone();
        chunk.decompress_text_with_limit(MAX_TEXT_BYTES)?;
        texts.add(&chunk.keyword, as_meant(chunk.get_text()?));
    }
    Ok(texts)
}

/// A text that was read as Latin-1, which is what the format promises. Many programs write UTF-8
/// all the same, and hardly any Latin-1 text is UTF-8 by chance.
fn as_meant(text: String) -> String {
    if text.is_ascii() {
        return text;
    }
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    match bytes.map(String::from_utf8) {
        Some(Ok(utf8)) => unmarked(utf8),
        _ => text,
    }
}

/// A text without a byte order mark.
fn unmarked(text: String) -> String {
    match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::{as_meant, read};
    use crate::record::texts::Texts;

    /// A PNG with these chunks behind its header.
    fn texts(chunks: &[(&[u8; 4], Vec<u8>)]) -> Texts {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
        encoder.set_color(png::ColorType::Grayscale);
        let mut writer = encoder.write_header().unwrap();
        for (kind, data) in chunks {
            writer
                .write_chunk(png::chunk::ChunkType(**kind), data)
                .unwrap();
        }
        writer.write_image_data(&[7]).unwrap();
        writer.finish().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        read(file).unwrap().1
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        // A stored block needs no compressor.
        let length = text.len() as u16;
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in text {
            a = (a + u32::from(*byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        let mut bytes = vec![0x78, 0x01, 0x01];
        bytes.extend(length.to_le_bytes());
        bytes.extend((!length).to_le_bytes());
        bytes.extend(text);
        bytes.extend((b << 16 | a).to_be_bytes());
        bytes
    }

    #[test]
    fn utf8_is_read_wherever_it_stands_and_latin1_where_it_is_none() {
        let text = "一只红色的狐狸，café";
        let plain = |keyword: &str, text: &[u8]| [keyword.as_bytes(), b"\0", text].concat();
        let packed = |text: &[u8]| [b"parameters\0\0".to_vec(), zlib(text)].concat();
        for (kind, data) in [
            (b"tEXt", plain("parameters", text.as_bytes())),
            (
                b"tEXt",
                plain("Parameters", format!("\u{feff}{text}").as_bytes()),
            ),
            (b"zTXt", packed(text.as_bytes())),
            (
                b"iTXt",
                plain("PARAMETERS", &[b"\0\0\0\0", text.as_bytes()].concat()),
            ),
            (
                b"iTXt",
                plain(
                    "parameters",
                    &[b"\x01\0en\0\0", zlib(text.as_bytes()).as_slice()].concat(),
                ),
            ),
        ] {
            let found = texts(&[(kind, data)]);
            assert_eq!(found.get("parameters"), Some(text), "{kind:?}");
        }
        let latin1 = b"un caf\xe9";
        for (kind, data) in [
            (b"tEXt", plain("parameters", latin1)),
            (b"zTXt", packed(latin1)),
        ] {
            let found = texts(&[(kind, data)]);
            assert_eq!(found.get("parameters"), Some("un café"), "{kind:?}");
        }
        assert_eq!(as_meant("Ã¼ber".to_owned()), "über");
        assert_eq!(as_meant("naïve".to_owned()), "naïve");
    }

    #[test]
    fn texts_that_are_not_looked_at_are_named() {
        let found = texts(&[
            (b"tEXt", b"Title\0a fox".to_vec()),
            (b"tEXt", b"seed\0".to_vec()),
        ]);
        assert_eq!(
            found.what_there_is().as_deref(),
            Some("the texts Title, seed")
        );
        assert_eq!(texts(&[]).what_there_is(), None);
    }
}
