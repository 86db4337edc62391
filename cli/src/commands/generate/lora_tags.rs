//! LoRAs that prompts name, which here are no part of prompts.

use super::request::Request;
use crate::args::GenerateConfig;
use crate::lora_tag::{LoraTag, take_out};

/// How many tags a notice names.
const LISTED: usize = 3;

/// Takes `<lora:NAME:WEIGHT>` out of prompts and negative prompts, and adds a notice that says what
/// does it instead. The prompts of a picture that this program made are drawn as they were. Those
/// of another program's say by themselves which LoRAs are used.
pub(super) fn leave_out(
    requests: &mut [Request],
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
    let mut typed: Vec<LoraTag> = Vec::new();
    for request in requests {
        for text in [Some(&mut request.prompt), request.negative_prompt.as_mut()] {
            let Some(text) = text.filter(|text| !(own && recorded(text))) else {
                continue;
            };
            let (rest, tags) = take_out(text);
            if tags.is_empty() {
                continue;
            }
            if !recorded(text) {
                typed.extend(
                    tags.into_iter()
                        .filter(|tag| !typed.contains(tag))
                        .collect::<Vec<_>>(),
                );
            }
            *text = rest;
        }
    }
    notices.extend(notice(&typed));
}

/// What is to be known of tags in prompts.
fn notice(tags: &[LoraTag]) -> Option<String> {
    let texts: Vec<&str> = tags.iter().map(|tag| tag.text.as_str()).collect();
    let mut shown = texts.get(..LISTED.min(texts.len()))?.join(", ");
    if texts.is_empty() {
        return None;
    }
    if texts.len() > LISTED {
        shown.push_str(&format!(" and {} more", texts.len() - LISTED));
    }
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
