//! LoRAs that prompts name, which here are no part of prompts.

use std::collections::HashSet;

use engine::request::{LoraTag, take_out};

use super::request::Wanted;
use crate::args::GenerateConfig;

/// How many tags a notice names.
const LISTED: usize = 3;

/// Takes `<lora:NAME:WEIGHT>` out of prompts and negative prompts, and adds a notice that says what
/// does it instead. The prompts of an image that this program made are drawn as they were. LoRAs
/// that the prompt of another program's names are used where they can be, which is told elsewhere.
pub(super) fn leave_out(
    requests: &mut [Wanted],
    config: &GenerateConfig,
    notices: &mut Vec<String>,
) {
    let from = config.from.as_ref();
    let recorded = |text: &str| {
        from.is_some_and(|from| {
            from.prompt == text || from.negative_prompt.as_deref() == Some(text)
        })
    };
    let own = from.is_some_and(|from| from.recipe.is_some());
    let named = config.sources.loras.named.as_ref();
    let named = named.map_or(&[][..], |named| &named.tags);
    let mut seen = HashSet::new();
    let (mut typed, mut foreign) = (Vec::new(), Vec::new());
    for request in requests {
        for text in [
            Some(&mut request.request.prompt),
            request.request.negative_prompt.as_mut(),
        ] {
            let Some(text) = text.filter(|text| !(own && recorded(text))) else {
                continue;
            };
            let (rest, tags) = take_out(text);
            if tags.is_empty() {
                continue;
            }
            let found = if recorded(text) {
                &mut foreign
            } else {
                &mut typed
            };
            let new = |tag: &LoraTag| !named.contains(tag) && seen.insert(tag.text.clone());
            found.extend(tags.into_iter().filter(new));
            *text = rest;
        }
    }
    notices.extend(notice(&typed));
    if let (Some(from), Some(shown)) = (from, listed(&foreign)) {
        notices.push(format!(
            "{shown} in the prompts of {} is left out",
            from.path.display()
        ));
    }
}

/// The first tags of several, and how many there are.
fn listed(tags: &[LoraTag]) -> Option<String> {
    let texts: Vec<&str> = tags.iter().map(|tag| tag.text.as_str()).collect();
    match texts.len() {
        0 => None,
        1..=LISTED => Some(texts.join(", ")),
        count => Some(format!(
            "{} and {} more",
            texts[..LISTED].join(", "),
            count - LISTED
        )),
    }
}

/// The notice about LoRA tags in prompts.
fn notice(tags: &[LoraTag]) -> Option<String> {
    let shown = listed(tags)?;
    let flags: Vec<String> = tags.iter().take(LISTED).map(flag).collect();
    Some(format!(
        "a prompt adds no LoRA here, and {shown} is left out of it; tip: {}",
        flags.join(" ")
    ))
}

/// A flag as a shell takes it.
fn flag(tag: &LoraTag) -> String {
    let value = tag.value();
    let plain = |c: char| c.is_alphanumeric() || "._-+:/".contains(c);
    if value.chars().all(plain) {
        format!("--lora {value}")
    } else {
        format!("--lora '{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notice_tells_the_flags() {
        let tags = |prompt: &str| notice(&LoraTag::all(prompt));
        assert_eq!(tags("a fox"), None);
        assert_eq!(
            tags("a fox <lora:style:0.8>").as_deref(),
            Some(
                "a prompt adds no LoRA here, and <lora:style:0.8> is left out of it; tip: \
                 --lora style:0.8"
            )
        );
        let several = tags("<lora:a><lora:b c:2><lora:c><lora:d>").unwrap_or_default();
        assert!(several.contains("<lora:a>, <lora:b c:2>, <lora:c> and 1 more"));
        assert!(several.ends_with("tip: --lora a:1 --lora 'b c:2' --lora c:1"));
    }
}
