//! What other programs call this one's flags: sd-cli (stable-diffusion.cpp), mflux, diffusers'
//! arguments, ComfyUI's fields, stable-diffusion-webui. Whoever types one of their names is told
//! the name that it has here.

mod forms;
mod values;

pub(super) use values::value;

use clap::Command;

use Here::{Is, Made, Say};

/// What a name of another program's is here.
#[derive(Clone, Copy)]
enum Here {
    /// A flag that takes the same values.
    Is(&'static str),
    /// Flags that the value is written into; an example where there is none.
    Made(fn(Option<&str>) -> String),
    /// Whatever there is to say.
    Say(&'static str),
}

/// Names with spaces between them and without dashes before them, and what they are.
type Table = &'static [(&'static str, Here)];

const ONE_AT_A_TIME: Here = Say(
    "one model is in memory at a time anyway; '--vram-limit 12GB' limits it, and \
     '--text-encoder-on-cpu' keeps the text encoder off the GPU",
);
const OWN_KERNELS: Here =
    Say("attention and products are this program's own: there is nothing to switch on");
const NOTHING_ALIKE: Here = Say("there is nothing like it for this model");
const NOT_DONE: Here = Say("this program does not do that");
const AS_STORED: Here = Say(
    "weights are used as they are in their file; `qwen-image download --variant fp8` fetches FP8 \
         ones",
);

/// For `generate` and `plan`.
const DRAWING: Table = &[
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

/// For `download`.
const DOWNLOADING: Table = &[
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

/// Words that other programs have for commands.
const COMMANDS: &[(&str, &str)] = &[
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

/// What a flag of another program's (as it is typed, with its value if there is one) is here, for
/// one of this program's commands.
pub(super) fn flag(command: &Command, typed: &str, value: Option<&str>) -> Option<String> {
    let table = match command.get_name() {
        "generate" | "plan" => DRAWING,
        "download" => DOWNLOADING,
        _ => return None,
    };
    let name = name_of(typed);
    let (_, here) = table.iter().find(|(names, _)| has(names, &name))?;
    Some(match here {
        Is(flag) => renamed(command, flag, value),
        Made(form) => forms::here(&form(value)),
        Say(words) => (*words).to_owned(),
    })
}

/// The tip on a flag of another spelling; its value goes with it if it takes one.
pub(super) fn renamed(command: &Command, flag: &str, value: Option<&str>) -> String {
    let takes_value = command.get_arguments().any(|argument| {
        let long = flag.strip_prefix("--");
        argument.get_long() == long && argument.get_action().takes_values()
    });
    forms::here(&forms::with_value(flag, value.filter(|_| takes_value)))
}

/// This program's command of a name that other programs have for it.
pub(super) fn command(typed: &str) -> Option<&'static str> {
    let name = name_of(typed);
    let found = COMMANDS.iter().find(|(names, _)| has(names, &name));
    found.map(|(_, here)| *here)
}

/// Whether a name is among those of an entry.
fn has(names: &str, name: &str) -> bool {
    names.split(' ').any(|known| known == name)
}

/// A name as the tables have it: `--Cfg_Scale` is `cfg-scale`.
fn name_of(typed: &str) -> String {
    let name = typed.trim_start_matches('-');
    name.replace('_', "-").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clap::{Command, CommandFactory};

    use super::{COMMANDS, DOWNLOADING, DRAWING, Is, Table};
    use crate::args::Cli;

    fn check(table: Table, command: &Command) {
        let flags: HashSet<_> = command
            .get_arguments()
            .filter_map(|it| it.get_long())
            .collect();
        let mut seen = HashSet::new();
        for (names, here) in table {
            for name in names.split(' ') {
                assert!(seen.insert(name), "{name} is there twice");
                assert!(!flags.contains(name), "{name} is a flag itself");
                assert_eq!(super::name_of(name), name);
            }
            if let Is(flag) = here {
                assert!(
                    flags.contains(flag.trim_start_matches("--")),
                    "there is no {flag}"
                );
            }
        }
    }

    #[test]
    fn the_tables_lead_to_flags_and_commands_that_there_are() {
        let program = Cli::command();
        for (name, table) in [
            ("generate", DRAWING),
            ("plan", DRAWING),
            ("download", DOWNLOADING),
        ] {
            let command = program.find_subcommand(name);
            check(table, command.unwrap_or_else(|| panic!("no {name}")));
        }
        for (_, here) in COMMANDS {
            assert!(here.starts_with("--") || program.find_subcommand(here).is_some());
        }
    }
}
