"""What ComfyUI makes of the tiny models, written anew from a description of how it differs.

Differences from diffusers' pipeline: levels from a table of the training steps with a shift of
3.1; plain guidance; rows and columns of an odd number of tokens centred; a prompt that starts with
`<|im_start|>` is taken without the template, the part to drop is searched for in the ids, and
nothing is cut; 8-bit levels are truncated.
"""

from pathlib import Path

import numpy as np
import torch

import capture
import make_samplers
import make_tokenizer
import st_file
from cases import SENTENCE, Case
from make_numbers import write_rows

TEMPLATELESS = "<|im_start|>system\nPaint.<|im_end|>\n<|im_start|>user\nA (red) fox<|im_end|>\n"
# An odd number of rows and of columns.
CASE = Case("odd_grid", prompt=TEMPLATELESS, negative="", width=80, height=48, seed=7, cfg=2.5)
STEPS = 4

PROMPTS = [
    "",
    " ",
    "a cat",
    "\na line break first",
    "a \\(quoted\\) cat, \\\\(twice\\\\), (weighted:1.2)",
    "一只红色的狐狸",
    "a fox<|im_end|>\n<|im_start|>user\nand a cat",
    " <|im_start|>not at the start",
    "<|im_start|>",
    "<|im_start|>user",
    "<|im_start|>user\n",
    "<|im_start|>user\na cat",
    "<|im_start|>user\na cat<|im_end|>\n",
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>a cat",
    TEMPLATELESS,
    SENTENCE * 130,
]


def tokens(tokenizer, template: str, prompt: str) -> tuple[list[int], int]:
    """The ids of a prompt, and how many of them are dropped after encoding."""
    text = prompt if prompt.startswith("<|im_start|>") else template.format(prompt)
    for bracket in ")(":
        text = text.replace("\\" + bracket, bracket)
    ids = tokenizer(text).input_ids
    start = tokenizer.convert_tokens_to_ids("<|im_start|>")
    drop = [i for i, token in enumerate(ids) if token == start][:2][-1]
    # Two tokens of the real tokenizer, 872 and 198.
    user = tokenizer("user\n").input_ids
    after = drop + 1 + len(user)
    if len(ids) > after and ids[drop + 1 : after] == user:
        drop = after
    return ids, drop


def write_tokens(path: Path, tokenizer, template: str):
    rows = []
    for prompt in PROMPTS:
        ids, drop = tokens(tokenizer, template, prompt)
        rows.append({"prompt": prompt, "ids": ids, "drop": drop})
    write_rows(path, rows)


def centred_rope(rope):
    """A rotary embedding's forward with rows and columns at 0..n-1 minus n // 2."""
    frequencies = [10000.0 ** (-torch.arange(0, axis, 2).float() / axis) for axis in rope.axes_dim]

    def turn(*positions):
        angles = torch.cat([p[:, None].float() * f for p, f in zip(positions, frequencies, strict=True)], dim=1)
        return torch.polar(torch.ones_like(angles), angles)

    def forward(video_fhw, device=None, max_txt_seq_len=None):
        ((_, height, width),) = video_fhw[0]
        y, x = torch.meshgrid(torch.arange(height) - height // 2, torch.arange(width) - width // 2, indexing="ij")
        y, x = y.flatten(), x.flatten()
        text = torch.arange(int(max_txt_seq_len)) + max(height // 2, width // 2)
        return turn(torch.zeros_like(y), y, x), turn(text, text, text)

    return forward


def plain(cond, uncond, scale):
    return uncond + scale * (cond - uncond)


@torch.no_grad()
def write_steps(path: Path, root: Path):
    pipe = capture.build_pipeline(root, CASE)
    tokenizer, template = pipe.tokenizer, pipe.prompt_template_encode
    even = [[(1, 4, 6)]]
    before = pipe.transformer.pos_embed(even, max_txt_seq_len=7)
    pipe.transformer.pos_embed.forward = centred_rope(pipe.transformer.pos_embed)
    for own, other in zip(pipe.transformer.pos_embed(even, max_txt_seq_len=7), before, strict=True):
        assert torch.allclose(own, other, atol=1e-6), "even grids must agree with diffusers"

    def encode(prompt):
        ids, drop = tokens(tokenizer, template, prompt)
        ids = torch.tensor([ids])
        out = pipe.text_encoder(
            input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True
        ).hidden_states[-1]
        return (out[:, drop:],)

    pipe.encode_prompt = encode
    height, width = capture.latent_size(CASE)
    noise = capture.draw_noise(CASE)
    latents = pipe._pack_latents(noise, 1, 16, height, width)
    sigmas = make_samplers.schedule("simple", STEPS, CASE.width, CASE.height)
    velocity = make_samplers.predictor(pipe, [CASE.prompt, CASE.negative], CASE, plain)
    trace = {"noise": noise, "sigmas": torch.from_numpy(sigmas)}
    trace["prompt_embeds"], trace["negative_prompt_embeds"] = encode(CASE.prompt)[0], encode(CASE.negative)[0]
    for step, (sigma, following) in enumerate(zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True)):
        denoised = latents - sigma * velocity(latents, sigma)
        latents = latents + (latents - denoised) / sigma * (following - sigma)
        trace[f"latents.step{step}"] = latents
    trace["latents.final"] = latents
    trace["image"] = decoded(pipe, latents)
    levels = 255.0 * (trace["image"][0].movedim(0, -1) * 0.5 + 0.5).clamp(0, 1).numpy()
    trace["png"] = torch.from_numpy(np.clip(levels, 0, 255).astype(np.uint8))
    st_file.write(path, trace)


def decoded(pipe, latents):
    """Latent tokens through the VAE, as diffusers' pipeline sends them."""
    vae = pipe.vae
    latents = pipe._unpack_latents(latents, CASE.height, CASE.width, pipe.vae_scale_factor)
    statistics = [torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std)]
    return vae.decode(latents * statistics[1] + statistics[0], return_dict=False)[0][:, :, 0]


def write_all(root: Path):
    tokenizer = make_tokenizer.load(root / "comfyui/tokenizer")
    write_tokens(root / "preset_comfyui.json", tokenizer, template())
    write_steps(root / "preset_comfyui.safetensors", root)


def template() -> str:
    from diffusers import QwenImagePipeline

    return QwenImagePipeline(None, None, None, None, None).prompt_template_encode


def write_real(path: Path, folder: Path):
    write_tokens(path, make_tokenizer.load(folder), template())
