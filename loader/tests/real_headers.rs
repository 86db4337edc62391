//! The key lists of the real checkpoints: every key has a role, with the real shapes, and none is
//! left over. No weights are needed: the files written here are full-size, and all holes.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;

use backends::fp8::{Fp8Format, WeightFormat};
use loader::dialect::Dialect;
use loader::header::Dtype;
use loader::keymap::Unused;
use loader::{Component, Weights};
use serde_json::{Map, json};

type Key = (String, String, Vec<usize>);

/// The keys of a fixture with their dtypes and shapes. Its grammar is in
/// `tests/reference/README.md`.
fn keys(name: &str) -> Vec<Key> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/real_headers");
    let text = std::fs::read_to_string(fixtures.join(name)).unwrap();
    let mut keys = Vec::new();
    for line in text.lines() {
        let [dtype, shape, pattern] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let shape: Vec<usize> = match shape {
            "scalar" => Vec::new(),
            sizes => sizes.split('x').map(|size| size.parse().unwrap()).collect(),
        };
        let expanded = expand(pattern).into_iter();
        keys.extend(expanded.map(|key| (key, dtype.to_owned(), shape.clone())));
    }
    keys
}

/// All texts that a pattern stands for: `{a,b}` is either word, `{0..59}` any number from 0 to 59.
fn expand(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else {
        return vec![pattern.to_owned()];
    };
    let (choice, after) = rest.split_once('}').unwrap();
    let words: Vec<String> = match choice.split_once("..") {
        Some((first, last)) => {
            let (first, last): (u32, u32) = (first.parse().unwrap(), last.parse().unwrap());
            (first..=last).map(|number| number.to_string()).collect()
        }
        None => choice.split(',').map(str::to_owned).collect(),
    };
    let tails = expand(after);
    let one = |word: &String| {
        let head = format!("{before}{word}");
        tails
            .iter()
            .map(move |tail| format!("{head}{tail}"))
            .collect::<Vec<_>>()
    };
    words.iter().flat_map(one).collect()
}

/// Opens a full-size file of these keys, whose data is a hole.
fn open(keys: &[Key], component: Component) -> Weights {
    let mut header = Map::new();
    let mut end = 0;
    for (key, dtype, shape) in keys {
        let width = match dtype.as_str() {
            "F8_E4M3" => 1,
            "BF16" => 2,
            "F32" => 4,
            other => panic!("{other}"),
        };
        let begin = end;
        end += width * shape.iter().product::<usize>() as u64;
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]});
        assert!(header.insert(key.clone(), entry).is_none(), "{key} twice");
    }
    let header = serde_json::to_vec(&header).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let mut file = File::create(&path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes())
        .unwrap();
    file.write_all(&header).unwrap();
    file.set_len(8 + header.len() as u64 + end).unwrap();
    Weights::open(&path, component).unwrap()
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
    let keys = keys("qwen_image_fp8_e4m3fn.txt");
    assert_eq!(keys.len(), 1933);
    let weights = open(&keys, Component::Transformer);
    assert_eq!(weights.dialect(), Dialect::PlainFp8);
    // The file has the canonical names.
    let expected = keys
        .iter()
        .map(|(key, _, shape)| (key.clone(), shape.clone()));
    assert_eq!(shapes(&weights), expected.collect());
    for (key, _, shape) in &keys {
        let format = match shape.len() {
            2 => WeightFormat::Fp8(Fp8Format::E4M3),
            _ => WeightFormat::Dense,
        };
        assert_eq!(weights.format(key), format, "{key}");
    }
    let summary = weights.summary();
    assert_eq!((summary.tensors, summary.used), (1933, 1933));
    assert_eq!(summary.bytes, 20_430_401_088);
    assert!(summary.unused.is_empty());

    // FP8 matrices stay as they are, with a scale each; vectors become f32.
    let matrices = keys.iter().filter(|(_, _, shape)| shape.len() == 2);
    let elements = |shape: &Vec<usize>| shape.iter().product::<usize>() as u64;
    let fp8 = matrices.map(|(_, _, shape)| elements(shape) + 4).sum();
    let vectors = keys.iter().filter(|(_, _, shape)| shape.len() == 1);
    let converted = vectors.map(|(_, _, shape)| 4 * elements(shape)).sum();
    let footprint = summary.footprint;
    assert_eq!(
        (footprint.fp8, footprint.dense, footprint.converted),
        (fp8, 0, converted)
    );
}

#[test]
fn the_transformer_behind_a_prefix() {
    let keys = keys("qwen_image_fp8_e4m3fn.txt");
    let prefixed: Vec<Key> = keys
        .iter()
        .map(|(key, dtype, shape)| {
            (
                format!("model.diffusion_model.{key}"),
                dtype.clone(),
                shape.clone(),
            )
        })
        .collect();
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
    let keys = keys("qwen_2.5_vl_7b_fp8_scaled.txt");
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
        WeightFormat::Fp8(Fp8Format::E4M3)
    );

    let summary = weights.summary();
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
    let keys = keys("qwen_2.5_vl_7b_fp8_scaled.txt");
    let renamed: Vec<Key> = keys
        .into_iter()
        .map(|(key, dtype, shape)| {
            let key = match key.strip_prefix("model.") {
                Some(rest) => format!("model.language_model.{rest}"),
                None if key.starts_with("visual.") => format!("model.{key}"),
                None => key,
            };
            (key, dtype, shape)
        })
        .collect();
    let weights = open(&renamed, Component::TextEncoder);
    assert_eq!(shapes(&weights), text_encoder_shapes());
    assert_eq!(weights.summary().used, 338 + 196);
}

#[test]
fn the_vae_in_both_names() {
    let wan = keys("qwen_image_vae.txt");
    let diffusers = keys("diffusers_vae.txt");
    assert_eq!((wan.len(), diffusers.len()), (194, 194));
    let [from_wan, from_diffusers] = [&wan, &diffusers].map(|keys| open(keys, Component::Vae));

    // Names and shapes agree, and are those of the diffusers file.
    assert_eq!(shapes(&from_wan), shapes(&from_diffusers));
    let expected: BTreeMap<String, Vec<usize>> = diffusers
        .iter()
        .filter(|(key, _, _)| {
            let decoding = key.starts_with("decoder.") || key.starts_with("post_quant_conv.");
            decoding && !key.contains(".time_conv.")
        })
        .map(|(key, _, shape)| (key.clone(), shape.clone()))
        .collect();
    assert_eq!(shapes(&from_diffusers), expected);

    for weights in [from_wan, from_diffusers] {
        assert_eq!(weights.dialect(), Dialect::Dense);
        let summary = weights.summary();
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

#[test]
fn dtypes_of_the_fixtures_are_known() {
    // The widths above are those of the parser.
    let bits = [Dtype::F8_E4M3, Dtype::BF16, Dtype::F32].map(|dtype| dtype.bitsize());
    assert_eq!(bits, [8, 16, 32]);
}

#[test]
fn patterns_expand() {
    assert_eq!(
        expand("a.{0..2}.{x,y}"),
        ["a.0.x", "a.0.y", "a.1.x", "a.1.y", "a.2.x", "a.2.y"]
    );
}
