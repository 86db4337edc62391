//! Which form a prompt file has, and which forms are refused.

use std::path::Path;

/// The forms that are read, to end a refusal with.
pub(super) const FORMS: &str = "a prompt file is .txt (a prompt on each line), .jsonl (a JSON \
                                object on each line) or .json (a list of such objects)";

/// A form that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A prompt on each line.
    Text,
    /// JSON objects.
    Json,
    /// Either, by how it begins.
    Either,
}

impl Form {
    /// The form that a file's name promises.
    ///
    /// # Errors
    /// The form's name, for one that is not read.
    pub(super) fn of_name(path: &Path) -> Result<Self, &'static str> {
        let ending = path.extension().map(|ending| ending.to_string_lossy());
        let Some(ending) = ending.map(|ending| ending.trim().to_lowercase()) else {
            return Ok(Self::Either);
        };
        Ok(match ending.as_str() {
            "txt" | "text" => Self::Text,
            "jsonl" | "ndjson" | "jsonlines" | "json" => Self::Json,
            "csv" => return Err("CSV"),
            "tsv" | "tab" => return Err("TSV"),
            "md" | "markdown" | "mdown" | "mkd" | "rst" | "adoc" | "org" => return Err("Markdown"),
            "yaml" | "yml" => return Err("YAML"),
            "toml" => return Err("TOML"),
            "ini" | "cfg" | "conf" => return Err("a file of settings"),
            "json5" | "jsonc" | "hjson" => return Err("JSON with comments"),
            "xml" => return Err("XML"),
            "html" | "htm" => return Err("HTML"),
            "rtf" | "doc" | "docx" | "odt" | "pages" => return Err("a document"),
            "xls" | "xlsx" | "ods" | "numbers" => return Err("a spreadsheet"),
            "pdf" => return Err("a PDF document"),
            "py" | "js" | "ts" | "sh" | "ps1" | "bat" => return Err("a program"),
            "parquet" | "arrow" | "sqlite" | "db" => return Err("a table"),
            "safetensors" | "gguf" | "ckpt" | "pt" => return Err("a model file"),
            "zip" | "gz" | "xz" | "zst" | "7z" | "tar" => return Err("an archive"),
            _ => Self::Either,
        })
    }

    /// The form of a text, where its name leaves it open.
    pub(super) fn of_text(self, text: &str) -> Self {
        match self {
            Self::Either if is_json(text) => Self::Json,
            Self::Either => Self::Text,
            form => form,
        }
    }
}

/// Tells whether a text begins as JSON does: with an object, a list, or a brace alone on its line.
fn is_json(text: &str) -> bool {
    let text = text.trim_start();
    let first = text.lines().next().unwrap_or_default().trim_end();
    if matches!(first, "{" | "[" | "[{" | "[]" | "{}") {
        return true;
    }
    let mut chars = first.chars().filter(|c| !c.is_whitespace());
    match (chars.next(), chars.next()) {
        (Some('{'), Some('"')) => true,
        (Some('['), Some('{' | '"')) => true,
        (Some('{' | '['), _) => serde_json::from_str::<serde_json::Value>(first).is_ok(),
        _ => false,
    }
}

/// Recognises a text that holds no prompts: the line that shows it, and what the text is. `None`
/// for prompts.
pub(super) fn other_form(text: &str) -> Option<(usize, String)> {
    let lines = || {
        let numbered = text.lines().enumerate();
        let trimmed = numbered.map(|(index, line)| (index + 1, line.trim()));
        trimmed.filter(|(_, line)| !line.is_empty())
    };
    let (first_number, first) = lines().next()?;
    let lower = first.to_lowercase();
    let whole = if first == "---" || first == "+++" {
        Some("front matter or YAML")
    } else if ["<!doctype", "<html", "<?xml", "<svg"]
        .iter()
        .any(|tag| lower.starts_with(tag))
    {
        Some("HTML or XML")
    } else if is_table_head(&lower, lines().nth(1).is_some()) {
        Some("a table with a line of names (CSV)")
    } else {
        None
    };
    if let Some(whole) = whole {
        return Some((first_number, format!("holds {whole}")));
    }
    let mut number_before = None;
    for (number, line) in lines() {
        if !line.starts_with('#')
            && let Some(found) = other_line(line)
        {
            return Some((number, found));
        }
        let item = list_number(line);
        if let (Some(before), Some(item)) = (number_before, item)
            && item == before + 1
        {
            return Some((number, "holds a numbered list".to_owned()));
        }
        number_before = item;
    }
    None
}

