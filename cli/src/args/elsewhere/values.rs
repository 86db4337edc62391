//! The names that other programs have for the values of this program's flags.

use Here::{Is, Say};

use super::forms::{here, sides};

/// The counterpart in this program of a value of another program's flag.
#[derive(Clone, Copy)]
enum Here {
    /// This value.
    Is(&'static str),
    /// Whatever there is to say.
    Say(&'static str),
}

/// Values in the form of [`plain`] with spaces between them, and what they are.
type Table = &'static [(&'static str, Here)];

const SAMPLERS: Table = &[
    (
        "euler flowmatcheulerdiscretescheduler flowmatcheuler flowmatcheulerdiscrete \
         eulerdiscrete eulerdiscretescheduler ddim keuler",
        Is("euler"),
    ),
    ("heun flowmatchheundiscretescheduler kheun", Is("heun")),
    (
        "dpmpp2m dpm2m dpmsolvermultistepscheduler dpmsolver dpmsolverpp dpmsolverpp2m dpmpp \
         dpmpp2mkarras kdpmpp2m",
        Is("dpmpp2m"),
    ),
    (
        "unipc unipcbh1 unipcbh2 unipcmultistepscheduler",
        Is("unipc"),
    ),
    (
        "eulera eulerancestral eulerancestraldiscretescheduler keulera",
        Say("samplers that add noise at each step are not here; 'euler' is this one without it"),
    ),
    (
        "karras simple beta normal sgmuniform exponential dynamic shift ddimuniform discrete \
         beta57",
        Say("that is a schedule of noise levels: --schedule chooses it"),
    ),
];

const SCHEDULES: Table = &[
    ("sgmuniform uniform", Say("the nearest here is 'simple'")),
    (
        "normal ddimuniform linearquadratic kloptimal beta57 bongtangent",
        Say(
            "'simple' is what ComfyUI's workflow for this model takes; a list of noise levels is \
             written as 'sigmas=1,0.75,0.5'",
        ),
    ),
    ("karras usekarrassigmas dynamickarras", Is("dynamic-karras")),
    (
        "exponential polyexponential useexponentialsigmas dynamicexponential",
        Is("dynamic-exponential"),
    ),
    ("discrete flow flowmatch", Is("shift=3")),
    ("linear default auto", Is("dynamic")),
    (
        "ays gits ayssd1 smoothstep",
        Say(
            "that is for models that are not trained as a flow; 'simple' is what ComfyUI's \
             workflow for this model takes",
        ),
    ),
    (
        "dynamicshifting usedynamicshifting exponentialshift",
        Is("dynamic"),
    ),
    ("usebetasigmas betasigmas dynamicbeta", Is("dynamic-beta")),
    ("shift", Say("the shift is written behind it: 'shift=3'")),
    (
        "sigmas custom",
        Say("the noise levels are written behind it: 'sigmas=1,0.75,0.5'"),
    ),
    (
        "euler heun dpmpp2m unipc eulera flowmatcheulerdiscretescheduler \
         unipcmultistepscheduler dpmsolvermultistepscheduler lcm ddim",
        Say("that is a sampler: --sampler chooses it"),
    ),
];

const DTYPES: Table = &[
    (
        "fp16 float16 f16 half bfloat16 torchbfloat16 torchfloat16",
        Is("bf16"),
    ),
    ("fp32 float32 float single torchfloat32 full", Is("f32")),
    (
        "fp8 float8 fp8e4m3fn f8e4m3 int8 q8 q80",
        Say("FP8 weights stay FP8; '--fp8-compute' multiplies in FP8 too"),
    ),
    ("default", Is("auto")),
];

const BACKENDS: Table = &[
    ("gpu nvidia cublas cuda0 cuda:0", Is("cuda")),
    (
        "cuda:1 cuda1",
        Say("here it is '--backend cuda --device 1'"),
    ),
    ("mps apple mlx coreml", Is("metal")),
    ("hip amd hipblas", Is("rocm")),
    ("ndarray candle processor host", Is("flex")),
    ("wgpu", Is("webgpu")),
    ("vk intel arc xpu sycl opencl directml dml", Is("vulkan")),
];

const PRESETS: Table = &[
    ("comfy swarmui swarm", Is("comfyui")),
    ("diffuser huggingface hf default", Is("diffusers")),
];

const TILINGS: Table = &[
    ("true yes 1 enable enabled always", Is("on")),
    ("false no 0 disable disabled never none", Is("off")),
];

const LIGHTNINGS: Table = &[
    ("4steps 4step four true yes on", Is("4")),
    ("8steps 8step eight", Is("8")),
];

const VARIANTS: Table = &[
    (
        "fp8e4m3fn qwenimage qwenimagefp8e4m3fn default qwen/qwenimage",
        Is("fp8"),
    ),
    ("fp8scaled scaled fp8e4m3fnscaled", Is("fp8-scaled")),
    ("bfloat16 fp16 full qwenimagebf16", Is("bf16")),
    ("qwenimage2512 qwen/qwenimage2512 v2512 latest", Is("2512")),
    (
        "lightninglora turbo 4steps 8steps loras lora",
        Is("lightning"),
    ),
    (
        "gguf q4 q40 q4km q80 q8 nf4 int8",
        Say("FP8 is the smallest here"),
    ),
    (
        "edit qwenimageedit layered qwenimagelayered",
        Say("this program draws with Qwen-Image; it does not edit images"),
    ),
];

