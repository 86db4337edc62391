//! The engine as a library: a prompt becomes an image on whatever device there is.
//!
//! ```sh
//! cargo run --release -p cli --example generate -- MODELS "a red fox" fox.png
//! ```

use std::error::Error;
use std::path::Path;

use engine::image::Format;
use engine::record::Metadata;
use engine::{CancelToken, Collected, ComputeConfig, Keep, ModelSources, Request, Session};

/// Draws an image with the models of a folder, and writes it as a PNG.
///
/// # Errors
/// Whatever stands in the way.
pub(crate) fn draw(models: &Path, request: Request, output: &Path) -> Result<(), Box<dyn Error>> {
    let sources = ModelSources::folder(models);
    let mut session = Session::open(&sources, ComputeConfig::default())?;
    let mut images = Collected::default();
    let cancel = CancelToken::new();
    session.generate(vec![request], Keep::OneAtATime, &mut images, &cancel)?;
    for drawn in images.0 {
        let metadata = Metadata::of(&drawn.recipe)?;
        let file = drawn.image.encode(Format::Png, 95, &metadata)?;
        std::fs::write(output, file)?;
    }
    Ok(())
}

#[allow(dead_code)] // A test calls `draw` alone.
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [models, prompt, output] = arguments.as_slice() else {
        return Err("usage: generate MODELS PROMPT FILE.png".into());
    };
    let request = Request::new(prompt, 1);
    draw(Path::new(models), request, Path::new(output))
}
