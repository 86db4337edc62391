//! The key lists of the real checkpoints: every key has a role, with the real shapes, and none is
//! left over. No weights are needed: the files written here are full-size, and all holes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use backends::{Fp8Format, PackedFormat, WeightFormat};
use loader::dialect::Dialect;
use loader::keymap::Unused;
use loader::published::{Filling, Layout, Overwrite, Published, TensorSpec, write};
use loader::{Adapters, Component, ElementType, Lora, Summary, Weights};

/// Opens a full-size file of these tensors, whose weights are holes.
fn open(tensors: &[TensorSpec], component: Component) -> Weights {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let layout = Layout::new(tensors.to_vec()).unwrap();
    let watch = &mut |_, _| ControlFlow::Continue(());
    write(&path, &layout, Filling::Holes, Overwrite::Refuse, watch).unwrap();
    Weights::open(&path, component).unwrap()
}

/// The tensors under other keys.
fn renamed(tensors: Vec<TensorSpec>, rename: impl Fn(String) -> String) -> Vec<TensorSpec> {
    let tensors = tensors.into_iter().map(|tensor| TensorSpec {
        key: rename(tensor.key),
        ..tensor
    });
    tensors.collect()
}

/// Canonical name and shape of each parameter.
fn shapes(weights: &Weights) -> BTreeMap<String, Vec<usize>> {
    let names = weights.names();
    names
        .map(|name| (name.to_owned(), weights.shape(name).unwrap().to_vec()))
        .collect()
}

#[test]
fn the_transformer() {
    let keys = Published::Transformer.tensors();
    assert_eq!(keys.len(), 1933);
    let weights = open(&keys, Component::Transformer);
    assert_eq!(weights.dialect(), Dialect::PlainFp8);
    // The file has the canonical names.
    let expected = keys
        .iter()
        .map(|tensor| (tensor.key.clone(), tensor.shape.clone()));
    assert_eq!(shapes(&weights), expected.collect());
    for TensorSpec { key, shape, .. } in &keys {
        let format = match shape.len() {
            2 => WeightFormat::Packed(PackedFormat::Fp8(Fp8Format::E4M3)),
            _ => WeightFormat::Dense,
        };
        assert_eq!(weights.format(key), format, "{key}");
    }
    let summary = Summary::of(&weights);
    assert_eq!((summary.tensors, summary.used), (1933, 1933));
    assert_eq!(summary.bytes, 20_430_401_088);
    assert!(summary.unused.is_empty());

    // FP8 matrices stay as they are, with a scale each; vectors become f32.
    let matrices = keys.iter().filter(|tensor| tensor.shape.len() == 2);
    let elements = |tensor: &TensorSpec| tensor.shape.iter().product::<usize>() as u64;
    let fp8 = matrices.map(|tensor| elements(tensor) + 4).sum();
    let vectors = keys.iter().filter(|tensor| tensor.shape.len() == 1);
    let converted = vectors.map(|tensor| 4 * elements(tensor)).sum();
    let footprint = summary.footprint;
    assert_eq!(
        (footprint.fp8, footprint.dense, footprint.converted),
        (fp8, 0, converted)
    );
}

#[test]
fn the_transformer_behind_a_prefix() {
    let keys = Published::Transformer.tensors();
    let prefixed = renamed(keys.clone(), |key| format!("model.diffusion_model.{key}"));
    let weights = open(&prefixed, Component::Transformer);
    assert_eq!(
        shapes(&weights),
        shapes(&open(&keys, Component::Transformer))
    );
}

