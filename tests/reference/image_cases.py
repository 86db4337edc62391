"""The cases that begin with an image: img2img, and inpainting where there is a mask."""

from dataclasses import dataclass, field

from cases import COMFY, DEMO, DEMO_MODELS, DIFFUSERS, FOX, STORED


@dataclass
class ImageCase:
    name: str
    image: str  # below fixtures/images
    mask: str | None = None
    mask_crop: int | None = None
    strength: float = 0.6
    prompt: str = FOX
    negative: str | None = " "
    width: int = 48
    height: int = 32
    steps: int = 5
    cfg: float = 4.0
    seed: int = 42
    model: str = "small"
    text_model: str = "small"
    models: str = "comfyui"
    files: dict = field(default_factory=lambda: dict(COMFY))
    loras: tuple[tuple[str, float], ...] = ()
    lightning: bool = False
    # Whether the trace holds the encoder's inner tensors too.
    deep: bool = False


CASES = [
    ImageCase("img2img", "scene_48x32.png", deep=True),
    # Another shape than the image's: resized, as the image processor does it.
    ImageCase(
        "img2img_resized", "scene_61x45.png", strength=0.5, negative=None, width=80, height=48, steps=4, seed=7, deep=True
    ),
    # Not a whole number of steps: what is left out is rounded down.
    ImageCase("img2img_uneven", "scene_48x32.png", strength=0.7, steps=3, seed=9),
    ImageCase("img2img_full", "scene_48x32.png", strength=1.0, steps=2, seed=10),
    ImageCase("inpaint", "scene_48x32.png", mask="mask_48x32.png", seed=11),
    ImageCase(
        "inpaint_resized",
        "scene_61x45.png",
        mask="mask_30x40.png",
        strength=0.85,
        negative=None,
        width=64,
        height=112,
        steps=4,
        seed=12,
        models="diffusers",
        files=DIFFUSERS,
    ),
    # The part around the mask alone, at a border of the image.
    ImageCase("inpaint_crop", "scene_61x45.png", mask="spot_61x45.png", mask_crop=4, seed=13),
    # A part that is too narrow for the shape, so that its sides are filled up.
    ImageCase(
        "inpaint_crop_filled",
        "scene_61x45.png",
        mask="mask_61x45.png",
        mask_crop=0,
        strength=0.9,
        negative=None,
        width=32,
        height=80,
        steps=3,
        seed=14,
    ),
    ImageCase(
        "demo_img2img",
        "sun_128x80.png",
        prompt="a yellow sun over green hills",
        width=128,
        height=80,
        steps=5,
        seed=5,
        model=STORED,
        text_model=STORED,
        models=DEMO_MODELS,
        files=DEMO,
    ),
    ImageCase(
        "demo_inpaint",
        "sun_128x80.png",
        mask="mask_128x80.png",
        strength=0.8,
        prompt="a red balloon over green hills",
        width=128,
        height=80,
        steps=5,
        seed=6,
        model=STORED,
        text_model=STORED,
        models=DEMO_MODELS,
        files=DEMO,
    ),
    ImageCase(
        "demo_inpaint_crop",
        "sun_128x80.png",
        mask="spot_128x80.png",
        mask_crop=6,
        strength=0.8,
        prompt="a red balloon",
        width=96,
        height=64,
        steps=4,
        seed=15,
        model=STORED,
        text_model=STORED,
        models=DEMO_MODELS,
        files=DEMO,
    ),
]
