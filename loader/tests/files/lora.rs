//! LoRA files: what is found in them, what is refused and with which words, and what lies beside
//! a layer in the end.

use std::path::Path;

use loader::lora::looks_like_a_lora;
use loader::{Adapters, Checkpoint, Component, ElementType, LoadError, Lora, Resemblance, Weights};

use crate::writer::{Writer, transformer};

pub(crate) const TO_Q: &str = "transformer_blocks.0.attn.to_q";
pub(crate) const PROJ_OUT: &str = "proj_out";

/// A transformer with two linear layers, of 3 to 2 and of 2 to 4 features.
pub(crate) fn model(folder: &Path) -> Weights {
    let path = transformer("")
        .zeros(&format!("{TO_Q}.weight"), ElementType::BF16, &[2, 3])
        .zeros(&format!("{PROJ_OUT}.weight"), ElementType::BF16, &[4, 2])
        .write(folder.join("transformer.safetensors"));
    Weights::open(&path, Component::Transformer).unwrap()
}

/// A product of rank 1 beside `to_q`.
pub(crate) fn lora() -> Writer {
    Writer::default()
        .f32(
            &format!("{TO_Q}.lora_down.weight"),
            &[1, 3],
            &[1.0, 2.0, 3.0],
        )
        .f32(&format!("{TO_Q}.lora_up.weight"), &[2, 1], &[1.0, -1.0])
}

fn open(writer: &Writer) -> Result<Lora, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    Lora::open(&writer.write(folder.path().join("style.safetensors")))
}

/// The error's one line without the file's name.
fn refusal(writer: &Writer) -> String {
    let text = open(writer).unwrap_err().to_string();
    assert!(!text.contains('\n'), "{text}");
    let (_, text) = text.split_once("style.safetensors: ").unwrap();
    text.to_owned()
}

#[test]
fn a_lora_says_what_it_is() {
    let lora = lora()
        .bf16(&format!("{PROJ_OUT}.lora_A.weight"), &[2, 2], &[1.0; 4])
        .bf16(&format!("{PROJ_OUT}.lora_B.weight"), &[4, 2], &[1.0; 8])
        .tensor("proj_out.alpha", ElementType::I64, &[], &8i64.to_le_bytes());
    let lora = open(&lora).unwrap();
    assert_eq!(lora.name(), "style");
    assert_eq!(lora.targets(), 2);
    assert_eq!(lora.ranks(), (1, 2));
    let summary = lora.summary();
    assert_eq!(summary.tensors, 5);
    assert_eq!(summary.layers[PROJ_OUT], 1);
    assert_eq!(summary.layers["transformer_blocks.*.attn.to_q"], 1);
    assert_eq!(summary.ranks, [(1, 1), (2, 1)].into());
    let alpha = summary.alpha.unwrap();
    assert_eq!((alpha.least, alpha.most, alpha.layers), (8.0, 8.0, 1));
    // Without alpha 1, with it 8 over a rank of 2.
    assert_eq!(summary.scale, [1.0, 4.0]);
}

#[test]
fn what_is_no_plain_lora_for_the_transformer_is_refused() {
    let half = Writer::default().zeros("img_in.lora_down.weight", ElementType::F32, &[1, 3]);
    assert_eq!(
        refusal(&half),
        "has 1 layer without one of the two matrices (img_in): the file is not complete"
    );
    let alone = lora().zeros("img_in.alpha", ElementType::F32, &[]);
    assert!(refusal(&alone).starts_with("has 1 layer without one"));
    let other = lora().zeros(
        "double_blocks.0.img_attn.qkv.lora_down.weight",
        ElementType::F32,
        &[1, 3],
    );
    assert_eq!(
        refusal(&other),
        "has 1 tensor of 3 for no linear layer of a Qwen-Image transformer: \
         double_blocks.0.img_attn.qkv.lora_down.weight"
    );
    let text =
        Writer::default().zeros("lora_te_layers_0.lora_up.weight", ElementType::F32, &[2, 1]);
    assert_eq!(
        refusal(&text),
        "has 1 tensor for the text encoder, to which LoRAs are not applied \
         (lora_te_layers_0.lora_up.weight), and none for the transformer"
    );
    let dora = lora().zeros(&format!("{TO_Q}.dora_scale"), ElementType::F32, &[2, 1]);
    assert_eq!(
        refusal(&dora),
        "has 1 tensor of DoRA, which is not supported \
         (transformer_blocks.0.attn.to_q.dora_scale): use a plain LoRA"
    );
    let (mut loha, mut lokr) = (Writer::default(), Writer::default());
    for i in 0..5 {
        let key = |name: &str| format!("lycoris_transformer_blocks_{i}_attn_to_q.{name}");
        loha = loha.zeros(&key("hada_w1_a"), ElementType::F32, &[2, 1]);
        lokr = lokr.zeros(&key("lokr_w1"), ElementType::F32, &[2, 1]);
    }
    let (loha, lokr) = (refusal(&loha), refusal(&lokr));
    assert!(loha.starts_with("has 5 tensors of LoHa"), "{loha}");
    assert!(loha.contains(" and 2 more)"), "{loha}");
    assert!(lokr.starts_with("has 5 tensors of LoKr"), "{lokr}");
    assert!(
        refusal(&transformer("")).starts_with("is not a LoRA: it has tensors such as txt_norm")
    );
    assert_eq!(
        refusal(&Writer::default()),
        "is not a LoRA: it holds no tensors"
    );
}

