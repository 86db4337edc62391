//! The metadata in an image's file that tell how it was made.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use image::{ImageDecoder, ImageFormat, ImageReader, Limits};
use serde_json::Value;

use super::exif;
use super::parameters;
use super::png_texts;
use super::recipe::Recipe;
use super::texts::{Texts, XMP};
use crate::error::Error;
use crate::image::Format;

/// The keyword under which image tools look for generation parameters among a PNG's texts.
pub const PARAMETERS: &str = "parameters";
/// The keyword of the recipe among them.
pub(super) const RECIPE: &str = "qwen-image-burn";
/// The largest JPEG or WebP file that is read: these are held in memory.
const MAX_FILE_BYTES: u64 = 512 << 20;
/// The most metadata that a JPEG file holds: a segment, less its length and its name.
const MAX_JPEG_BYTES: usize = 65_535 - 2 - 6;

/// The texts that are written into an image's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// stable-diffusion-webui's `parameters` text.
    pub parameters: String,
    /// The recipe as JSON.
    pub recipe: String,
}

impl Metadata {
    /// The texts of a recipe.
    ///
    /// # Errors
    /// [`Error::Internal`] for a number that JSON does not have.
    pub fn of(recipe: &Recipe) -> Result<Self, Error> {
        Ok(Self {
            parameters: parameters::text(recipe),
            recipe: recipe.to_json()?,
        })
    }

    /// Refuses what a format cannot hold, before anything is computed.
    ///
    /// # Errors
    /// [`Error::Request`] naming the image's file.
    pub fn check_fits(&self, path: &Path) -> Result<(), Error> {
        if Format::of(path) != Some(Format::Jpeg) {
            return Ok(());
        }
        let block = exif::write(self, Some([0; 2])).map_err(Error::Internal)?;
        if block.len() <= MAX_JPEG_BYTES {
            return Ok(());
        }
        Err(Error::Request(format!(
            "{}: a JPEG file holds {MAX_JPEG_BYTES} bytes of metadata, and the prompts take {}: \
             write .png or .webp",
            path.display(),
            block.len()
        )))
    }
}

/// An image's file, of which only the metadata was read.
#[derive(Debug)]
pub struct ImageFile {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// The width in pixels.
    pub width: u32,
    /// The height in pixels.
    pub height: u32,
    /// The texts that may tell how it was made.
    pub texts: Texts,
}

impl ImageFile {
    /// Reads a file's metadata.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file: it is missing, damaged, or no image.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let open = || {
            let (mut file, format) = sniff(path)?;
            let format = format.ok_or("is no PNG, JPEG or WebP file")?;
            file.seek(SeekFrom::Start(0)).map_err(words)?;
            let damaged = |reason| format!("is damaged or no {}: {reason}", format.as_str());
            let image = match format {
                Format::Png => png_texts::read(file),
                Format::Jpeg => read_exif(file, ImageFormat::Jpeg),
                Format::WebP => read_exif(file, ImageFormat::WebP),
            };
            let (size, texts) = image.map_err(damaged)?;
            Ok::<_, String>(Self {
                path: path.to_owned(),
                format,
                width: size.0,
                height: size.1,
                texts,
            })
        };
        open().map_err(|reason| input(path, &reason))
    }

    /// Tells whether the file ends as its format does, so that it was not cut.
    pub fn is_whole(&self) -> bool {
        let end: &[u8] = match self.format {
            Format::Png => b"\0\0\0\0IEND\xae\x42\x60\x82",
            Format::Jpeg => b"\xff\xd9",
            // One that was cut cannot be opened: its head says how long it is.
            Format::WebP => b"",
        };
        let last = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::End(-(end.len() as i64)))?;
            let mut last = Vec::with_capacity(end.len());
            file.read_to_end(&mut last)?;
            Ok::<_, std::io::Error>(last)
        };
        last().is_ok_and(|last| last == end)
    }

    /// Tells whether a file begins as an image does; `false` also for what cannot be read.
    pub fn is_one(path: &Path) -> bool {
        sniff(path).is_ok_and(|(_, format)| format.is_some())
    }

    /// The recipe as it stands in the file, whichever version wrote it.
    ///
    /// # Errors
    /// [`Error::Input`] for what is no JSON.
    pub fn recipe_json(&self) -> Result<Option<Value>, Error> {
        let parse = |json: &str| {
            serde_json::from_str(json)
                .map_err(|error| input(&self.path, &format!("its recipe is damaged: {error}")))
        };
        self.texts.get(RECIPE).map(parse).transpose()
    }

    /// The recipe, where this program made the image.
    ///
    /// # Errors
    /// [`Error::Input`] for one that is damaged or of a newer version.
    pub fn recipe(&self) -> Result<Option<Recipe>, Error> {
        let parse = |json: &str| {
            Recipe::from_json(json).map_err(|error| {
                let reason = format!(
                    "its recipe is damaged, or a newer version of this program wrote it: {error}"
                );
                input(&self.path, &reason)
            })
        };
        self.texts.get(RECIPE).map(parse).transpose()
    }
}

/// An error about a file that was given.
pub(super) fn input(path: &Path, reason: &str) -> Error {
    Error::Input(format!("{}: {reason}", path.display()))
}

/// Opens an ordinary file and looks at its first bytes.
fn sniff(path: &Path) -> Result<(File, Option<Format>), String> {
    // A pipe would be waited for.
    if !std::fs::metadata(path).map_err(words)?.is_file() {
        return Err("is not an ordinary file".to_owned());
    }
    let mut file = File::open(path).map_err(words)?;
    let mut start = Vec::new();
    Read::by_ref(&mut file)
        .take(12)
        .read_to_end(&mut start)
        .map_err(words)?;
    Ok((file, Format::of_bytes(&start)))
}

fn words(error: std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        _ => error.to_string(),
    }
}

fn read_exif(file: File, format: ImageFormat) -> Result<((u32, u32), Texts), String> {
    let length = file.metadata().map_err(words)?.len();
    if length > MAX_FILE_BYTES {
        return Err(format!("it has more than {MAX_FILE_BYTES} bytes"));
    }
    let mut reader = ImageReader::with_format(BufReader::new(file), format);
    reader.limits(Limits::default());
    let mut decoder = reader.into_decoder().map_err(|error| error.to_string())?;
    let block = decoder.exif_metadata().map_err(|error| error.to_string())?;
    let mut texts = block.map(exif::read).transpose()?.unwrap_or_default();
    // A fault in what another program alone may look at is no fault of the file.
    if let Ok(Some(xmp)) = decoder.xmp_metadata() {
        texts.add(XMP, String::from_utf8_lossy(&xmp).into_owned());
    }
    Ok((decoder.dimensions(), texts))
}
