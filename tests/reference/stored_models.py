"""Models of the sizes that the files' own metadata state, as the demo model's files do."""

import inspect
import json
from pathlib import Path

from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel
from safetensors import safe_open
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration


def config(path: Path) -> dict:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["config"])


def build(cls, path: Path):
    """The file may state more than the class takes, such as the size to draw by default."""
    known = inspect.signature(cls.__init__).parameters
    return cls(**{key: value for key, value in config(path).items() if key in known}).eval()


def transformer(path: Path) -> QwenImageTransformer2DModel:
    return build(QwenImageTransformer2DModel, path)


def text_encoder(path: Path) -> Qwen2_5_VLForConditionalGeneration:
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**config(path))).eval()


def vae(path: Path) -> AutoencoderKLQwenImage:
    return build(AutoencoderKLQwenImage, path)
