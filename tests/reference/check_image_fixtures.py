"""Shows that the fixtures that begin with an image can tell a right port from a wrong one. Writes nothing.

Prints how far each of a list of porting mistakes moves the results of the cases that must notice it.
"""

import argparse
import sys
from pathlib import Path
from unittest.mock import patch

import torch
from diffusers.image_processor import VaeImageProcessor
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image

import capture_image
from check_fixtures import difference, floats, tolerance
from image_cases import CASES
from mistakes import Mistake

CHANGED = ("img2img", "demo_img2img")
MASKED = ("inpaint", "demo_inpaint")
CROPPED = ("inpaint_crop", "inpaint_crop_filled")


def centre_tap(pipe, _stack):
    for module in pipe.vae.encoder.modules():
        if isinstance(module, torch.nn.Conv3d) and module.kernel_size[0] == 3:
            module.weight.data = module.weight.data.roll(1, 2)


def padding_left_and_above(pipe, _stack):
    for module in pipe.vae.encoder.modules():
        if isinstance(module, torch.nn.ZeroPad2d):
            module.padding = (1, 0, 1, 0)


def mode_instead_of_sample(_pipe, stack):
    mode = DiagonalGaussianDistribution.mode
    stack.enter_context(patch.object(DiagonalGaussianDistribution, "sample", lambda self, generator=None: mode(self)))


def variance_as_deviation(_pipe, stack):
    right = DiagonalGaussianDistribution.__init__

    def wrong(self, parameters, deterministic=False):
        right(self, parameters, deterministic)
        self.std = self.var

    stack.enter_context(patch.object(DiagonalGaussianDistribution, "__init__", wrong))


def not_normalised(pipe, stack):
    config = pipe.vae.config
    right = pipe._encode_vae_image

    def wrong(image, generator):
        shape = (1, config.z_dim, 1, 1, 1)
        mean, std = (torch.tensor(values).view(shape) for values in (config.latents_mean, config.latents_std))
        return right(image=image, generator=generator) * std + mean

    stack.enter_context(patch.object(pipe, "_encode_vae_image", wrong))


def one_step_later(pipe, stack):
    right = pipe.get_timesteps
    stack.enter_context(
        patch.object(pipe, "get_timesteps", lambda steps, strength, device: right(steps, strength - 1 / steps, device))
    )


def kept_part_without_noise(pipe, stack):
    right, calls = pipe.scheduler.scale_noise, []

    def wrong(sample, timestep, noise):
        calls.append(None)
        return right(sample, timestep, noise) if len(calls) == 1 else sample

    stack.enter_context(patch.object(pipe.scheduler, "scale_noise", wrong))


def white_is_kept(pipe, stack):
    right = pipe.mask_processor.preprocess
    stack.enter_context(
        patch.object(pipe.mask_processor, "preprocess", lambda *args, **kwargs: 1 - right(*args, **kwargs))
    )


def greys_blend(pipe, _stack):
    pipe.mask_processor.register_to_config(do_binarize=False)


def padding_doubled(pipe, stack):
    right = pipe.mask_processor.get_crop_region
    stack.enter_context(
        patch.object(pipe.mask_processor, "get_crop_region", lambda *args, pad: right(*args, pad=2 * pad + 1))
    )


def stretched_instead_of_filled(_pipe, stack):
    wrong = lambda self, image, width, height: image.resize((width, height), Image.Resampling.LANCZOS)
    stack.enter_context(patch.object(VaeImageProcessor, "_resize_and_fill", wrong))


MISTAKES = [
    Mistake("centre temporal tap", centre_tap, CHANGED),
    Mistake("padding left and above", padding_left_and_above, CHANGED),
    Mistake("mode instead of sample", mode_instead_of_sample, CHANGED),
    Mistake("variance as deviation", variance_as_deviation, CHANGED),
    Mistake("latents not normalised", not_normalised, CHANGED),
    Mistake("one step later", one_step_later, CHANGED),
    Mistake("kept part without noise", kept_part_without_noise, MASKED),
    Mistake("white is kept", white_is_kept, MASKED),
    Mistake("greys blend", greys_blend, MASKED),
    Mistake("padding doubled", padding_doubled, CROPPED[:1]),
    Mistake("stretched instead of filled", stretched_instead_of_filled, CROPPED[1:]),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fixtures", type=Path, default=Path(__file__).parent.parent / "fixtures")
    args = parser.parse_args()
    torch.set_num_threads(1)

    cases = {case.name: case for case in CASES}

    def run(name, mistake=None):
        pipe = capture_image.build_pipeline(args.fixtures, cases[name])
        images = args.fixtures / "images"
        if mistake is None:
            return floats(capture_image.run(pipe, cases[name], images))
        with mistake.made_in(pipe):
            return floats(capture_image.run(pipe, cases[name], images))

    references = {name: run(name) for name in (*CHANGED, *MASKED, *CROPPED)}
    failures = []
    for mistake in MISTAKES:
        for name in mistake.cases:
            wrong = run(name, mistake)
            gaps = {key: difference(value, wrong[key]) for key, value in references[name].items() if key in wrong}
            shown = "  ".join(f"{key} {gaps[key]:.1e}" for key in ("latents.start", "latents.final", "image"))
            print(f"{mistake.name:26} {name:14} {shown}")
            if not any(gap > 10 * tolerance(key) for key, gap in gaps.items()):
                failures.append(f"{mistake.name} goes unnoticed in {name}")
    for failure in failures:
        print("FAILED:", failure)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
