//! Files of the published size, with the published headers and holes for weights: they are
//! accepted, sized and loaded into the real modules, and the host's memory stays as it is.

use std::ops::ControlFlow;
use std::path::Path;

use backends::ModelBackend;
use loader::published::{Filling, Overwrite, write};
use loader::{LoadReport, Published, Weights, load};
use model::{
    Builder, TextEncoder, TextEncoderConfig, Transformer, TransformerConfig, VaeConfig, VaeDecoder,
};
use tests::shapes;

use crate::Flex;

/// The anonymous memory that a load may take beside what stays: a little for each tensor.
const MARGIN: u64 = 256 << 20;

/// Opens a sparse file of the published size.
fn open(file: Published, folder: &Path) -> Weights {
    let path = folder.join(file.file_name());
    let watch = &mut |_, _| ControlFlow::Continue(());
    write(
        &path,
        &file.layout(),
        Filling::Holes,
        Overwrite::Refuse,
        watch,
    )
    .expect("a sparse file");
    Weights::open(&path, file.component()).unwrap_or_else(|error| panic!("{error}"))
}

/// Fails if loading held more than the parameters that are kept in another form than the
/// file's.
fn stays_flat(report: &LoadReport, kept: u64) {
    if let Some(peak) = report.peak_anonymous_bytes {
        assert!(peak < kept + MARGIN, "{peak} bytes of anonymous memory");
    }
}

#[test]
fn the_transformer() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = open(Published::Transformer, folder.path());
    let config = TransformerConfig::resolve(weights.config(), &shapes(&weights)).expect("sizes");
    assert_eq!(
        config,
        TransformerConfig {
            patch_size: 2,
            in_channels: 64,
            out_channels: 16,
            num_layers: 60,
            attention_head_dim: 128,
            num_attention_heads: 24,
            joint_attention_dim: 3584,
            axes_dims_rope: [16, 56, 56],
        }
    );
    let device = Default::default();
    let formats = |name: &str| weights.format(name);
    let module = Builder::build(&device, &formats, |root| {
        Transformer::<Flex>::uninitialized(&config, root)
    });
    let (_, report) = load(module, &weights, &device, &mut ()).expect("a transformer");
    assert_eq!((report.tensors, report.unused), (1933, 0));
    assert_eq!(report.bytes, 20_430_401_088);
    stays_flat(&report, 0);
}

#[test]
fn the_text_encoder() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = open(Published::TextEncoder, folder.path());
    let config = TextEncoderConfig::resolve(weights.config(), &shapes(&weights)).expect("sizes");
    let sizes = [
        config.vocab_size,
        config.hidden_size,
        config.intermediate_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.num_key_value_heads,
        config.head_dim,
    ];
    assert_eq!(sizes, [152_064, 3584, 18_944, 28, 28, 4, 128]);
    let device = Default::default();
    let formats = |name: &str| weights.format(name);
    let module = Builder::build(&device, &formats, |root| {
        TextEncoder::<Flex>::uninitialized(&config, root)
    });
    let (_, report) = load(module, &weights, &device, &mut ()).expect("a text encoder");
    // Without the vision tower, the output head, the marker and the activations' scales.
    assert_eq!((report.tensors, report.unused), (534, 912));
    stays_flat(&report, 0);
}

#[test]
fn the_vae_in_both_layouts() {
    let folder = tempfile::tempdir().expect("a folder");
    for file in [Published::Vae, Published::DiffusersVae] {
        let weights = open(file, folder.path());
        let config = VaeConfig::resolve(weights.config(), &shapes(&weights)).expect("sizes");
        assert_eq!((config.base_dim, config.z_dim), (96, 16), "{file:?}");
        assert_eq!(config.dim_mult, [1, 2, 4, 4], "{file:?}");
        assert_eq!(config.num_res_blocks, 2, "{file:?}");
        let device = Default::default();
        let formats = |name: &str| weights.format(name);
        let module = Builder::build(&device, &formats, |root| {
            VaeDecoder::<Flex>::uninitialized(&config, root)
        });
        let (vae, report) = load(module, &weights, &device, &mut ()).expect("a VAE");
        assert_eq!(report.tensors + report.unused, 194, "{file:?}");
        stays_flat(&report, parameters(&vae) * 4);
    }
}

fn parameters<B: ModelBackend>(vae: &VaeDecoder<B>) -> u64 {
    burn::module::Module::num_params(vae) as u64
}
