"""Samplers and schedules: what diffusers' schedulers make of given noise levels and velocities."""

from pathlib import Path

import numpy as np
import scipy.stats
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from diffusers.pipelines.qwenimage.pipeline_qwenimage import calculate_shift, retrieve_timesteps

import capture
import layouts
import st_file
from cases import Case
from make_numbers import short, write_rows

TRAIN_STEPS = 1000
COMFYUI_SHIFT = 3.1

# schedule, steps, width, height
SCHEDULES = [
    ("dynamic", 20, 1024, 1024),
    ("dynamic-beta", 2, 512, 512),
    ("dynamic-beta", 20, 1024, 1024),
    ("dynamic-beta", 50, 1328, 1328),
    ("dynamic-karras", 2, 512, 512),
    ("dynamic-karras", 20, 1024, 1024),
    ("dynamic-exponential", 20, 1328, 1328),
    ("shift=1", 7, 1024, 1024),
    ("shift=3", 4, 1024, 1024),
    ("shift=3.1", 1, 1024, 1024),
    ("shift=0.5", 5, 1024, 1024),
    ("simple", 1, 1024, 1024),
    ("simple", 20, 1024, 1024),
    ("simple=3", 4, 1024, 1024),
    ("simple=1", 30, 1024, 1024),
    ("simple", 333, 1024, 1024),
    ("beta", 1, 1024, 1024),
    ("beta", 8, 1024, 1024),
    ("beta=1", 20, 1024, 1024),
    ("beta=2.5", 50, 1024, 1024),
    ("beta", 400, 1024, 1024),
    ("sigmas=1,0.9,0.5,0.02", 4, 1024, 1024),
]

# Levels for the samplers, without the 0 in the end: a name of the rows above, or a list.
LEVELS = [
    ("dynamic", 20),
    ("simple", 8),
    ("beta", 6),
    [1.0],
    [1.0, 0.4],
    # Unequal steps; a short one before a long one would only multiply float32's own error.
    [1.0, 0.9, 0.85, 0.8, 0.3, 0.01],
    # As of an image that is changed a little: not from noise.
    [0.83, 0.7, 0.45, 0.31, 0.1],
]

