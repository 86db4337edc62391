//! `--prompt-file`: a picture for each line.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::args::{ImageSize, Sampling, checks};
use crate::error::CliError;

/// The largest file that is read.
const MAX_BYTES: u64 = 64 << 20;
/// The longest part of a wrong value that is shown.
const MAX_SHOWN: usize = 40;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// The file's name and the line's number, for messages.
    pub(super) origin: String,
    /// The prompt.
    pub(super) prompt: String,
    /// What is to differ from the flags.
    pub(super) own: Own,
}

/// The fields of a line beside the prompt, each where it is there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Own {
    /// The negative prompt.
    pub(super) negative_prompt: Option<String>,
    /// Pixels across, a multiple of 16.
    pub(super) width: Option<u32>,
    /// Pixels down, a multiple of 16.
    pub(super) height: Option<u32>,
    /// Seed of the first of its pictures.
    pub(super) seed: Option<u64>,
    /// Denoising steps.
    pub(super) steps: Option<usize>,
    /// Guidance scale.
    pub(super) cfg_scale: Option<f64>,
    /// Where the picture goes.
    pub(super) output: Option<PathBuf>,
}

impl Own {
    /// The sides, where `all` has those of pictures without their own.
    pub(super) fn size(&self, all: ImageSize) -> ImageSize {
        ImageSize {
            width: self.width.or(all.width),
            height: self.height.or(all.height),
        }
    }
}

/// The lines of a file, or of standard input for `-`; adds a notice for each side that is rounded.
///
/// # Errors
/// [`CliError::Input`] naming the file and, where one is wrong, the line.
pub(super) fn read(
    path: &Path,
    sampling: &Sampling,
    notices: &mut Vec<String>,
) -> Result<Vec<Line>, CliError> {
    let stdin = path.as_os_str() == "-";
    let name = if stdin {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let bad = |reason: String| CliError::Input(format!("{name}: {reason}"));
    let bytes = bytes(path, stdin).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => bad("no such file".to_owned()),
        _ => bad(error.to_string()),
    })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(bad(format!(
            "has more than {} MiB: split it",
            MAX_BYTES >> 20
        )));
    }
    let extension = path.extension().and_then(|extension| extension.to_str());
    let json = match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("jsonl" | "ndjson") => true,
        _ => stdin && bytes.trim_ascii_start().starts_with(b"{"),
    };
    let lines = parse(&name, &bytes, json, sampling, notices)?;
    if lines.is_empty() {
        return Err(bad("holds no prompt".to_owned()));
    }
    Ok(lines)
}

fn bytes(path: &Path, stdin: bool) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = MAX_BYTES + 1;
    if stdin {
        std::io::stdin()
            .lock()
            .take(limit)
            .read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn parse(
    name: &str,
    bytes: &[u8],
    json: bool,
    sampling: &Sampling,
    notices: &mut Vec<String>,
) -> Result<Vec<Line>, CliError> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(CliError::Input(format!(
            "{name}: is UTF-16; save it as UTF-8"
        )));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut lines = Vec::new();
    for (index, bytes) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let origin = format!("{name}, line {}", index + 1);
        let bad = |reason: &str| CliError::Input(format!("{origin}: {reason}"));
        let text = str::from_utf8(bytes)
            .map_err(|_| bad("is not UTF-8"))?
            .trim();
        if text.is_empty() || (!json && text.starts_with('#')) {
            continue;
        }
        let (prompt, own) = if json {
            let mut rounded = Vec::new();
            let line =
                object(text, sampling, &mut rounded).map_err(|error| bad(&error.to_string()))?;
            notices.extend(rounded.iter().map(|notice| format!("{origin}: {notice}")));
            line
        } else {
            (text.to_owned(), Own::default())
        };
        let negative = own.negative_prompt.as_deref().unwrap_or_default();
        if prompt.contains('\0') || negative.contains('\0') {
            return Err(bad("holds a NUL character"));
        }
        lines.push(Line {
            origin,
            prompt,
            own,
        });
    }
    Ok(lines)
}

/// A line of JSON.
fn object(
    text: &str,
    sampling: &Sampling,
    notices: &mut Vec<String>,
) -> Result<(String, Own), CliError> {
    let fields: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        let error = error.to_string();
        // Every line is the parser's first.
        let reason = error.replace(" at line 1 column ", " at column ");
        CliError::Usage(format!("is no JSON object: {reason}"))
    })?;
    let mut prompt = None;
    let mut own = Own::default();
    for (field, value) in &fields {
        let what = format!("`{field}`");
        let what = what.as_str();
        match field.as_str() {
            "prompt" => prompt = Some(string(what, value)?),
            "negative_prompt" => own.negative_prompt = Some(string(what, value)?),
            "width" => own.width = Some(checks::side(what, whole(what, value)?, notices)?),
            "height" => own.height = Some(checks::side(what, whole(what, value)?, notices)?),
            "steps" => {
                own.steps = Some(checks::steps(
                    what,
                    whole(what, value)?,
                    &sampling.schedule,
                )?)
            }
            "seed" => own.seed = Some(value.as_u64().ok_or_else(|| wrong(what, value, "a seed"))?),
            "cfg_scale" => {
                let scale = value.as_f64();
                let scale = scale.ok_or_else(|| wrong(what, value, "a number"))?;
                own.cfg_scale = Some(checks::cfg_scale(what, scale, sampling.preset)?);
            }
            "output" => own.output = Some(string(what, value)?.into()),
            _ => {
                return Err(CliError::Usage(format!(
                    "unknown field {}; there are prompt, negative_prompt, width, height, seed, \
                     steps, cfg_scale and output",
                    shown(what)
                )));
            }
        }
    }
    let prompt = prompt.ok_or_else(|| CliError::Usage("has no `prompt`".to_owned()))?;
    Ok((prompt, own))
}

