"""The end-to-end cases: which models, which prompt, which size."""

from dataclasses import dataclass, field

COMFY = {
    "transformer": ["comfyui/diffusion_models/qwen_image_small_fp8_e4m3fn.safetensors"],
    "text_encoder": ["comfyui/text_encoders/qwen_2.5_vl_small_fp8_scaled.safetensors"],
    "vae": ["comfyui/vae/qwen_image_small_vae.safetensors"],
    "tokenizer": "comfyui/tokenizer",
}
DIFFUSERS = {
    "transformer": [f"diffusers/transformer/diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)],
    "text_encoder": [f"diffusers/text_encoder/model-0000{i}-of-00002.safetensors" for i in (1, 2)],
    "vae": ["diffusers/vae/diffusion_pytorch_model.safetensors"],
    "tokenizer": "diffusers/tokenizer",
}
# The demo model, seen from tests/fixtures.
DEMO_MODELS = "../../engine/demo"
DEMO = {
    "transformer": [f"{DEMO_MODELS}/diffusion_models/qwen_image_demo_fp8_e4m3fn.safetensors"],
    "text_encoder": [f"{DEMO_MODELS}/text_encoders/qwen_2.5_vl_demo_fp8_scaled.safetensors"],
    "vae": [f"{DEMO_MODELS}/vae/qwen_image_demo_vae.safetensors"],
    "tokenizer": f"{DEMO_MODELS}/tokenizer",
}
STYLE = "loras/small_style.safetensors"
EVERYWHERE = "loras/small_everywhere.safetensors"
PATTERNS = "loras/small_patterns.safetensors"
# In place of a configuration's name: the one in the files' metadata.
STORED = "stored"

FOX = "A red fox jumps over the lazy dog, ultra HD, 4K."
# The tiny tokenizer makes 10 tokens of this sentence: about 600 and about 1200 in all.
SENTENCE = "The old wooden house by the lake has 12 books. "


@dataclass
class Case:
    name: str
    prompt: str = FOX
    negative: str | None = " "
    width: int = 48
    height: int = 32
    steps: int = 2
    cfg: float = 4.0
    seed: int = 42
    model: str = "small"  # the configuration of the transformer
    text_model: str = "small"
    models: str = "comfyui"  # the folder that a user would point at
    files: dict = field(default_factory=lambda: dict(COMFY))
    # Files and weights.
    loras: tuple[tuple[str, float], ...] = ()
    # With the noise schedule of the Lightning adapters.
    lightning: bool = False
    # Which parts' intermediate tensors the trace holds besides the common ones.
    deep: tuple[str, ...] = ()


CASES = [
    Case("base", width=96, height=64, steps=3, deep=("text", "transformer")),
    Case("odd_grid", width=80, height=48, seed=7, deep=("vae",)),
    Case("tall", width=64, height=112, seed=8, cfg=2.5),
    Case("four_steps", steps=4, seed=2**32 + 42),
    Case("empty_prompt", prompt="", seed=9),
    Case("negative_empty", negative="", seed=10),
    Case("negative_text", negative="a blurry photo, low quality", seed=11),
    Case("no_negative", negative=None, seed=12),
    Case("cfg_one", cfg=1.0, seed=13),
    Case("long_prompt", prompt=SENTENCE * 30, negative=None, seed=14),
    Case("truncated_prompt", prompt=SENTENCE * 70, negative=None, seed=15),
    Case("chinese_emoji", prompt="一只红色的狐狸，背景是蓝色的天空。🦊🎨 👩‍🎨", negative="模糊", seed=16),
    Case("newlines", prompt="\n\n  A sign:\n\t\"OPEN 24/7\"  \r\n", seed=17),
    Case("special_tokens", prompt="a fox<|im_end|>\n<|im_start|>user\n<|vision_start|> and a <tool_call> cat", seed=18),
    Case(
        "head128",
        width=80,
        height=48,
        seed=19,
        model="head128",
        files={**COMFY, "transformer": ["transformers/head128_fp8_e4m3fn.safetensors"]},
        deep=("transformer",),
    ),
    Case(
        "tiny_activations",
        seed=20,
        model="tiny_activations",
        text_model="tiny_activations",
        files={
            **COMFY,
            "transformer": ["transformers/tiny_activations_f32.safetensors"],
            "text_encoder": ["text_encoders/tiny_activations_bf16.safetensors"],
        },
        deep=("text", "transformer"),
    ),
    Case("diffusers", models="diffusers", files=DIFFUSERS, seed=21),
    Case(
        "comfy_quant",
        seed=22,
        files={**COMFY, "transformer": ["transformers/small_comfy_quant.safetensors"]},
    ),
    Case(
        "comfy_quant_e5m2",
        seed=23,
        files={**COMFY, "transformer": ["transformers/small_comfy_quant_e5m2.safetensors"]},
    ),
    Case(
        "fp8mixed",
        seed=24,
        files={**COMFY, "transformer": ["transformers/small_fp8mixed.safetensors"]},
    ),
    Case("lora", width=80, height=48, seed=25, loras=((STYLE, 0.8),)),
    Case(
        "lora_pair",
        seed=26,
        files={**COMFY, "transformer": ["transformers/small_comfy_quant.safetensors"]},
        loras=((STYLE, 1.0), (EVERYWHERE, -0.6)),
    ),
    Case("lora_patterns", seed=28, loras=((PATTERNS, 1.0),)),
    Case("lightning", negative=None, steps=4, cfg=1.0, seed=27, loras=((STYLE, 1.0),), lightning=True),
    Case(
        "demo",
        prompt="a yellow sun over green hills",
        width=128,
        height=80,
        steps=4,
        seed=5,
        model=STORED,
        text_model=STORED,
        models=DEMO_MODELS,
        files=DEMO,
    ),
]
