"""The three models at the demo's sizes, and how their weights start."""

import torch
from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

TEXT_HIDDEN = 128
SPECIAL_IDS = ["endoftext", "im_end", "image_pad", "video_pad", "vision_start", "vision_end"]

FULL = dict(heads=5, head_dim=32, axes=(4, 14, 14), layers=7, text_layers=3, intermediate=320, vae=12)
SMOKE = dict(heads=2, head_dim=16, axes=(4, 6, 6), layers=2, text_layers=1, intermediate=64, vae=4)


def transformer(size: dict) -> QwenImageTransformer2DModel:
    model = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=64,
        out_channels=16,
        num_layers=size["layers"],
        attention_head_dim=size["head_dim"],
        num_attention_heads=size["heads"],
        joint_attention_dim=TEXT_HIDDEN,
        axes_dims_rope=size["axes"],
    )
    # Every block starts as the identity and the prediction as zero.
    for name, parameter in model.named_parameters():
        if "_mod.1." in name or name.startswith(("norm_out.", "proj_out.")):
            torch.nn.init.zeros_(parameter)
    return model


def text_encoder(size: dict, tokenizer) -> Qwen2_5_VLForConditionalGeneration:
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in SPECIAL_IDS}
    config = Qwen2_5_VLConfig(
        text_config=dict(
            vocab_size=-(-len(tokenizer) // 16) * 16,
            hidden_size=TEXT_HIDDEN,
            intermediate_size=size["intermediate"],
            num_hidden_layers=size["text_layers"],
            num_attention_heads=4,
            num_key_value_heads=2,
            rms_norm_eps=1e-6,
            max_position_embeddings=4096,
            rope_parameters=dict(rope_theta=1000000.0, rope_type="default", mrope_section=[8, 4, 4]),
            bos_token_id=ids["endoftext"],
            eos_token_id=ids["im_end"],
        ),
        vision_config=dict(
            depth=2, hidden_size=16, intermediate_size=24, num_heads=2, patch_size=4, window_size=16,
            out_hidden_size=TEXT_HIDDEN, fullatt_block_indexes=[1],
        ),
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
    )  # fmt: skip
    model = Qwen2_5_VLForConditionalGeneration(config).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "language_model.layers" in name and parameter.ndim == 2:
                parameter.normal_(0, parameter.shape[1] ** -0.5 * 0.8)
            elif "embed_tokens" in name:
                parameter.normal_(0, 0.3)
        model.lm_head.weight.zero_()  # unused: no text is written
    return model


def vae(size: dict, mean=None, std=None) -> AutoencoderKLQwenImage:
    extra = {} if mean is None else dict(latents_mean=mean, latents_std=std)
    model = AutoencoderKLQwenImage(
        base_dim=size["vae"], z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2,
        temperal_downsample=[False, True, True], **extra,
    )  # fmt: skip
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "time_conv" in name:
                parameter.zero_()
            elif parameter.ndim == 5:  # a single frame sees the last tap only
                parameter[:, :, :-1].zero_()
                fan_in = parameter[0, :, -1].numel()
                parameter[:, :, -1].normal_(0, fan_in**-0.5)
    return model
