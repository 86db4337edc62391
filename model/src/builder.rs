//! Builds modules without memory, and notes which tensor of a checkpoint fills each parameter.

use std::cell::RefCell;
use std::rc::Rc;

use backends::parameters::{ParameterNames, TensorPart, UnfilledModule};
use backends::weight::uninitialized_float;
use backends::{Weight, WeightFormat};
use burn::module::Param;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::linear::{Embedding, Linear};
use crate::norm::RmsNorm;

/// A place among the names of a checkpoint, where the parameters of a module are made.
///
/// Names are the reference's (diffusers, transformers); a path such as
/// `transformer_blocks.0.attn.to_q` is built piece by piece with [`at`](Self::at).
pub struct Builder<'a, B: Backend> {
    device: &'a B::Device,
    formats: &'a dyn Fn(&str) -> WeightFormat,
    path: String,
    /// One for all builders of a module.
    names: Rc<RefCell<ParameterNames>>,
}

impl<'a, B: Backend> Builder<'a, B> {
    /// A builder at the root of the names. `formats` tells how the rank-2 weight of a name, such
    /// as `proj_out.weight`, is stored.
    pub fn new(device: &'a B::Device, formats: &'a dyn Fn(&str) -> WeightFormat) -> Self {
        Self {
            device,
            formats,
            path: String::new(),
            names: Rc::default(),
        }
    }

    /// Makes a module from the root of the names on, for a loader to fill.
    pub fn build<M>(
        device: &B::Device,
        formats: &dyn Fn(&str) -> WeightFormat,
        make: impl FnOnce(&Builder<B>) -> M,
    ) -> UnfilledModule<M> {
        let root = Builder::new(device, formats);
        let module = make(&root);
        let names = root.names.take();
        UnfilledModule { module, names }
    }

