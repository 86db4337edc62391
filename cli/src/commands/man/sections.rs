//! The sections of a manual page after the flags: exit codes, variables, examples.

use std::fmt::Write as _;

use crate::exit::ExitCode;

/// A term and what it is.
type Entry = (&'static str, &'static str);

const MODELS: Entry = (
    "QWEN_IMAGE_MODELS",
    "The folder with the model files, where --models does not name one.",
);
const TOKENIZER: Entry = (
    "QWEN_IMAGE_TOKENIZER",
    "The tokenizer, where --tokenizer does not name one.",
);
const LIMIT: Entry = (
    "QWEN_IMAGE_VRAM_LIMIT",
    "The most device memory to use, as 12GB or 12GiB, where --vram-limit does not say it.",
);
const RAM_CACHE: Entry = (
    "QWEN_IMAGE_RAM_CACHE",
    "How much of what is streamed stays in host memory, as 5GB or 5GiB, where --ram-cache does not \
     say it.",
);
const CACHE: Entry = (
    "QWEN_IMAGE_CACHE",
    "The folder in which embeddings of prompts and measured rates are kept, instead of \
     qwen-image-burn in the user's cache folder.",
);
const HUB: [Entry; 5] = [
    (
        "HF_TOKEN",
        "The token that is sent to the Hugging Face Hub; without it, that of a login.",
    ),
    ("HF_ENDPOINT", "The address of a mirror of the Hub."),
    (
        "HF_HOME, HF_HUB_CACHE",
        "Where the cache of huggingface_hub is. Files in it are linked, not downloaded.",
    ),
    ("HF_HUB_OFFLINE", "If this is 1, nothing is downloaded."),
    (
        "HTTPS_PROXY, ALL_PROXY, NO_PROXY",
        "The proxy to use, and for which hosts not.",
    ),
];
const TERMINAL: [Entry; 3] = [
    (
        "TERM",
        "If this is dumb, progress is told in lines and not in bars. Previews are drawn in the way \
         that the terminal of this name knows.",
    ),
    (
        "COLORTERM",
        "If this is truecolor, --preview-inline can draw with blocks of 24-bit colour; in tmux and \
         screen it is the only way.",
    ),
    (
        "NO_COLOR",
        "If this is set, nothing is coloured, and --preview-inline draws no blocks.",
    ),
];

/// The variables that a command reads.
fn environment(command: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    match command {
        "generate" => {
            entries.extend([MODELS, TOKENIZER, LIMIT, RAM_CACHE, CACHE]);
            entries.extend(TERMINAL);
        }
        "plan" => entries.extend([MODELS, TOKENIZER, LIMIT, RAM_CACHE, CACHE]),
        "download" => {
            entries.push(MODELS);
            entries.extend(HUB);
        }
        // The program's own page has all of them.
        "qwen-image" => {
            entries.extend([MODELS, TOKENIZER, LIMIT, RAM_CACHE, CACHE]);
            entries.extend(HUB);
            entries.extend(TERMINAL);
        }
        _ => entries.push(TERMINAL[2]),
    }
    entries
}