/// Translates a value that another program has for one of this program's flags into a tip.
pub(crate) fn value(flag: &str, typed: &str) -> Option<String> {
    if let Some(found) = find(flag, typed) {
        return Some(match found {
            Is(own) => here(own),
            Say(words) => words.to_owned(),
        });
    }
    match flag {
        "--schedule" => schedule(typed),
        "--width" | "--height" => side(typed),
        "--seed" => ["random", "rand", "none", "auto"]
            .contains(&plain(typed).as_str())
            .then(|| "leave it out for a random one".to_owned()),
        "--cfg-scale" | "--strength" => number(typed),
        "--device" => typed
            .strip_prefix("cuda:")
            .map(|number| format!("here it is '--backend cuda --device {number}'")),
        _ => None,
    }
}

/// This program's value for one of another's, where it is simply another name.
pub(super) fn known(flag: &str, typed: &str) -> Option<&'static str> {
    match find(flag, typed)? {
        Is(own) => Some(own),
        Say(_) => None,
    }
}

fn find(flag: &str, typed: &str) -> Option<Here> {
    let table = match flag {
        "--sampler" => SAMPLERS,
        "--schedule" => SCHEDULES,
        "--dtype" => DTYPES,
        "--backend" => BACKENDS,
        "--preset" => PRESETS,
        "--vae-tiling" => TILINGS,
        "--lightning" => LIGHTNINGS,
        "--variant" => VARIANTS,
        _ => return None,
    };
    let typed = plain(typed);
    let found = table.iter().find(|(names, _)| super::has(names, &typed));
    found.map(|(_, here)| *here)
}

/// A name without what programs write differently in it: `DPM++ 2M` and `dpmpp_2m` are `dpmpp2m`.
fn plain(name: &str) -> String {
    name.trim()
        .chars()
        .filter(|c| !matches!(c, ' ' | '_' | '-' | '.'))
        .map(|c| {
            if c == '+' {
                'p'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect()
}

/// A schedule with its number written in another way, or without its name.
fn schedule(typed: &str) -> Option<String> {
    let is_number = |text: &str| text.parse::<f64>().is_ok();
    if is_number(typed) {
        return Some(format!(
            "a shift is written as 'shift={typed}', ComfyUI's as 'simple={typed}'"
        ));
    }
    if typed.contains(',') && typed.split(',').all(|level| is_number(level.trim())) {
        return Some(here(&format!("sigmas={}", typed.replace(' ', ""))));
    }
    ["shift", "simple", "beta"].iter().find_map(|name| {
        let number = typed.to_ascii_lowercase();
        let number = number.strip_prefix(name)?;
        let number = number.trim_matches([' ', ':', '(', ')', '-', '_', '=']);
        is_number(number).then(|| here(&format!("{name}={number}")))
    })
}

fn side(typed: &str) -> Option<String> {
    let pixels = typed.trim().trim_end_matches(['p', 'x', 'P', 'X', ' ']);
    match (pixels.parse::<u32>(), sides(typed)) {
        (Ok(pixels), _) => Some(here(&pixels.to_string())),
        (_, Some((width, height))) => Some(here(&format!("--width {width} --height {height}"))),
        _ => None,
    }
}

/// A number with a decimal comma, or in per cent.
fn number(typed: &str) -> Option<String> {
    let text = typed.trim().replace(',', ".");
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.trim().parse().ok()?;
        return Some(here(&(percent / 100.0).to_string()));
    }
    text.parse::<f64>().is_ok().then(|| here(&text))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_written_as_they_are_looked_up() {
        let tables = [
            SAMPLERS, SCHEDULES, DTYPES, BACKENDS, PRESETS, TILINGS, LIGHTNINGS, VARIANTS,
        ];
        for table in tables {
            let mut seen = HashSet::new();
            for name in table.iter().flat_map(|(names, _)| names.split(' ')) {
                assert_eq!(plain(name), name, "is never found");
                assert!(seen.insert(name), "{name} is there twice");
            }
        }
    }

    #[test]
    fn values_of_other_programs_are_known() {
        for (flag, typed, tip) in [
            ("--sampler", "dpm++2m", "here it is 'dpmpp2m'"),
            ("--sampler", "dpmpp_2m", "here it is 'dpmpp2m'"),
            ("--sampler", "DPM++ 2M", "here it is 'dpmpp2m'"),
            ("--sampler", "uni_pc", "here it is 'unipc'"),
            ("--sampler", "euler_a", "'euler' is this one without it"),
            (
                "--sampler",
                "FlowMatchEulerDiscreteScheduler",
                "here it is 'euler'",
            ),
            ("--sampler", "karras", "--schedule"),
            ("--schedule", "karras", "here it is 'dynamic-karras'"),
            ("--schedule", "sgm_uniform", "'simple'"),
            ("--schedule", "euler", "--sampler"),
            ("--schedule", "discrete", "here it is 'shift=3'"),
            ("--schedule", "3.1", "'shift=3.1'"),
            ("--schedule", "shift:3", "here it is 'shift=3'"),
            ("--schedule", "1.0, 0.5", "here it is 'sigmas=1.0,0.5'"),
            ("--dtype", "float16", "here it is 'bf16'"),
            ("--backend", "mps", "here it is 'metal'"),
            ("--vae-tiling", "true", "here it is 'on'"),
            ("--width", "512px", "here it is '512'"),
            (
                "--width",
                "512x768",
                "here it is '--width 512 --height 768'",
            ),
            ("--cfg-scale", "4,5", "here it is '4.5'"),
            ("--strength", "60%", "here it is '0.6'"),
            ("--seed", "random", "leave it out"),
            ("--device", "cuda:1", "--backend cuda --device 1"),
            ("--variant", "fp8_scaled", "here it is 'fp8-scaled'"),
        ] {
            let found = value(flag, typed).unwrap_or_default();
            assert!(found.contains(tip), "{flag} {typed}: {found}");
        }
        for (flag, typed) in [("--sampler", "lms"), ("--width", "abc"), ("--output", "x")] {
            assert_eq!(value(flag, typed), None);
        }
    }
}
