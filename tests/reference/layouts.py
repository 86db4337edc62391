"""Writes the tiny models in every checkpoint layout that the loader must read."""

import json
import math
import shutil
from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler

import loras
import make_tokenizer
import st_file
import tiny_models
from keymap import single_file_text_key, wan_vae_key

E4M3 = torch.float8_e4m3fn
E5M2 = torch.float8_e5m2

# The scheduler_config.json that is published with Qwen-Image.
SCHEDULER = dict(
    base_image_seq_len=256,
    base_shift=0.5,
    invert_sigmas=False,
    max_image_seq_len=8192,
    max_shift=0.9,
    num_train_timesteps=1000,
    shift=1.0,
    shift_terminal=0.02,
    stochastic_sampling=False,
    time_shift_type="exponential",
    use_beta_sigmas=False,
    use_dynamic_shifting=True,
    use_exponential_sigmas=False,
    use_karras_sigmas=False,
)

# What the authors of the Lightning adapters change in it.
LIGHTNING = dict(base_shift=math.log(3), max_shift=math.log(3), shift_terminal=None)

# What a W8A8 runtime would multiply activations with. A weight-only loader ignores it, and
# using it by mistake changes every result.
INPUT_SCALE = 0.03125


def write_all(root: Path):
    make_tokenizer.write(root / "comfyui/tokenizer")
    tokenizer = make_tokenizer.load(root / "comfyui/tokenizer")
    small = tiny_models.transformer("small")
    text = tiny_models.text_encoder("small", tokenizer)
    vae = tiny_models.vae()

    models = root / "comfyui"
    plain_fp8(small, models / "diffusion_models/qwen_image_small_fp8_e4m3fn.safetensors")
    legacy_scaled_text(text, models / "text_encoders/qwen_2.5_vl_small_fp8_scaled.safetensors")
    st_file.write(
        models / "vae/qwen_image_small_vae.safetensors",
        {wan_vae_key(key): value.bfloat16() for key, value in vae.state_dict().items()},
        metadata(vae.config),
    )

    extra = root / "transformers"
    comfy_quant(small, extra / "small_comfy_quant.safetensors", E4M3)
    comfy_quant(small, extra / "small_comfy_quant_e5m2.safetensors", E5M2)
    metadata_quant(small, extra / "small_fp8mixed.safetensors")
    plain_fp8(tiny_models.transformer("head128"), extra / "head128_fp8_e4m3fn.safetensors")
    tiny = tiny_models.transformer("tiny_activations")
    st_file.write(extra / "tiny_activations_f32.safetensors", tiny.state_dict(), metadata(tiny.config))

    # Names as transformers holds them in memory, which some exports keep.
    tiny_text = tiny_models.text_encoder("tiny_activations", tokenizer)
    st_file.write(
        root / "text_encoders/tiny_activations_bf16.safetensors",
        {key: value.bfloat16() for key, value in tiny_text.state_dict().items()},
        metadata(flat_text_config(tiny_text.config)),
    )

    loras.write_all(root / "loras", small)

    diffusers_folder(small, text, vae, models / "tokenizer", root / "diffusers")


def metadata(config) -> dict[str, str]:
    """Sizes of the tiny models cannot all be inferred from shapes, so their files carry them."""
    fields = {key: value for key, value in config.items() if not key.startswith("_")}
    return {"config": json.dumps(fields, sort_keys=True)}


def text_metadata(config) -> dict[str, str]:
    return metadata(json.loads(config.to_json_string()))


def flat_text_config(config) -> dict:
    """The older config.json: text fields at the top, rope_theta apart from rope_scaling."""
    fields = json.loads(config.to_json_string())
    text = fields.pop("text_config")
    rope = text.pop("rope_parameters")
    text["rope_theta"] = rope.pop("rope_theta")
    text["rope_scaling"] = rope
    return {**text, **fields}