#[test]
fn matrices_and_alphas_must_make_sense() {
    let ranks = Writer::default()
        .zeros("img_in.lora_A.weight", ElementType::F32, &[2, 3])
        .zeros("img_in.lora_B.weight", ElementType::F32, &[2, 1]);
    assert_eq!(
        refusal(&ranks),
        "has 1 layer whose matrices cannot be multiplied: img_in: [2, 1] and [2, 3]"
    );
    let convolution = Writer::default()
        .zeros("img_in.lora_A.weight", ElementType::F32, &[2, 3, 3, 3])
        .zeros("img_in.lora_B.weight", ElementType::F32, &[2, 2]);
    assert!(refusal(&convolution).contains("cannot be multiplied"));
    let none = Writer::default()
        .zeros("img_in.lora_A.weight", ElementType::F32, &[0, 3])
        .zeros("img_in.lora_B.weight", ElementType::F32, &[2, 0]);
    assert!(refusal(&none).contains("cannot be multiplied"));
    let alpha = format!("{TO_Q}.alpha");
    let nan = lora().f32(&alpha, &[], &[f32::NAN]);
    assert_eq!(
        refusal(&nan),
        format!("tensor `{alpha}` is no number to scale by: it is NaN")
    );
    let several = lora().f32(&alpha, &[2], &[1.0, 2.0]);
    assert!(refusal(&several).ends_with("its shape is [2]"));
    let flag = lora().tensor(&alpha, ElementType::Bool, &[], &[1]);
    assert!(refusal(&flag).ends_with("it is stored as BOOL"));
    let twice = lora().zeros(
        &format!("transformer.{TO_Q}.lora_A.weight"),
        ElementType::F32,
        &[1, 3],
    );
    assert!(refusal(&twice).ends_with("are for the same parameter"));
    let integers = Writer::default()
        .zeros("img_in.lora_A.weight", ElementType::I32, &[1, 3])
        .zeros("img_in.lora_B.weight", ElementType::I32, &[2, 1]);
    assert!(refusal(&integers).contains("is stored as I32"));
    let settings = lora().metadata("lora_adapter_metadata", "{");
    assert!(refusal(&settings).starts_with("lora_adapter_metadata in its header"));
}

#[test]
fn several_adapters_in_one_file_are_refused() {
    let key = |matrix: &str, adapter: &str| format!("{TO_Q}.{matrix}.{adapter}.weight");
    let mut both = Writer::default();
    for (adapter, layer) in [("default_0", TO_Q), ("default_1", PROJ_OUT)] {
        both = both
            .zeros(
                &format!("{layer}.lora_A.{adapter}.weight"),
                ElementType::F32,
                &[1, 3],
            )
            .zeros(
                &format!("{layer}.lora_B.{adapter}.weight"),
                ElementType::F32,
                &[2, 1],
            );
    }
    assert_eq!(
        refusal(&both),
        "holds 2 adapters (default_0, default_1): use a file with one of them"
    );
    let one = Writer::default()
        .zeros(&key("lora_A", "style"), ElementType::F32, &[1, 3])
        .zeros(&key("lora_B", "style"), ElementType::F32, &[2, 1]);
    assert_eq!(open(&one).unwrap().targets(), 1);
}

