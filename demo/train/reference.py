"""The reference pipeline on the exported files or on the bf16 weights.

`python reference.py PROMPT OUT.png [width height]` draws with the exported files.
"""

import sys

import paths
import dequant
import export
import layouts
import nets
import numpy as np
import torch
import tokens
from diffusers import FlowMatchEulerDiscreteScheduler, QwenImagePipeline
from safetensors import safe_open


def pipeline(transformer, text, vae, tokenizer) -> QwenImagePipeline:
    pipe = QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**layouts.SCHEDULER),
        vae=vae, text_encoder=text, tokenizer=tokenizer, transformer=transformer,
    )  # fmt: skip
    pipe.prompt_template_encode_start_idx = len(tokenizer(pipe.prompt_template_encode.split("{}")[0]).input_ids)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def exported(folder, size=nets.FULL) -> QwenImagePipeline:
    """Exactly the weights that the files stand for, in float32."""
    import json

    tokenizer = tokens.load(folder / "tokenizer")
    with safe_open(folder / export.FILES["vae"], "pt") as file:
        config = json.loads(file.metadata()["config"])
    transformer, text = nets.transformer(size), nets.text_encoder(size, tokenizer)
    vae = nets.vae(size, config["latents_mean"], config["latents_std"])
    dequant.load_transformer(transformer, [folder / export.FILES["transformer"]])
    dequant.load_text_encoder(text, [folder / export.FILES["text_encoder"]])
    dequant.load_vae(vae, [folder / export.FILES["vae"]])
    return pipeline(transformer, text, vae, tokenizer)


def draw(pipe, prompt, width=256, height=256, seed=42, steps=20, cfg=4.0):
    noise = torch.randn((1, 1, 16, 2 * (height // 16), 2 * (width // 16)), generator=torch.Generator("cpu").manual_seed(seed))
    packed = pipe._pack_latents(noise, 1, 16, noise.shape[3], noise.shape[4])
    image = pipe(
        prompt=prompt, negative_prompt=" ", width=width, height=height, num_inference_steps=steps,
        sigmas=np.linspace(1.0, 1 / steps, steps), true_cfg_scale=cfg, latents=packed.to(pipe.transformer.device),
    ).images[0]  # fmt: skip
    return image


if __name__ == "__main__":
    width, height = map(int, sys.argv[3:5]) if len(sys.argv) > 4 else (256, 256)
    draw(exported(paths.MODELS), sys.argv[1], width, height).save(sys.argv[2])
