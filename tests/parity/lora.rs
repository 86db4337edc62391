//! LoRAs beside the weights, in all the layouts in which they come.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use model::Transformer;
use model::latents::{TokenGrid, pack};
use model::transformer::RopeCentring;
use safetensors::Dtype;
use safetensors::tensor::{SafeTensors, TensorView, serialize_to_file};
use tests::{Case, Models, TOLERANCE, Trace, cases, fixture};

use crate::resident::predictions;
use crate::{Flex, compare, recorded};

/// A tensor of a LoRA file.
#[derive(Clone)]
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Key and tensor.
type File = BTreeMap<String, Stored>;

fn case(name: &str) -> (Case, Trace) {
    let mut cases = cases().into_iter();
    let case = cases.find(|case| case.name == name).expect(name);
    let trace = Trace::open(&case.trace);
    (case, trace)
}

/// The first conditional prediction of a case.
fn prediction(case: &Case, trace: &Trace, transformer: &Transformer<Flex>) -> Tensor<Flex, 3> {
    let device = Default::default();
    let noise: Tensor<Flex, 4> = recorded::<Flex, 5>(trace, "noise", &device).squeeze_dim(1);
    let embeds = recorded::<Flex, 3>(trace, "prompt_embeds", &device);
    let grid = TokenGrid::of_image(case.width, case.height);
    let prompts = transformer.prompts(vec![embeds], grid, RopeCentring::default());
    let timestep = trace.f32("sigmas").1[0];
    predictions(transformer, pack(noise), &prompts, timestep)
}

fn values(tensor: &Tensor<Flex, 3>) -> Vec<f32> {
    tensor.clone().into_data().iter().collect()
}

fn read(path: &Path) -> File {
    let bytes = std::fs::read(path).expect("a LoRA");
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let tensors = file.tensors().into_iter().map(|(key, view)| {
        let stored = Stored {
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            bytes: view.data().to_vec(),
        };
        (key, stored)
    });
    tensors.collect()
}

fn write(file: &File, path: &Path) {
    let views = file.iter().map(|(key, stored)| {
        let view = TensorView::new(stored.dtype, stored.shape.clone(), &stored.bytes);
        (key, view.expect("as many bytes as the shape says"))
    });
    serialize_to_file(views, None, path).expect("a file");
}

/// The file with its keys renamed: `name` of the layer, then the ends for down, up and alpha.
fn renamed(file: &File, name: impl Fn(&str) -> String, ends: [&str; 3]) -> File {
    let renamed = file.iter().map(|(key, stored)| {
        let found = ["lora_down.weight", "lora_up.weight", "alpha"]
            .iter()
            .zip(ends)
            .find_map(|(end, new)| Some((key.strip_suffix(end)?.strip_suffix('.')?, new)));
        let (layer, end) = found.unwrap_or_else(|| panic!("{key}"));
        (format!("{}.{end}", name(layer)), stored.clone())
    });
    renamed.collect()
}

/// The file with each tensor's values in another dtype, as far as `change` names one for its
/// key.
fn converted(file: &File, change: impl Fn(&str) -> Option<Dtype>) -> File {
    let converted = file.iter().map(|(key, stored)| {
        let Some(dtype) = change(key) else {
            return (key.clone(), stored.clone());
        };
        assert_eq!(stored.dtype, Dtype::BF16);
        let (halves, _) = stored.bytes.as_chunks::<2>();
        // The upper half of an f32 is a bf16.
        let floats = halves
            .iter()
            .map(|&[low, high]| f32::from_le_bytes([0, 0, low, high]));
        let bytes = floats.flat_map(|value| match dtype {
            Dtype::F32 => value.to_le_bytes().to_vec(),
            Dtype::F64 => f64::from(value).to_le_bytes().to_vec(),
            Dtype::I64 => (value as i64).to_le_bytes().to_vec(),
            other => panic!("{other} is not converted to"),
        });
        let stored = Stored {
            dtype,
            shape: stored.shape.clone(),
            bytes: bytes.collect(),
        };
        (key.clone(), stored)
    });
    converted.collect()
}

/// The file with its matrices as convolutions over one pixel.
fn as_convolutions(file: &File) -> File {
    let mut file = file.clone();
    for stored in file.values_mut().filter(|stored| stored.shape.len() == 2) {
        stored.shape.extend([1, 1]);
    }
    file
}