#[test]
fn parts_for_the_text_encoder_are_left_out_and_told() {
    let alone = open(&lora()).unwrap();
    assert!(alone.notes().is_empty());
    let both = lora()
        .zeros(
            "text_encoder.model.layers.0.self_attn.q_proj.lora_A.weight",
            ElementType::F32,
            &[2, 9],
        )
        .zeros("lora_te1_layers_0.alpha", ElementType::F32, &[]);
    let both = open(&both).unwrap();
    assert_eq!((both.targets(), alone.targets()), (1, 1));
    let [note] = both.notes() else {
        panic!("{:?}", both.notes());
    };
    assert_eq!(
        note.to_string(),
        "2 tensors for the text encoder are left out: LoRAs change the transformer alone"
    );
}

#[test]
fn convolutions_over_one_pixel_are_matrices() {
    for shapes in [[&[1, 3, 1, 1][..], &[2, 1, 1, 1]], [&[1, 3, 1], &[2, 1]]] {
        let lora = Writer::default()
            .f32(&format!("{TO_Q}.lora_down.weight"), shapes[0], &[1.0; 3])
            .f32(&format!("{TO_Q}.lora_up.weight"), shapes[1], &[1.0; 2]);
        let folder = tempfile::tempdir().unwrap();
        let lora = open(&lora).unwrap();
        assert_eq!(lora.ranks(), (1, 1));
        Adapters::new(vec![(lora, 1.0)], &model(folder.path())).unwrap();
    }
}

#[test]
fn a_lora_of_another_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let fit = |lora: &Writer| Adapters::new(vec![(open(lora).unwrap(), 1.0)], &model);
    let wide = Writer::default()
        .zeros(&format!("{TO_Q}.lora_A.weight"), ElementType::F32, &[1, 7])
        .zeros(&format!("{TO_Q}.lora_B.weight"), ElementType::F32, &[2, 1]);
    let text = fit(&wide).unwrap_err().to_string();
    assert!(
        text.contains("(transformer_blocks.0.attn.to_q is [2, 7] instead of [2, 3])"),
        "{text}"
    );
    let long = Writer::default()
        .zeros(
            "transformer_blocks.9.attn.to_q.lora_A.weight",
            ElementType::F32,
            &[1, 3],
        )
        .zeros(
            "transformer_blocks.9.attn.to_q.lora_B.weight",
            ElementType::F32,
            &[2, 1],
        );
    let text = fit(&long).unwrap_err().to_string();
    assert!(text.contains("has 1 layer that the transformer"), "{text}");
    assert!(fit(&lora()).is_ok());
}

#[test]
fn a_lora_in_the_place_of_a_checkpoint_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = lora().write(folder.path().join("style.safetensors"));
    let error = Weights::open(&path, Component::Transformer).unwrap_err();
    assert!(
        matches!(
            error,
            LoadError::UnknownComponent {
                resembles: Some(Resemblance::Lora),
                ..
            }
        ),
        "{error}"
    );
    assert!(looks_like_a_lora(&Checkpoint::open(&path).unwrap()));
    let path = transformer("").write(folder.path().join("model.safetensors"));
    assert!(!looks_like_a_lora(&Checkpoint::open(&path).unwrap()));
}

#[cfg(feature = "flex")]
mod on_the_processor {
    use burn::tensor::{DType, FloatDType, Tensor};
    use burn_flex::{Flex, FlexDevice};
    use loader::{LoadObserver, load_adapters};

    use super::*;

    fn values(tensor: Tensor<Flex, 2>) -> Vec<f32> {
        tensor.into_data().iter().collect()
    }

