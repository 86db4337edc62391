"""Runs diffusers' img2img and inpainting pipelines and records what happens inside."""

from pathlib import Path

import numpy as np
import torch
from diffusers import QwenImageImg2ImgPipeline, QwenImageInpaintPipeline
from PIL import Image

import capture
from image_cases import ImageCase


def build_pipeline(root: Path, case: ImageCase):
    base = capture.build_pipeline(root, case)
    cls = QwenImageInpaintPipeline if case.mask else QwenImageImg2ImgPipeline
    pipe = cls(**base.components)
    pipe.prompt_template_encode_start_idx = base.prompt_template_encode_start_idx
    pipe.set_progress_bar_config(disable=True)
    return pipe


def watch_encoder(recorder: capture.Recorder, vae, deep: bool):
    """The first call of each hook wins: the init image, not the masked one."""
    recorder.watch(vae.quant_conv, lambda out: {"moments": out[:, :, 0]})
    if not deep:
        return
    encoder = vae.encoder
    stages = {
        "conv_in": encoder.conv_in,
        **{f"down{i}": block for i, block in enumerate(encoder.down_blocks)},
        "mid": encoder.mid_block,
        "norm_out": encoder.norm_out,
        "conv_out": encoder.conv_out,
    }
    for name, module in stages.items():
        recorder.watch(module, lambda out, name=name: {f"vae.encoder.{name}": out[:, :, 0]})


def record_calls(pipe, name: str, calls: list):
    """Keeps the arguments and the result of every call of a method of `pipe`."""
    method = getattr(pipe, name)

    def recorded(*args, **kwargs):
        out = method(*args, **kwargs)
        calls.append((args, kwargs, out))
        return out

    setattr(pipe, name, recorded)


def run(pipe, case: ImageCase, images: Path) -> dict[str, torch.Tensor]:
    recorder = capture.Recorder()
    watch_encoder(recorder, pipe.vae, case.deep)

    passes, embeds = [], []

    def on_transformer(_module, _args, kwargs, output):
        passes.append(output[0])
        embeds.append(kwargs["encoder_hidden_states"])
        recorder.put("latents.start", kwargs["hidden_states"])

    recorder.handles.append(pipe.transformer.register_forward_hook(on_transformer, with_kwargs=True))

    encodes, images, scaled, masks, decodes = [], [], [], [], []
    record_calls(pipe.vae, "encode", encodes)
    record_calls(pipe, "_encode_vae_image", images)
    record_calls(pipe.scheduler, "scale_noise", scaled)
    record_calls(pipe.vae, "decode", decodes)
    if case.mask:
        record_calls(pipe, "prepare_mask_latents", masks)

    # The pipeline hands its latents over before it puts the masked image's back: a step's result is what
    # the next one starts from.
    inputs = []

    def on_input(_module, _args, kwargs):
        inputs.append(kwargs["hidden_states"].clone())

    recorder.handles.append(pipe.transformer.register_forward_pre_hook(on_input, with_kwargs=True))
    finals = []
    record_calls(pipe, "_unpack_latents", finals)

    extra = {"mask_image": Image.open(images / case.mask)} if case.mask else {}
    if case.mask_crop is not None:
        extra["padding_mask_crop"] = case.mask_crop
    try:
        image = pipe(
            image=Image.open(images / case.image),
            prompt=case.prompt,
            negative_prompt=case.negative,
            true_cfg_scale=case.cfg,
            strength=case.strength,
            width=case.width,
            height=case.height,
            num_inference_steps=case.steps,
            generator=torch.Generator("cpu").manual_seed(case.seed),
            **extra,
        ).images[0]
    finally:
        recorder.close()

    guided = case.negative is not None and case.cfg > 1
    per_step = 2 if guided else 1
    steps = len(passes) // per_step
    final = finals[-1][0][0]
    after = inputs[per_step::per_step] + [final]
    assert len(after) == steps

    (sample, _, noise), *_ = [call[0] for call in scaled]
    trace = dict(recorder.tensors)
    trace["start"] = torch.tensor([case.steps - steps])
    trace["pixels"] = encodes[0][0][0][:, :, 0]
    trace["image_latents"] = images[0][2][:, :, 0]
    assert torch.equal(trace["image_latents"], sample.reshape(trace["image_latents"].shape))
    trace["noise"] = noise
    trace["sigmas"] = pipe.scheduler.sigmas
    if case.mask:
        # Packed, one value for each element of a token.
        trace["mask"] = masks[0][2][0]
    trace["prompt_embeds"] = embeds[0]
    trace["step0.cond"] = passes[0]
    if guided:
        trace["negative_prompt_embeds"] = embeds[1]
        trace["step0.uncond"] = passes[1]
    for i, value in enumerate(after):
        trace[f"latents.step{i}"] = value
    trace["latents.final"] = final
    trace["image"] = decodes[0][2][0][:, :, 0]
    trace["png"] = torch.from_numpy(np.array(image))
    return trace