#[test]
fn every_layout_gives_the_same_numbers() {
    let (case, trace) = case("lora");
    let models = Models::<Flex>::new(&case, Default::default());
    let [(path, weight)] = case.loras().try_into().expect("one LoRA");
    let file = read(&path);
    let expected = prediction(&case, &trace, &models.transformer());
    compare("lora", &trace, "step0.cond", expected.clone(), TOLERANCE);

    let kohya = ["lora_down.weight", "lora_up.weight", "alpha"];
    let peft = ["lora_A.weight", "lora_B.weight", "alpha"];
    let named = ["lora_A.default.weight", "lora_B.default.weight", "alpha"];
    let other_name = [
        "lora_A.default_0.weight",
        "lora_B.default_0.weight",
        "alpha",
    ];
    let bare = ["lora_A", "lora_B", "alpha"];
    let old = ["lora.down.weight", "lora.up.weight", "alpha"];
    let older = [
        "lora_linear_layer.down.weight",
        "lora_linear_layer.up.weight",
        "alpha",
    ];
    let dotted = |prefix: &'static str| move |layer: &str| format!("{prefix}{layer}");
    let joined =
        |prefix: &'static str| move |layer: &str| format!("{prefix}{}", layer.replace('.', "_"));
    let alpha_in = |dtype| move |key: &str| key.ends_with("alpha").then_some(dtype);
    let layouts = [
        ("kohya's ends", file.clone()),
        ("PEFT's ends", renamed(&file, dotted(""), peft)),
        ("diffusers", renamed(&file, dotted("transformer."), peft)),
        ("old diffusers", renamed(&file, dotted("transformer."), old)),
        ("DiffSynth", renamed(&file, dotted(""), named)),
        ("ComfyUI", renamed(&file, dotted("diffusion_model."), peft)),
        (
            "ComfyUI's checkpoint",
            renamed(&file, dotted("model.diffusion_model."), kohya),
        ),
        ("kohya", renamed(&file, joined("lora_unet_"), kohya)),
        ("LyCORIS", renamed(&file, joined("lycoris_"), kohya)),
        ("PEFT", renamed(&file, dotted("base_model.model."), named)),
        (
            "another adapter",
            renamed(&file, dotted("pipe.dit."), other_name),
        ),
        ("bare matrices", renamed(&file, dotted(""), bare)),
        ("older diffusers", renamed(&file, dotted("unet."), older)),
        (
            "a doubled prefix",
            renamed(&file, dotted("diffusion_model.diffusion_model."), peft),
        ),
        ("convolutions", as_convolutions(&file)),
        ("alpha as I64", converted(&file, alpha_in(Dtype::I64))),
        ("alpha as F64", converted(&file, alpha_in(Dtype::F64))),
        ("all in F32", converted(&file, |_| Some(Dtype::F32))),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    for (name, layout) in layouts {
        let path = folder.path().join("lora.safetensors");
        write(&layout, &path);
        let found = prediction(&case, &trace, &models.transformer_with(&[(path, weight)]));
        assert!(values(&found) == values(&expected), "{name}");
    }
}

#[test]
fn without_alpha_the_scale_is_one() {
    // Twice the weight makes up for an alpha of half the rank.
    let (case, trace) = case("lora");
    let models = Models::<Flex>::new(&case, Default::default());
    let [(path, weight)] = case.loras().try_into().expect("one LoRA");
    let mut file = read(&path);
    file.retain(|key, _| !key.ends_with(".alpha"));
    let folder = tempfile::tempdir().expect("a folder");
    let bare = folder.path().join("bare.safetensors");
    write(&file, &bare);
    let of = |loras: &[(PathBuf, f64)]| {
        values(&prediction(&case, &trace, &models.transformer_with(loras)))
    };
    let expected = of(&[(path, weight)]);
    assert!(of(&[(bare.clone(), weight / 2.0)]) == expected);
    assert!(of(&[(bare, weight)]) != expected);
}

#[test]
fn alphas_by_layer_scale_as_in_diffusers() {
    let (case, trace) = case("lora_patterns");
    let models = Models::<Flex>::new(&case, Default::default());
    let [(path, weight)] = case.loras().try_into().expect("one LoRA");
    let of = |path: &Path| {
        let loras = [(path.to_owned(), weight)];
        prediction(&case, &trace, &models.transformer_with(&loras))
    };
    let followed = of(&path);
    compare(
        "patterns",
        &trace,
        "step0.cond",
        followed.clone(),
        TOLERANCE,
    );
    // The same matrices without the settings in the header.
    let folder = tempfile::tempdir().expect("a folder");
    let bare = folder.path().join("bare.safetensors");
    write(&read(&path), &bare);
    assert!(values(&of(&bare)) != values(&followed));
}

#[test]
fn a_lora_and_its_negative_are_none() {
    let (case, trace) = case("lora");
    let models = Models::<Flex>::new(&case, Default::default());
    let path = fixture("loras/small_everywhere.safetensors");
    let of = |loras: &[(PathBuf, f64)]| prediction(&case, &trace, &models.transformer_with(loras));
    let distance = |a: &Tensor<Flex, 3>, b: &Tensor<Flex, 3>| {
        let largest = b.clone().abs().max().into_scalar();
        (a.clone() - b.clone()).abs().max().into_scalar() / largest
    };
    let plain = of(&[]);
    assert!(distance(&of(&[(path.clone(), 1.0)]), &plain) > 0.1);
    let both = of(&[(path.clone(), 1.0), (path.clone(), -1.0)]);
    let distance = distance(&both, &plain);
    assert!(distance < TOLERANCE, "{distance:e}");
    // A weight of zero takes no memory, and so nothing is computed.
    let mut transformer = models.transformer_with(&[(path, 0.0)]);
    let layer = transformer.layer_mut("img_in").expect("a layer");
    assert!(layer.adapter.is_none());
    assert!(values(&prediction(&case, &trace, &transformer)) == values(&plain));
}
