//! The tables of names that other programs have for flags and commands.

use super::Here::{self, Is, Made, Say};
use super::{Table, forms};

const ONE_AT_A_TIME: Here = Say(
    "one model is in memory at a time anyway, and what does not fit of it is streamed; \
     '--vram-limit 12GB' limits it, and '--text-encoder-on-cpu' keeps the text encoder off the GPU",
);
const OWN_KERNELS: Here =
    Say("attention and products are this program's own: there is nothing to switch on");
const NOTHING_ALIKE: Here = Say("there is nothing like it for this model");
const NOT_DONE: Here = Say("this program does not do that");
const AS_STORED: Here = Say(
    "weights are used as they are in their file; `qwen-image download --variant fp8` fetches FP8 \
         ones",
);

/// The flags of `generate` and `plan`.
pub(super) const DRAWING: Table = &[
    // What is drawn.
    ("text caption positive positive-prompt", Is("--prompt")),
    (
        "prompts prompt-2 prompt2",
        Say(
            "'--prompt \"…\"' is one prompt; '--prompt-file FILE' draws an image for each line of \
             a file",
        ),
    ),
    (
        "prompts-file prompts-from-file from-file prompt-list input-file file",
        Is("--prompt-file"),
    ),
    (
        "n-prompt neg negative neg-prompt negative-prompts uncond uncond-prompt \
         undesired-content",
        Is("--negative-prompt"),
    ),
    ("no-cfg disable-cfg no-negative", Is("--no-negative-prompt")),
    (
        "size resolution res image-size img-size dimensions dim",
        Made(forms::size),
    ),
    ("aspect-ratio aspect ratio ar", Made(forms::ratio)),
    ("w img-width image-width", Is("--width")),
    ("h img-height image-height", Is("--height")),
    (
        "num-inference-steps num-steps sampling-steps sample-steps inference-steps n-steps \
         step ddim-steps iterations",
        Is("--steps"),
    ),
    (
        "cfg guidance guidance-scale true-cfg-scale true-cfg cfgscale scale \
         unconditional-guidance-scale true-guidance-scale",
        Is("--cfg-scale"),
    ),
    (
        "guidance-rescale cfg-rescale cfg-norm renorm-cfg rescale-cfg",
        Say("'--preset diffusers' renormalises the guided prediction, '--preset comfyui' does not"),
    ),
    ("noise-seed random-seed manual-seed generator", Is("--seed")),
    (
        "seeds",
        Say("'--seed 1 --batch-count 3' makes images with the seeds 1, 2 and 3"),
    ),
    ("auto-seeds", Is("--batch-count")),
    (
        "rng sampler-rng",
        Say("noise is that of torch's generator on the CPU; there is no other"),
    ),
    (
        "num n count number batch batch-size n-images n-samples num-images \
         num-images-per-prompt num-outputs num-samples images samples n-iter iters",
        Is("--batch-count"),
    ),
    // How it is sampled.
    (
        "sampling-method sample-method sampler-name solver scheduler-class",
        Is("--sampler"),
    ),
    (
        "scheduler schedule-type scheduler-name sigma-schedule noise-schedule",
        Made(forms::scheduler),
    ),
    (
        "flow-shift shift time-shift timestep-shift discrete-flow-shift sampling-shift",
        Made(forms::shift),
    ),
    ("sigmas", Made(forms::sigmas)),
    (
        "timesteps eta sigma-min sigma-max rho clip-skip prediction slg-scale skip-layers \
         s-churn s-noise embedded-guidance",
        NOTHING_ALIKE,
    ),
    (
        "max-sequence-length",
        Say("the first 512 tokens of a prompt are taken"),
    ),
    // An image to start from.
    (
        "image i init-img init input-image input image-path img source-image init-images \
         start-image from-image",
        Is("--init-image"),
    ),
    (
        "ref-image r reference-image image-paths ref-images edit-image",
        Say("images are not edited by an instruction here; '--init-image FILE' starts from one"),
    ),
    (
        "denoise denoising-strength denoising denoise-strength img2img-strength \
         prompt-strength",
        Is("--strength"),
    ),
    ("image-strength init-image-strength", Made(forms::kept)),
    (
        "mask-image mask-path masked-image-path mask-img inpaint-mask",
        Is("--mask"),
    ),
    // Models.
    (
        "loras lora-path lora-paths lora-weights lora-name lora-file adapter",
        Is("--lora"),
    ),
    (
        "lora-scale lora-scales lora-weight lora-strength lora-multiplier strength-model \
         adapter-weights",
        Made(forms::lora_weight),
    ),
    (
        "lora-model-dir lora-dir lora-folder",
        Say("'--lora FILE' takes a path, or a name in the folder `loras` of '--models DIR'"),
    ),
    (
        "turbo fast lightning-steps lightning-lora",
        Made(forms::lightning),
    ),
    (
        "model m model-path model-dir models-dir models-path ckpt ckpt-name \
         base-model pretrained-model-name-or-path repo model-id",
        Made(forms::model),
    ),
    (
        "diffusion-model diffusion-model-path unet unet-name dit transformer-path",
        Is("--transformer"),
    ),
    (
        "llm llm-path qwen2vl qwen-vl clip clip-name text-encoder-path text-encoders te t5xxl",
        Is("--text-encoder"),
    ),
    ("vae-path vae-name ae", Is("--vae")),
    ("tokenizer-path", Is("--tokenizer")),
    ("taesd tae", Say("'--preview N' needs no model of its own")),
    (
        "local-files-only hf-token token cache-dir offline",
        Say(
            "this command downloads nothing; `qwen-image download` does, with the token in \
             HF_TOKEN",
        ),
    ),
    (
        "quantize quant quantization type weight-type load-in-8bit load-in-4bit",
        AS_STORED,
    ),
    // Where and how it is computed.
    (
        "torch-dtype precision compute-dtype weight-dtype data-type",
        Is("--dtype"),
    ),
    (
        "fp16 half float16 f16 bf16 bfloat16",
        Say("here it is '--dtype bf16', which is what a GPU takes anyway"),
    ),
    (
        "fp32 float32 f32 full-precision no-half force-fp32",
        Say("here it is '--dtype f32'"),
    ),
    (
        "fp8 fp8-fast fast-fp8 fp8-e4m3fn fp8-e4m3fn-fast fp8-matmul",
        Say("here it is '--fp8-compute'; FP8 weights stay FP8 without it too"),
    ),
    ("gpu gpu-id cuda cuda-device device-id", Made(forms::gpu)),
    ("cpu use-cpu force-cpu", Say("here it is '--backend flex'")),
    ("mps", Say("here it is '--backend metal'")),
    (
        "threads t num-threads",
        Say("as many threads compute as there are cores, or as RAYON_NUM_THREADS says"),
    ),
    (
        "max-vram vram vram-budget max-memory gpu-memory",
        Is("--vram-limit"),
    ),
    (
        "lowvram low-vram medvram highvram normalvram novram low-ram offload cpu-offload \
         offload-to-cpu enable-model-cpu-offload enable-sequential-cpu-offload \
         enable-group-offload model-cpu-offload reserve-vram",
        ONE_AT_A_TIME,
    ),
    (
        "clip-on-cpu te-on-cpu text-encoder-cpu text-encoder-offload offload-text-encoder \
         llm-on-cpu",
        Is("--text-encoder-on-cpu"),
    ),
    (
        "vae-on-cpu tiled-vae enable-vae-tiling enable-vae-slicing vae-slicing vae-tile-size \
         vae-tile-overlap tiling tile vae-tiled",
        Say("here it is '--vae-tiling on'"),
    ),
    (
        "diffusion-fa fa flash-attention flash-attn use-flash-attention use-sage-attention \
         sage-attention xformers sdpa attention compile torch-compile diffusion-conv-direct \
         vae-conv-direct use-pytorch-cross-attention use-split-cross-attention",
        OWN_KERNELS,
    ),
    // What is written and said.
    (
        "out outfile output-path output-file output-image save save-path filename dest",
        Is("--output"),
    ),
    (
        "outdir output-dir out-dir save-dir output-folder output-directory",
        Made(forms::folder),
    ),
    ("filename-prefix prefix", Made(forms::prefix)),
    (
        "output-format format ext extension",
        Say("the name says it: '--output image.webp' (.png, .webp or .jpg)"),
    ),
    (
        "jpeg-quality jpg-quality compression-quality",
        Is("--quality"),
    ),
    (
        "disable-metadata no-metadata metadata-off",
        Say("every image holds its recipe; `exiftool -all=` removes it from a file"),
    ),
    (
        "config-from-metadata config metadata workflow load-metadata from-image-metadata",
        Is("--from"),
    ),
    ("skip-existing continue skip", Is("--resume")),
    (
        "preview-interval preview-every stepwise-interval progressive",
        Is("--preview"),
    ),
    (
        "preview-method preview-path stepwise-image-output-dir",
        Say("'--preview N' writes FILE.preview.png beside FILE.png every N steps"),
    ),
    ("no-cache disable-cache", Is("--no-prompt-cache")),
    ("debug log-level", Say("here it is '--verbose'")),
    (
        "silent no-progress disable-progress",
        Say("here it is '--quiet'"),
    ),
    (
        "memory estimate memory-only",
        Say("here it is '--dry-run', or `qwen-image plan` with the same flags"),
    ),
    (
        "mode",
        Say("`generate` is the command that draws; with '--init-image FILE' it starts from one"),
    ),
    (
        "upscale upscale-model hires hires-fix highres-fix enable-hr refiner control-net \
         controlnet control-image ip-adapter safety-checker photo-maker video-frames",
        NOT_DONE,
    ),
];

