"""Writes the trained models in the ComfyUI layout that the public files have."""

import json

import paths  # noqa: F401 (makes the reference helpers importable)
import fast_flow
import layouts
import nets
import preview_factors
import st_file
import torch
from keymap import wan_vae_key

FILES = {
    "transformer": "diffusion_models/qwen_image_demo_fp8_e4m3fn.safetensors",
    "text_encoder": "text_encoders/qwen_2.5_vl_demo_fp8_scaled.safetensors",
    "vae": "vae/qwen_image_demo_vae.safetensors",
}
# Neutral: a weight-only loader ignores it.
layouts.INPUT_SCALE = 1.0


def models(out, size, tokenizer):
    """The three models with the averaged weights of a training folder."""
    flow = torch.load(out / "flow.pt", map_location="cpu")
    transformer, text = nets.transformer(size), nets.text_encoder(size, tokenizer)
    weights = {name: value.float() for name, value in flow["weights"].items()}
    transformer.load_state_dict({k: v for k, v in weights.items() if not k.startswith(fast_flow.TEXT_PREFIX)})
    missing = text.load_state_dict({k: v for k, v in weights.items() if k.startswith(fast_flow.TEXT_PREFIX)}, strict=False)
    assert not missing.unexpected_keys, missing
    vae = nets.vae(size, flow["stats"]["mean"], flow["stats"]["std"])
    vae.load_state_dict(torch.load(out / "vae.pt", map_location="cpu"))
    return transformer.eval(), text.eval(), vae.float().eval()


def write(transformer, text, vae, folder, default_size):
    fields = {key: value for key, value in transformer.config.items() if not key.startswith("_")}
    fields |= {"default_size": list(default_size), "default_steps": 20}
    eight = {key: value.to(layouts.E4M3) for key, value in transformer.state_dict().items()}
    assert all(value.float().isfinite().all() for value in eight.values())
    st_file.write(folder / FILES["transformer"], eight, {"config": json.dumps(fields, sort_keys=True)})
    layouts.legacy_scaled_text(text, folder / FILES["text_encoder"])
    st_file.write(
        folder / FILES["vae"],
        {wan_vae_key(key): value.bfloat16() for key, value in vae.state_dict().items()},
        layouts.metadata(vae.config),
    )
    preview_factors.insert(folder / FILES["vae"], preview_factors.fit(vae))
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