    /// The builder of a child.
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        let path = if self.path.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.path)
        };
        Self {
            device: self.device,
            formats: self.formats,
            path,
            names: Rc::clone(&self.names),
        }
    }

    /// `count` children of the list `name`.
    pub fn list<M>(&self, name: &str, count: usize, child: impl Fn(&Self, usize) -> M) -> Vec<M> {
        let list = self.at(name);
        (0..count).map(|i| child(&list.at(i), i)).collect()
    }

    /// The device on which parameters will lie.
    pub fn device(&self) -> &B::Device {
        self.device
    }

    /// The linear layer `name`, from `input` to `output` features.
    pub fn linear(&self, name: &str, input: usize, output: usize, bias: bool) -> Linear<B> {
        let layer = self.at(name);
        Linear {
            weight: layer.weight([output, input]),
            bias: bias.then(|| layer.parameter("bias", [output])),
            adapter: None,
        }
    }

    /// The embedding `name` of `rows` vectors.
    pub fn embedding(&self, name: &str, rows: usize, channels: usize) -> Embedding<B> {
        Embedding {
            weight: self.at(name).weight([rows, channels]),
        }
    }

    /// The root-mean-square norm `name` over `channels`.
    pub fn rms_norm(&self, name: &str, channels: usize, epsilon: f64) -> RmsNorm<B> {
        RmsNorm {
            weight: self.at(name).parameter("weight", [channels]),
            epsilon,
        }
    }

    /// The float parameter `name`.
    pub fn parameter<const D: usize>(&self, name: &str, shape: [usize; D]) -> Param<Tensor<B, D>> {
        let parameter = uninitialized_float(shape, self.device);
        let name = self.at(name).path;
        let mut names = self.names.borrow_mut();
        names.note(parameter.id, &name, TensorPart::Values);
        parameter
    }

    /// The rank-2 parameter `weight`, in the format that it is stored in.
    fn weight(&self, shape: [usize; 2]) -> Weight<B> {
        let name = self.at("weight").path;
        let weight = Weight::uninitialized(shape, (self.formats)(&name), self.device);
        self.names.borrow_mut().note_weight(&weight, &name);
        weight
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use backends::parameters::ParameterSource;
    use backends::{Fp8Format, PackedFormat};
    use burn::module::ParamId;
    use burn_flex::{Flex, FlexDevice};

    use super::*;
    use crate::config::{TextEncoderConfig, TransformerConfig, VaeConfig};
    use crate::vae::DownBlock;
    use crate::{TextEncoder, Transformer, VaeDecoder, VaeEncoder};

    fn assert_noted(names: &ParameterNames, id: ParamId, name: &str, part: TensorPart) {
        let name = name.to_owned();
        assert_eq!(names.get(id), Some(&ParameterSource { name, part }));
    }

    #[test]
    fn parameters_of_the_transformer_have_the_names_of_diffusers() {
        let config = TransformerConfig {
            num_layers: 2,
            num_attention_heads: 1,
            ..TransformerConfig::published()
        };
        let formats = |name: &str| match name.contains("to_out") {
            true => WeightFormat::Dense,
            false => WeightFormat::Packed(PackedFormat::Fp8(Fp8Format::E4M3)),
        };
        let UnfilledModule { module, names } = Builder::build(&FlexDevice, &formats, |root| {
            Transformer::<Flex>::uninitialized(&config, root)
        });
        let block = &module.transformer_blocks[1];
        let Weight::Packed(modulation) = &module.block_modulations[1].img_mod.weight else {
            panic!("not FP8")
        };
        let name = "transformer_blocks.1.img_mod.1.weight";
        assert_noted(&names, modulation.bytes.id, name, TensorPart::Codes);
        assert_noted(&names, modulation.scale.id, name, TensorPart::Scale);
        let Weight::Dense(out) = &block.attn.to_out.weight else {
            panic!("not dense")
        };
        let name = "transformer_blocks.1.attn.to_out.0.weight";
        assert_noted(&names, out.id, name, TensorPart::Elements);
        let bias = |bias: &Option<Param<Tensor<Flex, 1>>>| bias.as_ref().map(|bias| bias.id);
        for (id, name) in [
            (
                bias(&block.img_mlp.net_0_proj.bias),
                "img_mlp.net.0.proj.bias",
            ),
            (bias(&block.txt_mlp.net_2.bias), "txt_mlp.net.2.bias"),
            (Some(block.attn.norm_q.weight.id), "attn.norm_q.weight"),
            (
                Some(block.attn.norm_added_k.weight.id),
                "attn.norm_added_k.weight",
            ),
        ] {
            let name = format!("transformer_blocks.1.{name}");
            assert_noted(&names, id.expect("a bias"), &name, TensorPart::Values);
        }
        let norm = module.txt_norm.weight.id;
        assert_noted(&names, norm, "txt_norm.weight", TensorPart::Values);
    }

    #[test]
    fn parameters_of_the_text_encoder_have_the_names_of_transformers() {
        let config = TextEncoderConfig {
            num_hidden_layers: 1,
            ..TextEncoderConfig::published()
        };
        let dense = |_: &str| WeightFormat::Dense;
        let UnfilledModule { module, names } = Builder::build(&FlexDevice, &dense, |root| {
            TextEncoder::<Flex>::uninitialized(&config, root)
        });
        let layer = &module.layers[0];
        let (Weight::Dense(query), Weight::Dense(tokens)) =
            (&layer.self_attn.q_proj.weight, &module.embed_tokens.weight)
        else {
            panic!("not dense")
        };
        for (id, name, part) in [
            (
                query.id,
                "layers.0.self_attn.q_proj.weight",
                TensorPart::Elements,
            ),
            (tokens.id, "embed_tokens.weight", TensorPart::Elements),
            (
                layer.post_attention_layernorm.weight.id,
                "layers.0.post_attention_layernorm.weight",
                TensorPart::Values,
            ),
            (module.norm.weight.id, "norm.weight", TensorPart::Values),
        ] {
            assert_noted(&names, id, &format!("model.{name}"), part);
        }
    }

    #[test]
    fn parameters_of_the_vae_have_the_names_of_diffusers() {
        let config = VaeConfig::published();
        let dense = |_: &str| WeightFormat::Dense;
        let UnfilledModule { module, names } = Builder::build(&FlexDevice, &dense, |root| {
            VaeDecoder::<Flex>::uninitialized(&config, root)
        });
        let decoder = &module.decoder;
        for (id, name) in [
            (module.post_quant_conv.weight.id, "post_quant_conv.weight"),
            (decoder.conv_in.bias.id, "decoder.conv_in.bias"),
            (
                decoder.mid_block.attentions[0].to_qkv.weight.id,
                "decoder.mid_block.attentions.0.to_qkv.weight",
            ),
            (
                decoder.mid_block.resnets[1].norm2.gamma.id,
                "decoder.mid_block.resnets.1.norm2.gamma",
            ),
            (
                decoder.up_blocks[2].resnets[1].conv2.weight.id,
                "decoder.up_blocks.2.resnets.1.conv2.weight",
            ),
            (
                decoder.up_blocks[0].upsamplers[0].resample_1.weight.id,
                "decoder.up_blocks.0.upsamplers.0.resample.1.weight",
            ),
            (decoder.norm_out.gamma.id, "decoder.norm_out.gamma"),
            (decoder.conv_out.weight.id, "decoder.conv_out.weight"),
        ] {
            assert_noted(&names, id, name, TensorPart::Values);
        }
        let UnfilledModule { module, names } = Builder::build(&FlexDevice, &dense, |root| {
            VaeEncoder::<Flex>::uninitialized(&config, root)
        });
        // Residual blocks and downsamplers are numbered through.
        let blocks = module.encoder.down_blocks.iter().enumerate();
        for (index, block) in blocks {
            let (id, name) = match block {
                DownBlock::Residual(block) => (block.conv1.weight.id, "conv1.weight"),
                DownBlock::Downsample(block) => (block.resample_1.weight.id, "resample.1.weight"),
            };
            let name = format!("encoder.down_blocks.{index}.{name}");
            assert_noted(&names, id, &name, TensorPart::Values);
        }
        let moments = module.quant_conv.bias.id;
        assert_noted(&names, moments, "quant_conv.bias", TensorPart::Values);
    }
}
