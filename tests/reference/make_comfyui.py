"""What ComfyUI makes of the tiny models, written anew from a description of how it differs.

Differences from diffusers' pipeline: levels from a table of the training steps with a shift of
3.1; plain guidance; rows and columns of an odd number of tokens centred; a prompt that starts with
`<|im_start|>` or `<|start_header_id|>` is taken without the template, the part to drop is searched
for in the ids, and nothing is cut; 8-bit levels are truncated.

From an image: the mean of its posterior and the seed's first noise; with a denoise of D the last
steps of a schedule of steps / D; a noise mask, whose shares of latent pixels are interpolated between
the mask's pixels, mixes what the model is shown with the noised image, and what it predicts with the
image itself.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

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
    "<|start_header_id|>",
    "<|start_header_id|>user<|end_header_id|>\n\na cat",
    "<|start_header_id|>system\n<|im_start|>user\na cat<|im_end|>\n<|im_start|>assistant\n",
    " <|start_header_id|>not at the start",
    TEMPLATELESS,
    SENTENCE * 130,
]


def tokens(tokenizer, template: str, prompt: str) -> tuple[list[int], int]:
    """The ids of a prompt, and how many of them are dropped after encoding."""
    text = prompt if prompt.startswith(("<|im_start|>", "<|start_header_id|>")) else template.format(prompt)
    for bracket in ")(":
        text = text.replace("\\" + bracket, bracket)
    ids = tokenizer(text).input_ids
    start = tokenizer.convert_tokens_to_ids("<|im_start|>")
    # Without any, all but the last one: it is counted from the end.
    drop = ([-1] + [i for i, token in enumerate(ids) if token == start][:2])[-1]
    # Two tokens of the real tokenizer, 872 and 198.
    user = tokenizer("user\n").input_ids
    after = drop + 1 + len(user)
    if len(ids) > after and ids[drop + 1 : after] == user:
        drop = after
    return ids, drop % len(ids)


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


def build(root: Path, case: Case):
    """A pipeline that turns prompts and positions into what ComfyUI makes of them."""
    pipe = capture.build_pipeline(root, case)
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
    return pipe


@torch.no_grad()
def write_steps(path: Path, root: Path):
    pipe = build(root, CASE)
    height, width = capture.latent_size(CASE)
    noise = capture.draw_noise(CASE)
    latents = pipe._pack_latents(noise, 1, 16, height, width)
    sigmas = make_samplers.schedule("simple", STEPS, CASE.width, CASE.height)
    velocity = make_samplers.predictor(pipe, [CASE.prompt, CASE.negative], CASE, plain)
    trace = {"noise": noise, "sigmas": torch.from_numpy(sigmas)}
    trace["prompt_embeds"] = pipe.encode_prompt(CASE.prompt)[0]
    trace["negative_prompt_embeds"] = pipe.encode_prompt(CASE.negative)[0]
    for step, (sigma, following) in enumerate(zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True)):
        denoised = latents - sigma * velocity(latents, sigma)
        latents = latents + (latents - denoised) / sigma * (following - sigma)
        trace[f"latents.step{step}"] = latents
    trace["latents.final"] = latents
    trace["image"] = decoded(pipe, latents, CASE)
    trace["png"] = truncated(trace["image"])
    st_file.write(path, trace)


def statistics(vae):
    return [torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std)]


def decoded(pipe, latents, case: Case):
    """Latent tokens through the VAE, as diffusers' pipeline sends them."""
    mean, deviation = statistics(pipe.vae)
    latents = pipe._unpack_latents(latents, case.height, case.width, pipe.vae_scale_factor)
    return pipe.vae.decode(latents * deviation + mean, return_dict=False)[0][:, :, 0]


def truncated(image: torch.Tensor) -> torch.Tensor:
    levels = 255.0 * (image[0].movedim(0, -1) * 0.5 + 0.5).clamp(0, 1).numpy()
    return torch.from_numpy(np.clip(levels, 0, 255).astype(np.uint8))


# An odd number of columns; a name, the part that is changed, the mask and the sampler.
START = Case("start", prompt="A (red) fox", negative="", width=48, height=32, seed=8, cfg=2.5)
STARTS = [
    ("img2img", 0.5, None, "euler"),
    ("uneven", 0.6, None, "euler"),
    ("inpaint", 0.5, "mask_48x32.png", "euler"),
    ("inpaint_heun", 0.7, "mask_30x40.png", "heun"),
]


@torch.no_grad()
def write_starts(path: Path, root: Path):
    """Runs that begin with an image, as `NAME/...`."""
    pipe = build(root, START)
    height, width = capture.latent_size(START)
    pack = lambda latents: pipe._pack_latents(latents.view(1, 1, 16, height, width), 1, 16, height, width)
    image = np.array(Image.open(root / "images/scene_48x32.png"))
    pixels = torch.from_numpy(image).movedim(-1, 0)[None, :, None] / 255.0 * 2.0 - 1.0
    mean, deviation = statistics(pipe.vae)
    image = pack((pipe.vae.encode(pixels).latent_dist.mean - mean) / deviation)
    noise = pack(capture.draw_noise(START))
    velocity = make_samplers.predictor(pipe, [START.prompt, START.negative], START, plain)
    trace = {"image_latents": image, "noise": noise}
    for name, part, mask, sampler in STARTS:
        levels = make_samplers.schedule("simple", int(STEPS / part), START.width, START.height)[-(STEPS + 1) :]
        trace[f"{name}/sigmas"] = torch.from_numpy(levels)
        share = None
        if mask:
            greys = torch.from_numpy(np.array(Image.open(root / "images" / mask)))
            trace[f"{name}/greys"] = greys
            size = {"size": (height, width), "mode": "bilinear"}
            share = torch.nn.functional.interpolate(greys[None, None] / 255.0, **size).expand(1, 16, height, width)
            share = trace[f"{name}/mask"] = pack(share)

        def denoised(latents, sigma):
            shown = latents
            if share is not None:
                shown = latents * share + (noise * sigma + image * (1.0 - sigma)) * (1.0 - share)
            found = shown - sigma * velocity(shown, sigma)
            return found if share is None else found * share + image * (1.0 - share)

        latents = noise * levels[0].item() + image * (1.0 - levels[0].item())
        trace[f"{name}/latents.start"] = latents
        for step, (sigma, following) in enumerate(zip(levels[:-1].tolist(), levels[1:].tolist(), strict=True)):
            slope = (latents - denoised(latents, sigma)) / sigma
            if sampler == "heun" and following > 0:
                arrived = latents + slope * (following - sigma)
                slope = (slope + (arrived - denoised(arrived, following)) / following) / 2
            latents = latents + slope * (following - sigma)
            trace[f"{name}/latents.step{step}"] = latents
        trace[f"{name}/image"] = decoded(pipe, latents, START)
        trace[f"{name}/png"] = truncated(trace[f"{name}/image"])
    st_file.write(path, trace)


def write_all(root: Path):
    tokenizer = make_tokenizer.load(root / "comfyui/tokenizer")
    write_tokens(root / "preset_comfyui.json", tokenizer, template())
    write_steps(root / "preset_comfyui.safetensors", root)
    write_starts(root / "preset_comfyui_starts.safetensors", root)


def template() -> str:
    from diffusers import QwenImagePipeline

    return QwenImagePipeline(None, None, None, None, None).prompt_template_encode


def write_real(path: Path, folder: Path):
    write_tokens(path, make_tokenizer.load(folder), template())