/// Canonical names and shapes of the Qwen2.5-VL 7B language model.
fn text_encoder_shapes() -> BTreeMap<String, Vec<usize>> {
    let (hidden, key_value, inner) = (3584, 512, 18944);
    let mut shapes = BTreeMap::new();
    let mut add = |name: String, shape: &[usize]| shapes.insert(name, shape.to_vec());
    add("model.embed_tokens.weight".into(), &[152_064, hidden]);
    add("model.norm.weight".into(), &[hidden]);
    for layer in 0..28 {
        for (name, shape) in [
            ("input_layernorm.weight", [hidden].as_slice()),
            ("post_attention_layernorm.weight", &[hidden]),
            ("self_attn.q_proj.weight", &[hidden, hidden]),
            ("self_attn.q_proj.bias", &[hidden]),
            ("self_attn.k_proj.weight", &[key_value, hidden]),
            ("self_attn.k_proj.bias", &[key_value]),
            ("self_attn.v_proj.weight", &[key_value, hidden]),
            ("self_attn.v_proj.bias", &[key_value]),
            ("self_attn.o_proj.weight", &[hidden, hidden]),
            ("mlp.gate_proj.weight", &[inner, hidden]),
            ("mlp.up_proj.weight", &[inner, hidden]),
            ("mlp.down_proj.weight", &[hidden, inner]),
        ] {
            add(format!("model.layers.{layer}.{name}"), shape);
        }
    }
    shapes
}

#[test]
fn the_text_encoder() {
    let keys = Published::TextEncoder.tensors();
    assert_eq!(keys.len(), 1446);
    let weights = open(&keys, Component::TextEncoder);
    assert_eq!(weights.dialect(), Dialect::LegacyScaled);
    assert_eq!(shapes(&weights), text_encoder_shapes());
    assert_eq!(
        weights.format("model.embed_tokens.weight"),
        WeightFormat::Dense
    );
    assert_eq!(
        weights.format("model.layers.27.mlp.down_proj.weight"),
        WeightFormat::Packed(PackedFormat::Fp8(Fp8Format::E4M3))
    );

    let summary = Summary::of(&weights);
    assert_eq!((summary.tensors, summary.used), (1446, 338 + 196));
    let unused = [
        (Unused::VisionTower, 729 - 338 - 1),
        (Unused::LanguageHead, 1),
        (Unused::Marker, 1),
        (Unused::ActivationScale, 358),
        (Unused::UnusedLayerScale, 162),
    ];
    assert_eq!(summary.unused, unused.into());
    assert_eq!(summary.bytes, 9_384_518_448);
}

#[test]
fn the_text_encoder_in_transformers_newer_names() {
    let keys = Published::TextEncoder.tensors();
    let newer = renamed(keys, |key| match key.strip_prefix("model.") {
        Some(rest) => format!("model.language_model.{rest}"),
        None if key.starts_with("visual.") => format!("model.{key}"),
        None => key,
    });
    let weights = open(&newer, Component::TextEncoder);
    assert_eq!(shapes(&weights), text_encoder_shapes());
    assert_eq!(Summary::of(&weights).used, 338 + 196);
}

