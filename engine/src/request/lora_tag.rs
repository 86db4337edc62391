//! LoRAs that a prompt names: `<lora:NAME:WEIGHT>`, as stable-diffusion-webui, ComfyUI's extensions
//! and stable-diffusion.cpp read them.

use std::ops::Range;

use super::limits::MAX_LORA_WEIGHT;

/// The words that such tags begin with.
const KINDS: [&str; 2] = ["lora:", "lyco:"];

/// A tag.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraTag {
    /// The tag as it stands in the prompt.
    pub text: String,
    /// The LoRA's name: its file's without the ending, and without the folder.
    pub name: String,
    /// The LoRA's weight; none where that cannot be read.
    pub weight: Option<f64>,
}

impl LoraTag {
    /// Finds the tags of a prompt.
    pub fn all(prompt: &str) -> Vec<Self> {
        find(prompt).into_iter().map(|(_, tag)| tag).collect()
    }

    /// Writes the tag as `NAME:WEIGHT`, which names the same LoRA.
    pub fn value(&self) -> String {
        match self.weight {
            Some(weight) => format!("{}:{weight}", self.name),
            None => format!("{}:WEIGHT", self.name),
        }
    }

    fn parse(inner: &str, text: &str) -> Option<Self> {
        let start = inner.get(..KINDS[0].len())?;
        if !KINDS.iter().any(|kind| kind.eq_ignore_ascii_case(start)) {
            return None;
        }
        let mut words = inner[start.len()..].split(':').map(str::trim);
        let name = words.next()?;
        let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
        if name.is_empty() {
            return None;
        }
        Some(Self {
            text: text.to_owned(),
            name: name.to_owned(),
            weight: weight(words),
        })
    }
}

/// The weight of the diffusion model. A text encoder's stands before it where there are two.
fn weight<'a>(words: impl Iterator<Item = &'a str>) -> Option<f64> {
    let mut places = Vec::new();
    let mut named = None;
    for word in words {
        match word.split_once('=') {
            None => places.push(word),
            Some((name, value)) if name.trim() == "unet" => named = Some(value.trim()),
            Some(_) => {}
        }
    }
    let Some(word) = named.or_else(|| places.get(1).or(places.first()).copied()) else {
        return Some(1.0);
    };
    let weight = word.parse().ok();
    weight.filter(|weight| (-MAX_LORA_WEIGHT..=MAX_LORA_WEIGHT).contains(weight))
}

/// Takes the tags out of a prompt, and returns both. Where a tag stood between commas or spaces,
/// one of these is left.
pub fn take_out(prompt: &str) -> (String, Vec<LoraTag>) {
    let found = find(prompt);
    let mut text = String::new();
    let mut end = 0;
    for (range, _) in &found {
        text.push_str(&prompt[end..range.start]);
        let (before, after) = (text.trim_end_matches(' '), &prompt[range.end..]);
        let mut rest = after.trim_start_matches(' ');
        let spaced = before.len() < text.len() || rest.len() < after.len();
        let begins = before.is_empty() || before.ends_with('\n');
        let comma = before.ends_with(',');
        if begins || comma {
            rest = rest.strip_prefix(',').unwrap_or(rest);
            rest = rest.trim_start_matches(' ');
        }
        let ends = rest.is_empty() || rest.starts_with([',', '\n']);
        text.truncate(before.len());
        if (spaced || comma) && !begins && !ends {
            text.push(' ');
        }
        end = prompt.len() - rest.len();
    }
    text.push_str(&prompt[end..]);
    if !found.is_empty() && end == prompt.len() {
        let kept = text.trim_end_matches([' ', ',']).len();
        text.truncate(kept);
    }
    let tags = found.into_iter().map(|(_, tag)| tag);
    (text, tags.collect())
}

