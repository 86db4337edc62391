"""Runs QwenImagePipeline on a checkpoint and records what happens inside."""

from pathlib import Path

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, QwenImagePipeline

import dequant
import layouts
import make_tokenizer
import stored_models
import tiny_models
from cases import STORED, Case

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


def locate(root: Path, file: str) -> Path:
    """Files outside the fixtures are the repository's own, whatever folder the fixtures are written to."""
    return (FIXTURES if file.startswith("..") else root) / file


def build_pipeline(root: Path, case: Case) -> QwenImagePipeline:
    """The pipeline in float32, with exactly the weights that the case's files stand for."""
    tokenizer = make_tokenizer.load(locate(root, case.files["tokenizer"]))
    paths = {part: [locate(root, file) for file in case.files[part]] for part in ("transformer", "text_encoder", "vae")}
    if case.model == STORED:
        transformer = stored_models.transformer(*paths["transformer"])
        text = stored_models.text_encoder(*paths["text_encoder"])
        vae = stored_models.vae(*paths["vae"])
    else:
        transformer = tiny_models.transformer(case.model)
        text = tiny_models.text_encoder(case.text_model, tokenizer)
        vae = tiny_models.vae()
    dequant.load_transformer(transformer, paths["transformer"])
    dequant.load_text_encoder(text, paths["text_encoder"])
    dequant.load_vae(vae, paths["vae"])
    pipe = QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**scheduler_config(case)),
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        transformer=transformer,
    )
    # 34 for the real tokenizer: the length of the template up to the prompt.
    pipe.prompt_template_encode_start_idx = len(tokenizer(template_prefix(pipe)).input_ids)
    pipe.set_progress_bar_config(disable=True)
    fuse_loras(pipe, [(locate(root, file), weight) for file, weight in case.loras])
    return pipe


def scheduler_config(case: Case) -> dict:
    return {**layouts.SCHEDULER, **(layouts.LIGHTNING if case.lightning else {})}


def fuse_loras(pipe, loras: list[tuple[Path, float]]):
    """Adds adapters to the transformer's float32 weights, by diffusers' own reader of the files."""
    if not loras:
        return
    pipe.before_loras = {name: value.clone() for name, value in pipe.transformer.state_dict().items()}
    names = [f"lora{i}" for i in range(len(loras))]
    for name, (path, _) in zip(names, loras):
        pipe.load_lora_weights(path.parent, weight_name=path.name, adapter_name=name)
    pipe.set_adapters(names, [weight for _, weight in loras])
    pipe.fuse_lora(adapter_names=names)
    pipe.unload_lora_weights()


def template_prefix(pipe) -> str:
    return pipe.prompt_template_encode.split("{}")[0]