/// Tells whether a line, in small letters, names the columns of a table.
fn is_table_head(line: &str, more: bool) -> bool {
    let names: Vec<&str> = line
        .split([',', '\t', ';', '|'])
        .map(|name| name.trim().trim_matches('"'))
        .collect();
    let is_prompt = |name: &&str| matches!(*name, "prompt" | "prompts" | "positive_prompt");
    let is_name = |name: &&str| name.split_whitespace().count() <= 3;
    more && names.iter().any(is_prompt) && names.iter().all(is_name)
}

/// Recognises a line that nobody means to be drawn, and says what it holds.
fn other_line(line: &str) -> Option<String> {
    let lower = line.to_lowercase();
    if is_json(line) {
        return Some("holds JSON: name the file .jsonl or .json".to_owned());
    }
    for mark in ["- ", "* ", "+ ", "• "] {
        if line.starts_with(mark) {
            return Some(format!("holds a list (`{}`)", mark.trim_end()));
        }
    }
    if line.starts_with("```") || line.starts_with("~~~") {
        return Some("holds Markdown".to_owned());
    }
    if line.contains("--") && line.contains('|') && line.chars().all(|c| "|-: ".contains(c)) {
        return Some("holds a Markdown table".to_owned());
    }
    for mark in ["//", "/*", "<!--"] {
        if line.starts_with(mark) {
            return Some(format!(
                "holds a remark that begins with `{mark}` (remarks begin with #)"
            ));
        }
    }
    for key in ["negative prompt:", "steps: "] {
        if lower.starts_with(key) && (key != "steps: " || lower.contains("seed:")) {
            return Some("holds generation parameters as webui writes them".to_owned());
        }
    }
    let key = lower.trim_start_matches('"');
    for name in ["prompt", "prompts", "negative_prompt", "positive_prompt"] {
        let after = key.strip_prefix(name).map(|rest| {
            let rest = rest.strip_prefix('"').unwrap_or(rest);
            rest.trim_start()
        });
        if after.is_some_and(|rest| rest.starts_with([':', '='])) {
            return Some(format!("holds YAML or TOML (`{name}`)"));
        }
    }
    if line.len() > 2 && line.starts_with('"') && line.ends_with("\",") {
        return Some("holds a list of quoted texts".to_owned());
    }
    flag(line).map(|flag| format!("holds flags (`{flag}`), which would be drawn as text"))
}

/// A flag in a line, as sd-scripts, webui and Midjourney take them: `--n blurry`, `--ar 16:9`.
fn flag(line: &str) -> Option<&str> {
    line.split_whitespace().find(|word| {
        let name = word.strip_prefix("--");
        name.is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
    })
}