/// The flags of `download`.
pub(super) const DOWNLOADING: Table = &[
    ("model repo repo-id type quant m", Is("--variant")),
    (
        "local-dir dir output o out to path folder models-dir cache-dir dest",
        Is("--models"),
    ),
    (
        "token hf-token",
        Say("the token is taken from HF_TOKEN, or from the file that `hf auth login` leaves"),
    ),
    ("endpoint mirror", Say("a mirror is named in HF_ENDPOINT")),
    ("proxy", Say("a proxy is named in HTTPS_PROXY")),
    ("check checksum validate sha256", Is("--verify")),
    ("list n plan simulate print", Is("--dry-run")),
    (
        "resume continue resume-download c",
        Say("a download that was cut goes on by itself"),
    ),
    (
        "force force-download overwrite f",
        Say("'--verify' downloads damaged files anew"),
    ),
];

/// The words that other programs have for commands.
pub(super) const COMMANDS: &[(&str, &str)] = &[
    (
        "txt2img text2img t2i img2img i2i inpaint img-gen draw create make render image \
         imagine sample run gen prompt",
        "generate",
    ),
    ("estimate memory vram dry-run", "plan"),
    ("pull fetch get install setup", "download"),
    ("info show metadata mflux-info", "inspect"),
    ("list-devices gpus device", "devices"),
    ("completion complete", "completions"),
    ("version", "--version"),
    ("usage", "--help"),
];