    #[test]
    fn products_of_one_layer_are_stacked_with_their_scales() {
        let folder = tempfile::tempdir().unwrap();
        let model = model(folder.path());
        let first = lora().f32(&format!("{TO_Q}.alpha"), &[1], &[3.0]);
        let second = Writer::default()
            .bf16(&format!("{TO_Q}.lora_A.weight"), &[2, 3], &[4.0; 6])
            .bf16(
                &format!("{TO_Q}.lora_B.weight"),
                &[2, 2],
                &[1.0, 2.0, 3.0, 4.0],
            );
        let ignored = lora();
        let path = |name: &str, lora: &Writer| lora.write(folder.path().join(name));
        let loras = [(first, 1.0), (second, -0.5), (ignored, 0.0)];
        let loras = loras.iter().enumerate().map(|(i, (lora, weight))| {
            (
                Lora::open(&path(&format!("{i}.safetensors"), lora)).unwrap(),
                *weight,
            )
        });
        let adapters = Adapters::new(loras.collect(), &model).unwrap();
        // Ranks 1 and 2, filled up to 8.
        assert_eq!(adapters.largest_rank(), 8);
        assert_eq!(adapters.elements(), 8 * (3 + 2));
        assert_eq!(adapters.bytes(FloatDType::F32), 4 * 8 * 5);
        assert_eq!(adapters.layers().collect::<Vec<_>>(), [TO_Q]);
        for dtype in [FloatDType::F32, FloatDType::BF16] {
            let loaded = load_adapters::<Flex>(&adapters, dtype, &FlexDevice, &mut ());
            let (mut pairs, report) = loaded.unwrap();
            assert_eq!(report.tensors, 4);
            assert_eq!(report.bytes, 4 * (3 + 2) + 2 * (6 + 4));
            let (layer, pair) = pairs.remove(0);
            assert_eq!(layer, TO_Q);
            assert_eq!(pair.down.dtype(), DType::from(dtype));
            assert_eq!((pair.down.dims(), pair.up.dims()), ([8, 3], [2, 8]));
            let mut down = vec![1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0];
            down.resize(24, 0.0);
            assert_eq!(values(pair.down), down);
            let row = |values: [f32; 3]| [values.as_slice(), &[0.0; 5]].concat();
            let up = [row([3.0, -0.5, -1.0]), row([-3.0, -1.5, -2.0])].concat();
            assert_eq!(values(pair.up), up);
        }
    }

    /// The error of loading a file, without the file's name.
    fn load_refusal(lora: &Writer, weight: f64) -> String {
        let folder = tempfile::tempdir().unwrap();
        let model = model(folder.path());
        let lora = Lora::open(&lora.write(folder.path().join("style.safetensors"))).unwrap();
        let adapters = Adapters::new(vec![(lora, weight)], &model).unwrap();
        let loaded = load_adapters::<Flex>(&adapters, FloatDType::F32, &FlexDevice, &mut ());
        let text = loaded.map(drop).unwrap_err().to_string();
        let (_, text) = text.split_once("style.safetensors: ").unwrap();
        text.to_owned()
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused_with_their_tensor() {
        let (down, up) = (
            format!("{TO_Q}.lora_down.weight"),
            format!("{TO_Q}.lora_up.weight"),
        );
        let with = |down_value: f32, up_value: f32| {
            Writer::default()
                .f32(&down, &[1, 3], &[1.0, down_value, 3.0])
                .f32(&up, &[2, 1], &[1.0, up_value])
        };
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let first = load_refusal(&with(bad, 1.0), 1.0);
            assert!(first.starts_with(&format!("tensor `{down}` has values that are not finite")));
            let second = load_refusal(&with(1.0, bad), 1.0);
            assert!(second.starts_with(&format!("tensor `{up}` has values that are not finite")));
        }
        // Finite by themselves, and not when they are multiplied.
        for (lora, weight) in [(with(1e38, -1e38), 1.0), (with(1.0, 1e38), 1e3)] {
            let product = load_refusal(&lora, weight);
            assert!(
                product.contains(&down) && product.contains(&up),
                "{product}"
            );
        }
    }

    #[test]
    fn loading_can_be_stopped() {
        struct Stop;
        impl LoadObserver for Stop {
            fn cancelled(&self) -> bool {
                true
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let model = model(folder.path());
        let lora = Lora::open(&lora().write(folder.path().join("lora.safetensors"))).unwrap();
        let adapters = Adapters::new(vec![(lora, 1.0)], &model).unwrap();
        let loaded = load_adapters::<Flex>(&adapters, FloatDType::F32, &FlexDevice, &mut Stop);
        assert!(matches!(loaded, Err(LoadError::Cancelled)));
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let model = model(folder.path());
        let path = lora().write(folder.path().join("lora.safetensors"));
        let adapters = Adapters::new(vec![(Lora::open(&path).unwrap(), 1.0)], &model).unwrap();
        lora()
            .zeros("img_in.alpha", ElementType::F32, &[])
            .write(&path);
        let loaded = load_adapters::<Flex>(&adapters, FloatDType::F32, &FlexDevice, &mut ());
        assert!(matches!(loaded, Err(LoadError::Changed { .. })));
    }
}