# Changes to Qwen-Image's scheduler_config.json, and the steps of an image of 1024x512 pixels.
FOLDERS = [
    ({}, 7),
    ({"use_beta_sigmas": True}, 7),
    ({"use_karras_sigmas": True}, 7),
    ({"use_exponential_sigmas": True}, 7),
    ({"time_shift_type": "linear"}, 7),
    ({"time_shift_type": "linear", "shift_terminal": None, "use_beta_sigmas": True}, 4),
    ({"shift_terminal": 0}, 5),
    ({"shift_terminal": 0.1}, 5),
    ({"use_dynamic_shifting": False, "shift": 3.0}, 6),
    ({"use_dynamic_shifting": False, "shift": 3.0, "shift_terminal": None}, 6),
    ({"base_shift": 0.3, "max_shift": 1.6, "base_image_seq_len": 100, "max_image_seq_len": 3000}, 5),
    # Of a file that says next to nothing, the rest is what diffusers has it to be.
    (None, 6),
    ({"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True, "prediction_type": "flow_prediction"}, 7),
    (
        {
            "_class_name": "UniPCMultistepScheduler",
            "use_flow_sigmas": True,
            "prediction_type": "flow_prediction",
            "use_dynamic_shifting": False,
            "flow_shift": 3.0,
            "shift": 5.0,
            "shift_terminal": None,
        },
        7,
    ),
    (
        {
            "_class_name": "UniPCMultistepScheduler",
            "use_flow_sigmas": True,
            "prediction_type": "flow_prediction",
            "time_shift_type": "linear",
        },
        4,
    ),
]

SAMPLERS = ["euler", "heun", "dpmpp2m", "unipc"]

# What the tiny transformer is sent through. Its embeddings and noise are those of the case's trace.
CASE = Case("odd_grid", width=80, height=48, seed=7)
CASE_LEVELS = ("simple", 5)


def schedule(name: str, steps: int, width: int, height: int) -> np.ndarray:
    """All levels of a schedule, with the 0 in the end."""
    kind, _, value = name.partition("=")
    if kind == "sigmas":
        return np.array([float(word) for word in value.split(",")] + [0.0], dtype=np.float32)
    if kind in ("simple", "beta"):
        return from_table(kind, float(value or COMFYUI_SHIFT), steps)
    config = dict(layouts.SCHEDULER)
    if kind == "shift":
        config |= {"use_dynamic_shifting": False, "shift": float(value), "shift_terminal": None}
    if kind.startswith("dynamic-"):
        config |= {f"use_{kind.removeprefix('dynamic-')}_sigmas": True}
    tokens = (width // 16) * (height // 16)
    mu = calculate_shift(
        tokens,
        config["base_image_seq_len"],
        config["max_image_seq_len"],
        config["base_shift"],
        config["max_shift"],
    )
    scheduler = FlowMatchEulerDiscreteScheduler(**config)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
    return scheduler.sigmas.numpy()


def folder_schedule(config: dict, steps: int, width: int, height: int) -> np.ndarray:
    """The levels that diffusers' pipeline gets of a folder's scheduler."""
    classes = {kind.__name__: kind for kind in (FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler)}
    scheduler = classes[config["_class_name"]].from_config(config)
    get = scheduler.config.get
    mu = calculate_shift(
        (width // 16) * (height // 16),
        get("base_image_seq_len", 256),
        get("max_image_seq_len", 4096),
        get("base_shift", 0.5),
        get("max_shift", 1.15),
    )
    retrieve_timesteps(scheduler, sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
    return scheduler.sigmas.numpy()


def from_table(kind: str, shift: float, steps: int) -> np.ndarray:
    """ComfyUI's choice among the shifted training steps, written anew from its description."""
    times = torch.arange(1, TRAIN_STEPS + 1) / TRAIN_STEPS
    table = shift * times / (1 + (shift - 1) * times)
    if kind == "simple":
        chosen = [TRAIN_STEPS - 1 - int(step * (TRAIN_STEPS / steps)) for step in range(steps)]
    else:
        quantiles = scipy.stats.beta.ppf(1 - np.arange(steps) / steps, 0.6, 0.6)
        chosen = list(dict.fromkeys(np.rint(quantiles * (TRAIN_STEPS - 1)).astype(int).tolist()))
    return np.append(table[chosen].numpy(), np.float32(0))


def prepare(sampler: str, sigmas: np.ndarray):
    """The scheduler that defines a sampler, with exactly these levels, and how often it steps."""
    steps = len(sigmas) - 1
    levels = torch.from_numpy(sigmas)
    times = levels[:-1] * TRAIN_STEPS
    if sampler == "euler":
        scheduler = FlowMatchEulerDiscreteScheduler()
        scheduler.set_timesteps(sigmas=sigmas[:-1])
    elif sampler == "heun":
        scheduler = FlowMatchHeunDiscreteScheduler()
        scheduler.set_timesteps(steps)
        scheduler.sigmas = torch.cat([levels[:1], levels[1:-1].repeat_interleave(2), levels[-1:]])
        times = torch.cat([times[:1], times[1:].repeat_interleave(2)])
    elif sampler == "dpmpp2m":
        scheduler = DPMSolverMultistepScheduler(
            use_flow_sigmas=True, prediction_type="flow_prediction", algorithm_type="dpmsolver++", solver_order=2
        )
        scheduler.set_timesteps(steps)
        scheduler.sigmas = levels.double()
    else:
        scheduler = UniPCMultistepScheduler(
            use_flow_sigmas=True, prediction_type="flow_prediction", solver_type="bh2", solver_order=2
        )
        scheduler.set_timesteps(sigmas=sigmas[:-1].astype(np.float64))
        # Its own float32 levels, with the coefficients in double precision.
        scheduler.sigmas = scheduler.sigmas.double()
    scheduler.timesteps = times
    scheduler.set_begin_index(0)
    return scheduler


def sample(sampler: str, sigmas: np.ndarray, latents: torch.Tensor, velocity) -> list[torch.Tensor]:
    """The latents after every step between two levels."""
    scheduler = prepare(sampler, sigmas)
    # The second call of a step of Heun's method is at the level that the first went to.
    calls = [0] + [i for i in range(1, len(sigmas) - 1) for _ in range(2 if sampler == "heun" else 1)]
    after = []
    for call, index in enumerate(calls):
        latents = scheduler.step(
            velocity(latents, float(sigmas[index])), scheduler.timesteps[call], latents, return_dict=False
        )[0]
        if sampler != "heun" or scheduler.state_in_first_order:
            after.append(latents)
    # The last step of Heun's method is one of Euler, after which the scheduler awaits a second call.
    if sampler == "heun":
        after.append(latents)
    assert len(after) == len(sigmas) - 1
    return after


def known_velocity(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Bends in both variables, and couples neighbours."""
    return torch.sin(3 * x + 2 * sigma) + 0.5 * sigma * x.roll(1, -1) - 0.3 * x


def write_schedules(path: Path):
    rows = []
    for name, steps, width, height in SCHEDULES:
        sigmas = schedule(name, steps, width, height)
        rows.append(
            {
                "schedule": name,
                "steps": steps,
                "width": width,
                "height": height,
                "sigmas": [short(value) for value in sigmas],
            }
        )
    write_rows(path, rows)


def write_folders(path: Path):
    width, height = 1024, 512
    rows = []
    for changes, steps in FOLDERS:
        published = {"_class_name": "FlowMatchEulerDiscreteScheduler", **layouts.SCHEDULER}
        config = {"_class_name": published["_class_name"]} if changes is None else {**published, **changes}
        sigmas = folder_schedule(config, steps, width, height)
        rows.append(
            {
                "config": config,
                "steps": steps,
                "width": width,
                "height": height,
                "sigmas": [short(value) for value in sigmas],
            }
        )
    write_rows(path, rows)


def write_steps(path: Path):
    generator = torch.Generator("cpu").manual_seed(3)
    start = torch.randn(8, generator=generator)
    rows = []
    for levels in LEVELS:
        if isinstance(levels, tuple):
            sigmas = schedule(*levels, 1024, 1024)
        else:
            sigmas = np.array([*levels, 0.0], dtype=np.float32)
        for sampler in SAMPLERS:
            after = sample(sampler, sigmas, start.double().reshape(1, 2, 4), known_velocity)
            rows.append(
                {
                    "sampler": sampler,
                    "sigmas": [short(value) for value in sigmas],
                    "start": [short(value) for value in start.numpy()],
                    "latents": [[float(f"{value:.9g}") for value in step.flatten()] for step in after],
                }
            )
    write_rows(path, rows)


def predictor(pipe, prompts: list[str], case: Case, guide):
    """The tiny transformer's guided velocity."""
    shapes = [[(1, case.height // 16, case.width // 16)]]
    embeds = [pipe.encode_prompt(prompt)[0] for prompt in prompts]

    def velocity(latents: torch.Tensor, sigma: float) -> torch.Tensor:
        predictions = [
            pipe.transformer(
                hidden_states=latents,
                timestep=torch.tensor([sigma]),
                encoder_hidden_states=embed,
                encoder_hidden_states_mask=None,
                img_shapes=shapes,
                return_dict=False,
            )[0]
            for embed in embeds
        ]
        return guide(*predictions, case.cfg)

    return velocity


def renormalised(cond, uncond, scale):
    combined = uncond + scale * (cond - uncond)
    return combined * (cond.norm(dim=-1, keepdim=True) / combined.norm(dim=-1, keepdim=True))


@torch.no_grad()
def write_transformer_steps(path: Path, root: Path):
    pipe = capture.build_pipeline(root, CASE)
    noise = capture.draw_noise(CASE)
    height, width = capture.latent_size(CASE)
    start = pipe._pack_latents(noise, 1, 16, height, width)
    sigmas = schedule(*CASE_LEVELS, CASE.width, CASE.height)
    velocity = predictor(pipe, [CASE.prompt, CASE.negative], CASE, renormalised)
    tensors = {"sigmas": torch.from_numpy(sigmas)}
    for sampler in SAMPLERS:
        after = sample(sampler, sigmas, start, velocity)
        tensors |= {f"{sampler}/latents.step{i}": latents for i, latents in enumerate(after)}
    st_file.write(path, tensors)


def write_all(root: Path):
    write_schedules(root / "schedules.json")
    write_folders(root / "scheduler_folders.json")
    write_steps(root / "samplers.json")
    write_transformer_steps(root / "samplers.safetensors", root)