#[test]
fn the_vae_in_both_names() {
    let wan = Published::Vae.tensors();
    let diffusers = Published::DiffusersVae.tensors();
    assert_eq!((wan.len(), diffusers.len()), (194, 194));
    let [from_wan, from_diffusers] = [&wan, &diffusers].map(|keys| open(keys, Component::Vae));

    // Names and shapes agree, and are those of the diffusers file.
    assert_eq!(shapes(&from_wan), shapes(&from_diffusers));
    let expected: BTreeMap<String, Vec<usize>> = diffusers
        .iter()
        .filter(|TensorSpec { key, .. }| {
            let decoding = key.starts_with("decoder.") || key.starts_with("post_quant_conv.");
            decoding && !key.contains(".time_conv.")
        })
        .map(|tensor| (tensor.key.clone(), tensor.shape.clone()))
        .collect();
    assert_eq!(shapes(&from_diffusers), expected);

    let [encoder_of_wan, encoder_of_diffusers] =
        [&from_wan, &from_diffusers].map(|weights| weights.vae_encoder().unwrap());
    assert_eq!(shapes(&encoder_of_wan), shapes(&encoder_of_diffusers));
    assert_eq!(
        shapes(&encoder_of_diffusers),
        diffusers
            .iter()
            .filter(|TensorSpec { key, .. }| {
                let encoding = key.starts_with("encoder.") || key.starts_with("quant_conv.");
                encoding && !key.contains(".time_conv.")
            })
            .map(|tensor| (tensor.key.clone(), tensor.shape.clone()))
            .collect()
    );
    for weights in [encoder_of_wan, encoder_of_diffusers] {
        let summary = Summary::of(&weights);
        let reasons: BTreeSet<Unused> = summary.unused.keys().copied().collect();
        assert_eq!(
            reasons,
            [Unused::VaeDecoder, Unused::TimeConvolution].into()
        );
        assert_eq!(summary.unused[&Unused::TimeConvolution], 4);
        assert_eq!(summary.used + summary.unused.values().sum::<usize>(), 194);
    }

    for weights in [from_wan, from_diffusers] {
        assert_eq!(weights.dialect(), Dialect::Dense);
        let summary = Summary::of(&weights);
        assert_eq!(summary.bytes, 253_785_062);
        let reasons: BTreeSet<Unused> = summary.unused.keys().copied().collect();
        assert_eq!(
            reasons,
            [Unused::VaeEncoder, Unused::TimeConvolution].into()
        );
        assert_eq!(summary.unused[&Unused::TimeConvolution], 4);
        assert_eq!(summary.used, expected.len());
        assert_eq!(summary.unused.values().sum::<usize>(), 194 - expected.len());
    }
}

/// The tensors of the published 4-step Lightning LoRA in BF16: beside each block's attention and
/// feed-forward layers, at rank 64.
fn lightning(transformer: &[TensorSpec]) -> Vec<TensorSpec> {
    let changed = [".attn.to_", ".attn.add_", "_mlp.net."];
    let layers = transformer.iter().filter_map(|tensor| {
        let layer = tensor.key.strip_suffix(".weight")?;
        let shape: [usize; 2] = tensor.shape.clone().try_into().ok()?;
        let target = changed.iter().any(|part| layer.contains(part));
        target.then_some((layer, shape))
    });
    let tensors = layers.flat_map(|(layer, [output, input])| {
        let tensor = |name: &str, shape| TensorSpec {
            key: format!("{layer}.{name}"),
            dtype: ElementType::BF16,
            shape,
        };
        [
            tensor("lora_down.weight", vec![64, input]),
            tensor("lora_up.weight", vec![output, 64]),
            tensor("alpha", Vec::new()),
        ]
    });
    tensors.collect()
}

#[test]
fn the_lightning_lora() {
    let transformer = Published::Transformer.tensors();
    let tensors = lightning(&transformer);
    assert_eq!(tensors.len(), 3 * 720);
    let layout = Layout::new(tensors).unwrap();
    // The published file's size.
    assert_eq!(layout.file_len(), 849_608_296);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lightning.safetensors");
    let watch = &mut |_, _| ControlFlow::Continue(());
    write(&path, &layout, Filling::Holes, Overwrite::Refuse, watch).unwrap();
    let lora = Lora::open(&path).unwrap();
    assert_eq!((lora.targets(), lora.ranks()), (720, (64, 64)));
    let summary = lora.summary();
    assert_eq!(summary.layers.len(), 12);
    assert!(summary.layers.values().all(|&count| count == 60));
    let weights = open(&transformer, Component::Transformer);
    let adapters = Adapters::new(vec![(lora, 1.0)], &weights).unwrap();
    assert_eq!(adapters.layers().count(), 720);
    // 60 blocks of eight layers of 3072 to 3072 and four of 3072 to 12288 or back.
    assert_eq!(
        adapters.elements(),
        60 * 64 * (8 * (3072 + 3072) + 4 * (3072 + 12288))
    );
}
