"""Key names: diffusers/transformers modules on one side, single-file checkpoints on the other."""

import re

RESNET_PARTS = {
    "norm1": "residual.0",
    "conv1": "residual.2",
    "norm2": "residual.3",
    "conv2": "residual.6",
    "conv_shortcut": "shortcut",
}
TOP_PARTS = {"quant_conv": "conv1", "post_quant_conv": "conv2"}
CODER_PARTS = {"conv_in": "conv1", "norm_out": "head.0", "conv_out": "head.2"}
MIDDLE_PARTS = {"resnets.0": "middle.0", "attentions.0": "middle.1", "resnets.1": "middle.2"}

# A stage of the decoder is three residual blocks and one upsampler, in one flat list.
DECODER_STAGE = 4


def wan_vae_key(key: str) -> str:
    """The Wan-native name of a diffusers VAE tensor."""
    head, rest = key.split(".", 1)
    if head in TOP_PARTS:
        return f"{TOP_PARTS[head]}.{rest}"
    if match := re.fullmatch(r"mid_block\.(\w+\.\d)\.(.+)", rest):
        rest = f"{MIDDLE_PARTS[match[1]]}.{residual_part(match[2])}"
    elif match := re.fullmatch(r"down_blocks\.(\d+)\.(.+)", rest):
        rest = f"downsamples.{match[1]}.{residual_part(match[2])}"
    elif match := re.fullmatch(r"up_blocks\.(\d+)\.(resnets|upsamplers)\.(\d+)\.(.+)", rest):
        place = int(match[3]) if match[2] == "resnets" else DECODER_STAGE - 1
        rest = f"upsamples.{DECODER_STAGE * int(match[1]) + place}.{residual_part(match[4])}"
    else:
        part, leaf = rest.rsplit(".", 1)
        rest = f"{CODER_PARTS[part]}.{leaf}"
    return f"{head}.{rest}"


def residual_part(name: str) -> str:
    part, leaf = name.rsplit(".", 1)
    return f"{RESNET_PARTS.get(part, part)}.{leaf}"


def single_file_text_key(key: str) -> str:
    """The published name of a text-encoder tensor, from the name of the module in memory."""
    return key.replace("model.language_model.", "model.", 1).replace("model.visual.", "visual.", 1)