def plain_fp8(model, path: Path):
    """Every tensor in FP8, biases and norm weights too, and no scale anywhere."""
    tensors = {key: value.to(E4M3) for key, value in model.state_dict().items()}
    st_file.write(path, tensors, metadata(model.config))


def quantise(weight: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Per-tensor scaling: the largest weight lands on the largest code."""
    scale = weight.abs().max() / torch.finfo(dtype).max
    return (weight / scale).to(dtype), scale


def is_linear(key: str, value: torch.Tensor) -> bool:
    lookup = "embed_tokens" in key or "lm_head" in key
    return key.endswith(".weight") and value.ndim == 2 and not lookup


def legacy_scaled_text(model, path: Path):
    tensors = {}
    for key, value in model.state_dict().items():
        key = single_file_text_key(key)
        if is_linear(key, value):
            tensors[key], scale = quantise(value, E4M3)
            layer = key.removesuffix(".weight")
            tensors[f"{layer}.scale_weight"] = scale
            tensors[f"{layer}.scale_input"] = torch.tensor(INPUT_SCALE)
        else:
            tensors[key] = value.bfloat16()
    tensors["scaled_fp8"] = torch.empty(0, dtype=E4M3)
    st_file.write(path, tensors, text_metadata(model.config))


def comfy_quant(model, path: Path, dtype: torch.dtype):
    """The newer scaled layout: a JSON note in a tensor beside each quantised layer."""
    form = {E4M3: "float8_e4m3fn", E5M2: "float8_e5m2"}[dtype]
    note = torch.tensor(list(json.dumps({"format": form}).encode()), dtype=torch.uint8)
    tensors = {}
    for key, value in model.state_dict().items():
        if is_linear(key, value):
            tensors[key], scale = quantise(value, dtype)
            layer = key.removesuffix(".weight")
            tensors[f"{layer}.weight_scale"] = scale
            tensors[f"{layer}.comfy_quant"] = note
        else:
            tensors[key] = value.bfloat16()
    st_file.write(path, tensors, metadata(model.config))


def metadata_quant(model, path: Path):
    """The same with the notes in the header: only the blocks' attention and MLP layers are FP8."""
    prefix = "model.diffusion_model."
    tensors, layers = {}, {}
    for key, value in model.state_dict().items():
        layer = key.removesuffix(".weight")
        if is_linear(key, value) and (".attn." in key or "_mlp." in key):
            tensors[prefix + key], scale = quantise(value, E4M3)
            # Writers differ in the shape of the scale: here it has one element.
            tensors[f"{prefix}{layer}.weight_scale"] = scale.reshape(1)
            layers[prefix + layer] = {"format": "float8_e4m3fn"}
        else:
            tensors[prefix + key] = value.bfloat16()
    notes = json.dumps({"format_version": "1.0", "layers": layers})
    st_file.write(path, tensors, {**metadata(model.config), "_quantization_metadata": notes})


def diffusers_folder(transformer, text, vae, tokenizer: Path, root: Path):
    """A pipeline folder as the libraries themselves save it, with a sharded transformer.

    Saving casts the models in place, so this comes last.
    """
    transformer.to(torch.bfloat16).save_pretrained(root / "transformer", max_shard_size="110KB")
    text.half().save_pretrained(root / "text_encoder", max_shard_size="100KB")
    vae.to(torch.bfloat16).save_pretrained(root / "vae")
    (root / "text_encoder/generation_config.json").unlink(missing_ok=True)
    FlowMatchEulerDiscreteScheduler(**SCHEDULER).save_pretrained(root / "scheduler")
    shutil.copytree(tokenizer, root / "tokenizer", dirs_exist_ok=True)
    index = {
        "_class_name": "QwenImagePipeline",
        "_diffusers_version": "0.42.1",
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
        "tokenizer": ["transformers", "Qwen2Tokenizer"],
        "transformer": ["diffusers", "QwenImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKLQwenImage"],
    }
    (root / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    for path in root.rglob("*.safetensors"):
        path.chmod(0o644)  # the libraries write them readable by their owner alone
