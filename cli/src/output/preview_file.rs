//! The file beside an image that shows what it will be.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use engine::files::atomic;
use engine::image::RgbImage;

use crate::error::CliError;

/// The keyword of the text that tells a preview from every other PNG.
const KEYWORD: &str = "qwen-image-burn-preview";
/// The text.
const TEXT: &str = "removed when the image is there";

/// The path of an image's preview: `fox.png` has `fox.preview.png`.
pub(crate) fn path_of(image: &Path) -> PathBuf {
    image.with_extension("preview.png")
}

/// A preview as a PNG, compressed quickly, that says that it is one.
///
/// # Errors
/// The encoder's.
pub(crate) fn encode(image: &RgbImage) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.width, image.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::Fast);
    encoder.add_text_chunk(KEYWORD.to_owned(), TEXT.to_owned())?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&image.pixels)?;
    writer.finish()?;
    Ok(bytes)
}

/// Refuses a path at which there is anything but a preview, which a run that was killed may have
/// left behind.
///
/// # Errors
/// [`CliError::Usage`] naming the path.
pub(crate) fn check_free(path: &Path) -> Result<(), CliError> {
    if fs::symlink_metadata(path).is_err() || is_preview(path) {
        return Ok(());
    }
    Err(CliError::Usage(format!(
        "{} is there already and is no preview of this program's: move it away, or leave out \
         --preview",
        path.display()
    )))
}

fn is_preview(path: &Path) -> bool {
    // A link is a user's, and a pipe would be waited for.
    if !fs::symlink_metadata(path).is_ok_and(|found| found.is_file()) {
        return false;
    }
    let Ok(file) = File::open(path) else {
        return false;
    };
    let reader = png::Decoder::new(BufReader::new(file)).read_info();
    reader.is_ok_and(|reader| {
        let mut texts = reader.info().uncompressed_latin1_text.iter();
        texts.any(|text| text.keyword == KEYWORD)
    })
}

/// A preview that is there until this value is dropped.
#[derive(Debug)]
pub(crate) struct PreviewFile {
    path: PathBuf,
    written: bool,
}

impl PreviewFile {
    /// The one of an image, not written yet.
    pub(crate) fn of(image: &Path) -> Self {
        Self {
            path: path_of(image),
            written: false,
        }
    }

    /// Writes a preview, over the one before.
    ///
    /// # Errors
    /// [`engine::Error::Output`], and the one before stays; as of [`check_free`] for the first.
    pub(crate) fn write(&mut self, png: &[u8]) -> Result<(), CliError> {
        if !self.written {
            check_free(&self.path)?;
            atomic::make_folder(&self.path)?;
        }
        atomic::write(&self.path, png)?;
        self.written = true;
        Ok(())
    }
}

impl Drop for PreviewFile {
    fn drop(&mut self) {
        if self.written {
            // The image, or the reason why there is none, is what the user wants to hear of.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::{PreviewFile, check_free, encode, path_of};
    use engine::image::RgbImage;

    #[test]
    fn only_a_preview_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("fox.png");
        let path = path_of(&image);
        check_free(&path).unwrap();
        let png = encode(&RgbImage {
            width: 2,
            height: 1,
            pixels: vec![9; 6],
        })
        .unwrap();
        fs::write(&path, &png).unwrap();
        check_free(&path).unwrap();
        let mut preview = PreviewFile::of(&image);
        preview.write(&png).unwrap();
        drop(preview);
        assert!(!path.exists());
        for users in [&b"mine"[..], &png[..20]] {
            fs::write(&path, users).unwrap();
            assert!(check_free(&path).is_err());
            // One that came after the check is safe, too.
            let mut preview = PreviewFile::of(&image);
            assert!(preview.write(&png).is_err());
            drop(preview);
            assert_eq!(fs::read(&path).unwrap(), users);
        }
    }
}