def latent_size(case: Case) -> tuple[int, int]:
    return 2 * (case.height // 16), 2 * (case.width // 16)


def draw_noise(case: Case) -> torch.Tensor:
    height, width = latent_size(case)
    return torch.randn((1, 1, 16, height, width), generator=torch.Generator("cpu").manual_seed(case.seed))


class Recorder:
    """Collects named tensors from forward hooks; the first call of a hook wins.

    The first call is the conditional pass of the first step, and the conditional prompt.
    """

    def __init__(self):
        self.tensors: dict[str, torch.Tensor] = {}
        self.handles = []

    def put(self, name: str, value: torch.Tensor):
        self.tensors.setdefault(name, value.detach().clone())

    def watch(self, module, store):
        """`store(output)` gives the names and tensors to keep of a module's output."""

        def hook(_module, _inputs, output):
            for name, value in store(output).items():
                self.put(name, value)

        self.handles.append(module.register_forward_hook(hook))

    def close(self):
        for handle in self.handles:
            handle.remove()


def watch_text(recorder: Recorder, pipe):
    recorder.watch(
        pipe.text_encoder,
        lambda out: {f"text.hidden{i}": state for i, state in enumerate(out.hidden_states)},
    )


def watch_transformer(recorder: Recorder, pipe):
    model = pipe.transformer
    for name, module in {
        "time_proj": model.time_text_embed.time_proj,
        "temb": model.time_text_embed,
        "img_in": model.img_in,
        "txt_in": model.txt_in,
        "norm_out": model.norm_out,
    }.items():
        recorder.watch(module, lambda out, name=name: {f"transformer.{name}": out})
    recorder.watch(
        model.pos_embed,
        lambda out: {"rope.img": torch.view_as_real(out[0]), "rope.txt": torch.view_as_real(out[1])},
    )
    for i, block in enumerate(model.transformer_blocks):
        recorder.watch(
            block,
            lambda out, i=i: {f"transformer.block{i}.txt": out[0], f"transformer.block{i}.img": out[1]},
        )


def watch_vae(recorder: Recorder, pipe):
    vae = pipe.vae
    stages = {
        "post_quant_conv": vae.post_quant_conv,
        "conv_in": vae.decoder.conv_in,
        "mid": vae.decoder.mid_block,
        **{f"up{i}": block for i, block in enumerate(vae.decoder.up_blocks)},
        "norm_out": vae.decoder.norm_out,
    }
    for name, module in stages.items():
        recorder.watch(module, lambda out, name=name: {f"vae.{name}": out[:, :, 0]})


WATCHERS = {"text": watch_text, "transformer": watch_transformer, "vae": watch_vae}


def tokenize(pipe, prompt: str) -> torch.Tensor:
    drop = pipe.prompt_template_encode_start_idx
    return pipe.tokenizer(
        [pipe.prompt_template_encode.format(prompt)],
        max_length=pipe.tokenizer_max_length + drop,
        truncation=True,
        return_tensors="pt",
    ).input_ids


def run(pipe: QwenImagePipeline, case: Case, given_noise: bool = False) -> dict[str, torch.Tensor]:
    """One generation; every tensor that the trace of a case holds.

    With `given_noise` the pipeline gets the float32 noise instead of drawing its own, which in
    another precision would be other numbers.
    """
    height, width = latent_size(case)
    noise = draw_noise(case)
    start = pipe._pack_latents(noise, 1, 16, height, width)
    recorder = Recorder()
    for part in case.deep:
        WATCHERS[part](recorder, pipe)

    passes, embeds, first_input = [], [], []

    def on_transformer(_module, _args, kwargs, output):
        passes.append(output[0])
        embeds.append(kwargs["encoder_hidden_states"])
        first_input.append(kwargs["hidden_states"])

    recorder.handles.append(pipe.transformer.register_forward_hook(on_transformer, with_kwargs=True))

    decoded = []
    decode = pipe.vae.decode

    def on_decode(*args, **kwargs):
        out = decode(*args, **kwargs)
        decoded.append(out[0][:, :, 0])
        return out

    pipe.vae.decode = on_decode

    latents = []

    def on_step(_pipe, _step, _time, state):
        latents.append(state["latents"])
        return state

    try:
        image = pipe(
            prompt=case.prompt,
            negative_prompt=case.negative,
            true_cfg_scale=case.cfg,
            width=case.width,
            height=case.height,
            num_inference_steps=case.steps,
            generator=torch.Generator("cpu").manual_seed(case.seed),
            latents=start if given_noise else None,
            callback_on_step_end=on_step,
        ).images[0]
    finally:
        del pipe.vae.decode  # uncovers the class's own method again
        recorder.close()

    guided = case.negative is not None and case.cfg > 1
    assert len(passes) == case.steps * (2 if guided else 1)
    assert torch.equal(start.to(first_input[0].dtype), first_input[0])

    trace = {"input_ids": tokenize(pipe, case.prompt)}
    if guided:
        trace["negative_input_ids"] = tokenize(pipe, case.negative)
    trace["prompt_embeds"] = embeds[0]
    if guided:
        trace["negative_prompt_embeds"] = embeds[1]
    trace["noise"] = noise
    trace["sigmas"] = pipe.scheduler.sigmas
    trace["step0.cond"] = passes[0]
    if guided:
        trace["step0.uncond"] = passes[1]
    for i, value in enumerate(latents):
        trace[f"latents.step{i}"] = value
    trace["latents.final"] = latents[-1]
    trace["image"] = decoded[0]
    trace["png"] = torch.from_numpy(np.array(image))
    return trace | recorder.tensors