/// Command lines of a command, with what they do.
fn examples(command: &str) -> &'static [Entry] {
    match command {
        "qwen-image" => &[
            (
                "qwen-image generate \"a red circle on a blue background\" -o circle.png",
                "Draws an image; without downloaded models, with the built-in demo model.",
            ),
            (
                "qwen-image download",
                "Fetches the published model files, 30 GB.",
            ),
            (
                "qwen-image plan --vram-total 24GB",
                "Says whether an image fits into the memory of a GPU.",
            ),
        ],
        "generate" => &[
            (
                "qwen-image generate \"a red circle on a blue background\" -o circle.png",
                "Draws an image of the model's own size.",
            ),
            (
                "qwen-image generate \"a fox in the snow\" -W 1664 -H 928 --steps 30 --seed 7 -o \
                 fox.webp",
                "Draws one of another size in fewer steps, always the same one.",
            ),
            (
                "qwen-image generate \"a fox in the snow\" --lightning 4 -b 3 -o fox-%02d.png",
                "Draws three images in four steps each.",
            ),
            (
                "qwen-image generate --prompt-file prompts.txt -o fox-%03d.png",
                "Draws an image for each line of a file; the same command again goes on where it \
                 was stopped.",
            ),
            (
                "qwen-image generate \"a fox in autumn\" --init-image fox.png --strength 0.5 -o \
                 autumn.png",
                "Starts from an image.",
            ),
            (
                "qwen-image generate --from fox.png --steps 50 -o better.png",
                "Draws the image of a file again, in more steps.",
            ),
        ],
        "plan" => &[
            (
                "qwen-image plan --vram-total 24GB -W 1664 -H 928",
                "Says whether a size fits into the memory of a GPU that need not be there.",
            ),
            (
                "qwen-image plan --prompt-file prompts.txt --json",
                "Plans what generate would do with the same flags, for programs.",
            ),
        ],
        "download" => &[
            (
                "qwen-image download --dry-run",
                "Says what would be downloaded.",
            ),
            (
                "qwen-image download --variant lightning --models models",
                "Fetches the Lightning LoRAs and what they need into a folder.",
            ),
        ],
        "inspect" => &[
            (
                "qwen-image inspect models",
                "Says what the files of a models folder are.",
            ),
            ("qwen-image inspect fox.png", "Says how an image was made."),
            (
                "qwen-image inspect --read --backend cuda transformer.safetensors",
                "Reads a file into the memory of a GPU and says how fast.",
            ),
        ],
        "devices" => &[(
            "qwen-image devices --json",
            "Lists backends and devices for programs.",
        )],
        "completions" => &[(
            "source <(qwen-image completions bash)",
            "Completes the program's flags in this bash.",
        )],
        "man" => &[
            (
                "qwen-image man ~/.local/share/man",
                "Writes the pages where man finds them.",
            ),
            (
                "man -M ~/.local/share/man qwen-image-generate",
                "Shows one of them.",
            ),
        ],
        _ => &[],
    }
}

/// The sections of a command's page (`qwen-image` for the program's own) as roff.
pub(super) fn render(command: &str) -> String {
    let mut roff = String::from(".SH \"EXIT STATUS\"\n");
    for code in ExitCode::ALL {
        tagged(&mut roff, &(code as u8).to_string(), code.meaning());
    }
    roff.push_str(".SH ENVIRONMENT\nAn empty variable is one that is not set.\n");
    for (name, what) in environment(command) {
        tagged(&mut roff, name, what);
    }
    roff.push_str(".SH EXAMPLES\n");
    for (line, what) in examples(command) {
        let _ = writeln!(
            roff,
            ".PP\n{}\n.PP\n.RS 4\n.nf\n{}\n.fi\n.RE",
            escaped(what),
            escaped(line)
        );
    }
    roff
}

/// A paragraph with a bold term before it.
fn tagged(roff: &mut String, term: &str, what: &str) {
    let _ = writeln!(roff, ".TP\n\\fB{}\\fR\n{}", escaped(term), escaped(what));
}

/// A line of text as roff prints it: a hyphen stays one that can be copied into a shell, and a dot
/// or a quote at the beginning is no request.
fn escaped(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('~', "\\(ti");
    match text.chars().next() {
        Some('.' | '\'') => format!("\\&{text}"),
        _ => text,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{escaped, examples};
    use crate::args::Cli;
    use crate::documents::words;

    #[test]
    fn examples_are_command_lines_that_are_understood() {
        let program = Cli::command();
        let shown = program.get_subcommands().filter(|it| !it.is_hide_set());
        let names = shown.map(|it| it.get_name().to_owned());
        for name in names.chain(["qwen-image".to_owned()]) {
            assert!(!examples(&name).is_empty(), "{name}");
            for (line, _) in examples(&name) {
                if line.starts_with("qwen-image ") {
                    let parsed = Cli::try_parse_from(words(line));
                    assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
                }
            }
        }
    }

    #[test]
    fn text_is_no_request() {
        assert_eq!(escaped("-o .x"), "\\-o .x");
        assert_eq!(escaped(".nf"), "\\&.nf");
    }
}
