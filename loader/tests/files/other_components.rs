//! The text encoder and the VAE in a module: what is left out, and what changes its shape.

use backends::{Fp8Format, PackedFormat, WeightFormat};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_flex::{Flex, FlexDevice};
use loader::{Component, ElementType, Summary, load};

use crate::modules::{Linear, Names, Norm, on_disk, values};
use crate::writer::{Writer, text_encoder};

#[derive(Module, Debug)]
struct TextLayer<B: Backend> {
    self_attn: Projection<B>,
}

#[derive(Module, Debug)]
struct Projection<B: Backend> {
    k_proj: Linear<B>,
}

#[derive(Module, Debug)]
struct TextModel<B: Backend> {
    layers: Vec<TextLayer<B>>,
    norm: Norm<B>,
}

#[test]
fn a_text_encoder_leaves_its_vision_tower_and_head() {
    let file = text_encoder()
        .tensor(
            "model.layers.0.self_attn.k_proj.weight",
            ElementType::F8E4M3,
            &[4, 1],
            &[0x38; 4],
        )
        .f32("model.layers.0.self_attn.k_proj.scale_weight", &[], &[2.0])
        .bf16("model.norm.weight", &[2], &[1.0, 2.0])
        .zeros(
            "visual.blocks.0.attn.qkv.weight",
            ElementType::F8E4M3,
            &[4, 1],
        )
        .f32("visual.blocks.0.attn.qkv.scale_weight", &[], &[0.0])
        .zeros("lm_head.weight", ElementType::BF16, &[2, 2])
        .zeros("scaled_fp8", ElementType::F8E4M3, &[0]);
    let disk = on_disk(&file, Component::TextEncoder);
    let names = Names::default();
    let name = "model.layers.0.self_attn.k_proj";
    let k_proj = Linear {
        bias: Some(names.float(&format!("{name}.bias"), [4])),
        ..names.linear(
            name,
            [4, 1],
            WeightFormat::Packed(PackedFormat::Fp8(Fp8Format::E4M3)),
        )
    };
    let module = TextModel::<Flex> {
        layers: vec![TextLayer {
            self_attn: Projection { k_proj },
        }],
        norm: names.norm("model.norm", 2),
    };
    let (module, report) = load(names.of(module), &disk.weights, &FlexDevice, &mut ()).unwrap();
    assert_eq!(values(&module.norm.weight), [1.0, 2.0]);
    assert_eq!((report.tensors, report.unused), (4, 4));
}

#[derive(Module, Debug)]
struct Conv<B: Backend> {
    weight: Param<Tensor<B, 4>>,
    bias: Param<Tensor<B, 1>>,
}

#[derive(Module, Debug)]
struct Gamma<B: Backend> {
    gamma: Param<Tensor<B, 1>>,
}

#[derive(Module, Debug)]
struct Resnet<B: Backend> {
    norm1: Gamma<B>,
    conv1: Conv<B>,
}

#[derive(Module, Debug)]
struct Middle<B: Backend> {
    resnets: Vec<Resnet<B>>,
}

#[derive(Module, Debug)]
struct Decoder<B: Backend> {
    mid_block: Middle<B>,
}

#[derive(Module, Debug)]
struct Vae<B: Backend> {
    post_quant_conv: Conv<B>,
    decoder: Decoder<B>,
}

fn conv(names: &Names, name: &str, shape: [usize; 4]) -> Conv<Flex> {
    Conv {
        weight: names.float(&format!("{name}.weight"), shape),
        bias: names.float(&format!("{name}.bias"), [shape[0]]),
    }
}

#[test]
fn a_vae_for_video_becomes_one_for_images() {
    let taps: Vec<f32> = (0..2 * 3 * 4).map(|i| i as f32).collect();
    let file = Writer::default()
        .bf16(
            "decoder.middle.0.residual.0.gamma",
            &[2, 1, 1, 1],
            &[1.0, 2.0],
        )
        .bf16(
            "decoder.middle.0.residual.2.weight",
            &[2, 1, 3, 2, 2],
            &taps,
        )
        .bf16("decoder.middle.0.residual.2.bias", &[2], &[3.0, 4.0])
        .bf16("conv2.weight", &[1, 1, 1, 1, 1], &[5.0])
        .bf16("conv2.bias", &[1], &[6.0])
        .zeros("encoder.anything", ElementType::BF16, &[1])
        .zeros("conv1.weight", ElementType::BF16, &[1]);
    let disk = on_disk(&file, Component::Vae);
    let names = Names::default();
    let resnet = Resnet {
        norm1: Gamma {
            gamma: names.float("decoder.mid_block.resnets.0.norm1.gamma", [2]),
        },
        conv1: conv(&names, "decoder.mid_block.resnets.0.conv1", [2, 1, 2, 2]),
    };
    let module = Vae::<Flex> {
        post_quant_conv: conv(&names, "post_quant_conv", [1, 1, 1, 1]),
        decoder: Decoder {
            mid_block: Middle {
                resnets: vec![resnet],
            },
        },
    };
    let (module, report) = load(names.of(module), &disk.weights, &FlexDevice, &mut ()).unwrap();
    let resnet = &module.decoder.mid_block.resnets[0];
    assert_eq!(values(&resnet.norm1.gamma), [1.0, 2.0]);
    assert_eq!(
        values(&resnet.conv1.weight),
        [8.0, 9.0, 10.0, 11.0, 20.0, 21.0, 22.0, 23.0]
    );
    assert_eq!(values(&resnet.conv1.bias), [3.0, 4.0]);
    assert_eq!(values(&module.post_quant_conv.weight), [5.0]);
    assert_eq!((report.tensors, report.unused), (5, 2));
    // Two gammas, one slice of two filters, and the rest, in f32.
    assert_eq!(
        Summary::of(&disk.weights).footprint.total(),
        4 * (2 + 8 + 2 + 1 + 1)
    );
}