fn string(what: &str, value: &Value) -> Result<String, CliError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        _ => Err(wrong(what, value, "a string")),
    }
}

fn whole(what: &str, value: &Value) -> Result<i64, CliError> {
    value
        .as_i64()
        .ok_or_else(|| wrong(what, value, "a whole number"))
}

fn wrong(what: &str, value: &Value, expected: &str) -> CliError {
    let value = value.to_string();
    CliError::Usage(format!("{what} must be {expected}, not {}", shown(&value)))
}

/// At most the beginning of a text.
fn shown(text: &str) -> String {
    let mut start: String = text.chars().take(MAX_SHOWN).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Line, Sampling, parse};

    fn lines(text: &[u8], json: bool) -> Vec<Line> {
        parse("p", text, json, &Sampling::default(), &mut Vec::new()).unwrap()
    }

    fn error(text: &[u8], json: bool) -> String {
        let parsed = parse("p", text, json, &Sampling::default(), &mut Vec::new());
        parsed.unwrap_err().to_string()
    }

    #[test]
    fn text_has_a_prompt_on_each_line() {
        let text = "\u{feff}a fox \r\n\r\n# a remark\n  \n  \"quoted\"\nlast 🦊".as_bytes();
        let found = lines(text, false);
        let prompts: Vec<&str> = found.iter().map(|line| line.prompt.as_str()).collect();
        assert_eq!(prompts, ["a fox", "\"quoted\"", "last 🦊"]);
        assert_eq!(found[1].origin, "p, line 5");
        assert!(lines(b"", false).is_empty());
        assert!(lines(b"# only\n\n", false).is_empty());
    }

    #[test]
    fn json_lines_have_fields() {
        let mut notices = Vec::new();
        let text = b"{\"prompt\": \"a\", \"width\": 50, \"seed\": 18446744073709551615}\r\n\n\
            {\"prompt\":\"# b\",\"negative_prompt\":\"n\",\"height\":32,\"steps\":4,\
            \"cfg_scale\":1,\"output\":\"o.png\"}";
        let found = parse("p", text, true, &Sampling::default(), &mut notices).unwrap();
        assert_eq!(found[0].own.width, Some(48));
        assert_eq!(found[0].own.seed, Some(u64::MAX));
        assert_eq!(
            notices,
            ["p, line 1: `width` 50 is not a multiple of 16; using 48"]
        );
        assert_eq!(found[1].prompt, "# b");
        assert_eq!(found[1].own.cfg_scale, Some(1.0));
        assert_eq!(found[1].own.output.as_deref(), Some("o.png".as_ref()));
    }

    #[test]
    fn wrong_lines_are_named() {
        for (line, part) in [
            ("{\"prompt\": \"a\", \"stepz\": 3}", "`stepz`"),
            ("{\"steps\": 3}", "no `prompt`"),
            ("{\"prompt\": 3}", "`prompt` must be a string"),
            ("{\"prompt\": \"a\", \"steps\": 1}", "`steps` must be"),
            ("{\"prompt\": \"a\", \"steps\": 2.5}", "`steps` must be"),
            ("{\"prompt\": \"a\", \"seed\": -1}", "`seed` must be"),
            ("{\"prompt\": \"a\", \"width\": 9000}", "`width` must be"),
            (
                "{\"prompt\": \"a\", \"cfg_scale\": \"x\"}",
                "`cfg_scale` must be",
            ),
            (
                "{\"prompt\": \"a\", \"cfg_scale\": 0}",
                "`cfg_scale` must be",
            ),
            ("{\"prompt\": \"a\\u0000\"}", "NUL"),
            ("{\"prompt\": \"a\"", "no JSON object"),
            ("[1]", "no JSON object"),
        ] {
            let text = format!("{{\"prompt\": \"ok\"}}\n{line}\n");
            let error = error(text.as_bytes(), true);
            assert!(error.starts_with("p, line 2: "), "{error}");
            assert!(error.contains(part), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
        assert!(error(b"ok\n\xff\xfe\n", false).starts_with("p, line 2: is not UTF-8"));
        assert!(error(b"\xff\xfea\0", false).contains("UTF-16"));
    }
}
