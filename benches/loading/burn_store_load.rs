//! Loads a transformer of F32 or BF16 weights with burn-store into the modules of this project, on
//! the processor. Prints the time as JSON.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use backends::WeightFormat;
use burn_flex::{Flex, FlexDevice};
use burn_store::{ModuleSnapshot, SafetensorsStore};
use loader::{Component, Summary, Weights};
use model::transformer::Transformer;
use model::{Builder, TransformerConfig};

/// Names of the file, and what the modules call them.
const NAMES: [(&str, &str); 4] = [
    (r"_mod\.1\.", "_mod."),
    (r"\.to_out\.0\.", ".to_out."),
    (r"\.net\.0\.proj\.", ".net_0_proj."),
    (r"\.net\.2\.", ".net_2."),
];

fn main() -> Result<(), Box<dyn Error>> {
    let path: PathBuf = std::env::args_os().nth(1).ok_or("usage: FILE")?.into();
    let weights = Weights::open(&path, Component::Transformer)?;
    let shape = |name: &str| weights.shape(name).map(<[usize]>::to_vec);
    let config = TransformerConfig::resolve(weights.config(), &shape)?;
    let builder = Builder::new(&FlexDevice, &|_| WeightFormat::Dense);
    let mut transformer = Transformer::<Flex>::uninitialized(&config, &builder);

    let start = Instant::now();
    let mut store = SafetensorsStore::from_file(&path).skip_enum_variants(true);
    for (pattern, name) in NAMES {
        store = store.with_key_remapping(pattern, name);
    }
    // Fails where a tensor is missing or of another shape.
    transformer.load_from(&mut store)?;
    let seconds = start.elapsed().as_secs_f64();
    let bytes = Summary::of(&weights).bytes;
    println!("{{\"seconds\": {seconds}, \"bytes\": {bytes}}}");
    Ok(())
}