/// The number that a line begins with as an item of a list does: `1. ` or `1) `.
fn list_number(line: &str) -> Option<u32> {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = line.split_at(digits);
    let marked = rest.starts_with(". ") || rest.starts_with(") ");
    number.parse().ok().filter(|_| marked)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::{Form, other_form};

    #[test]
    fn the_name_tells_the_form_whatever_its_case() {
        let form = |name: &str| Form::of_name(Path::new(name));
        assert_eq!(form("a.TXT"), Ok(Form::Text));
        assert_eq!(form("a.jsonl.txt"), Ok(Form::Text));
        for name in ["a.jsonl", "A.JSONL", "a.ndjson", "a.json"] {
            assert_eq!(form(name), Ok(Form::Json), "{name}");
        }
        for name in ["prompts", "-", "prompts.2024", ".prompts"] {
            assert_eq!(form(name), Ok(Form::Either), "{name}");
        }
        for (name, kind) in [
            ("a.csv", "CSV"),
            ("a.TSV", "TSV"),
            ("a.md", "Markdown"),
            ("a.yaml", "YAML"),
            ("a.yml", "YAML"),
            ("a.toml", "TOML"),
            ("a.xlsx", "a spreadsheet"),
        ] {
            assert_eq!(form(name), Err(kind), "{name}");
        }
    }

    #[test]
    fn what_begins_as_json_is_taken_for_json() {
        for (text, form) in [
            ("\n {\"prompt\": \"a\"}\n", Form::Json),
            ("[\n{\"prompt\": \"a\"}\n]", Form::Json),
            ("{\n  \"prompt\": \"a\"\n}", Form::Json),
            ("[\"a\", \"b\"]", Form::Json),
            ("{red|blue} fox", Form::Text),
            ("[fox:cat:0.5] in a hat", Form::Text),
            ("a {\"fox\"}", Form::Text),
            ("", Form::Text),
        ] {
            assert_eq!(Form::Either.of_text(text), form, "{text}");
        }
        assert_eq!(Form::Text.of_text("[]"), Form::Text);
    }

    #[test]
    fn other_forms_are_named_with_their_line() {
        for (text, line, part) in [
            ("{\"prompt\": \"a\"}\n", 1, "JSON"),
            ("a fox\n[{\"prompt\": \"a\"}]\n", 2, "JSON"),
            ("{\n\"prompt\": \"a\"\n}", 1, "JSON"),
            ("---\ntitle: x\n---\na fox", 1, "front matter"),
            ("# Prompts\n\n- a fox\n- a cat\n", 3, "list (`-`)"),
            ("* a fox", 1, "list (`*`)"),
            ("1. a fox\n\n2. a cat", 3, "numbered list"),
            ("```\na fox\n```", 1, "Markdown"),
            ("a | b\n--|--\n", 2, "Markdown table"),
            ("prompt,seed\na fox,1\n", 1, "CSV"),
            ("\"Prompt\";\"Seed\"\na;1", 1, "CSV"),
            ("id\tprompt\n1\ta", 1, "CSV"),
            ("prompt\na fox", 1, "CSV"),
            ("prompt: a fox\n", 1, "YAML or TOML"),
            ("[[images]]\nprompt = \"a fox\"\n", 2, "YAML or TOML"),
            ("\"prompt\": \"a\"", 1, "YAML or TOML"),
            ("<!DOCTYPE html>\n", 1, "HTML"),
            ("a fox\n// a remark\n", 2, "`//`"),
            ("a\nNegative prompt: b\nSteps: 2, Seed: 1", 2, "webui"),
            ("a\nSteps: 2, Seed: 1", 2, "webui"),
            ("\"a fox\",\n\"a cat\"\n", 1, "quoted"),
            ("a fox --n blurry --w 512", 1, "`--n`"),
            ("--prompt \"a fox\" --seed 3", 1, "`--prompt`"),
        ] {
            let (number, what) = other_form(text).unwrap_or_else(|| panic!("read: {text}"));
            assert!(what.contains(part), "{what} for {text}");
            assert_eq!(number, line, "{text}");
        }
    }

    #[test]
    fn prompts_are_prompts() {
        for text in [
            "a fox\n# - a remark with --flags\n\n  a cat, 3. of May\n",
            "\"quoted\"\n-blurry\na -- b\n2. place\n7. heaven\n",
            "prompt engineering, a poster\n",
            "{red|blue} fox\n[fox] in a hat\n(fox:1.2)\nprompt",
            "1. FC Köln, a crest\n",
            "steps: of a stair",
            "a sign that says \"Steps: 2\"",
            "***\n",
            "",
        ] {
            assert_eq!(other_form(text), None, "{text}");
        }
    }
}