/// The tags and where they stand.
fn find(prompt: &str) -> Vec<(Range<usize>, LoraTag)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = prompt[at..].find('<').map(|start| at + start) {
        at = start + 1;
        let Some(length) = prompt[at..].find(['<', '>', '\n']) else {
            break;
        };
        let end = at + length;
        if !prompt[end..].starts_with('>') {
            continue;
        }
        let range = start..end + 1;
        if let Some(tag) = LoraTag::parse(&prompt[at..end], &prompt[range.clone()]) {
            at = range.end;
            found.push((range, tag));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_a_name_and_a_weight() {
        for (text, name, weight) in [
            ("<lora:style:0.8>", "style", Some(0.8)),
            ("<lora:style>", "style", Some(1.0)),
            ("<lora:style:-1>", "style", Some(-1.0)),
            ("<lora:my style-v1.0:1>", "my style-v1.0", Some(1.0)),
            ("<lora: style : 0.5 >", "style", Some(0.5)),
            ("<LoRA:style:.5>", "style", Some(0.5)),
            ("<lyco:style:1.5>", "style", Some(1.5)),
            // The text encoder's weight, and then the diffusion model's.
            ("<lora:style:0.2:0.7>", "style", Some(0.7)),
            ("<lora:style:te=0.2:unet=0.7:dyn=8>", "style", Some(0.7)),
            ("<lora:style:te=0.2>", "style", Some(1.0)),
            ("<lora:qwen/style:1>", "style", Some(1.0)),
            (r"<lora:qwen\style:1>", "style", Some(1.0)),
            ("<lora:风格:1>", "风格", Some(1.0)),
            ("<lora:style:strong>", "style", None),
            ("<lora:style:>", "style", None),
            ("<lora:style:nan>", "style", None),
            ("<lora:style:1000>", "style", None),
        ] {
            let expected = LoraTag {
                text: text.to_owned(),
                name: name.to_owned(),
                weight,
            };
            assert_eq!(LoraTag::all(&format!("a {text} b")), [expected], "{text}");
        }
        for none in [
            "a cat",
            "a < b > c",
            "<lora>",
            "<lora:>",
            "<lora:/:1>",
            "<lora:style:1",
            "<lora:style\n:1>",
            "<hypernet:style:1>",
            "<|im_start|>",
            "lora:style:1>",
            "<lör:a>",
            "",
        ] {
            assert_eq!(take_out(none), (none.to_owned(), Vec::new()), "{none}");
        }
    }

    #[test]
    fn a_prompt_without_its_tags_reads_as_if_they_had_never_been_there() {
        for (prompt, expected) in [
            ("a fox <lora:x:1>", "a fox"),
            ("a fox, <lora:x:1>", "a fox"),
            ("a fox, <lora:x:1>, <lora:y:0.5>", "a fox"),
            ("a fox,<lora:x:1>,<lora:y:0.5>", "a fox"),
            ("<lora:x:1> a fox", "a fox"),
            ("<lora:x:1>, a fox", "a fox"),
            ("<lora:x:1><lora:y:1>a fox", "a fox"),
            ("a fox, <lora:x:1>, red", "a fox, red"),
            ("a fox,<lora:x:1> red", "a fox, red"),
            ("a <lora:x:1> fox", "a fox"),
            ("a <lora:x:1>fox", "a fox"),
            ("a<lora:x:1> fox", "a fox"),
            ("a fox <lora:x:1>, red", "a fox, red"),
            ("a fox, <lora:x:1>\nred", "a fox,\nred"),
            ("a fox <lora:x:1>\nred", "a fox\nred"),
            ("a fox\n<lora:x:1>", "a fox\n"),
            ("a < b <lora:x:1>", "a < b"),
            ("<<lora:x:1>", "<"),
            ("<lora:x:1>", ""),
        ] {
            assert_eq!(take_out(prompt).0, expected, "{prompt}");
        }
    }

    #[test]
    fn a_tag_is_written_as_a_name_and_a_weight() {
        let value = |text: &str| LoraTag::all(text).first().map(LoraTag::value);
        assert_eq!(value("<lora:style>").as_deref(), Some("style:1"));
        assert_eq!(value("<lora:style:x>").as_deref(), Some("style:WEIGHT"));
    }
}
