//! The values at the inputs of a graph's nodes.

use serde_json::Value;

use crate::record::foreign::graph::{Input, Node};

/// The number of nodes for which a chain is followed.
pub(super) const MAX_CHAIN: usize = 64;
/// Tells whether a node takes, near or far, from another one.
pub(super) fn takes_from(node: Node<'_>, other: Node<'_>) -> bool {
    let reached = node.reached(|at| at.id == other.id);
    reached.iter().any(|at| at.id == other.id)
}

/// A prompt as it reaches a sampler.
pub(super) enum Encoded<'a> {
    Text(&'a str),
    Zeros,
    /// The prompt comes from this, and is not known.
    Unknown(String),
}

/// The prompt at an input of the sampler.
pub(super) fn encoded<'a>(sampler: Node<'a>, name: &str) -> Encoded<'a> {
    let Some(node) = sampler.source(name) else {
        return Encoded::Unknown("nowhere".to_owned());
    };
    let text = match node.class {
        "CLIPTextEncode" => "text",
        // Without an image it is the other one.
        "TextEncodeQwenImageEdit" if node.source("image").is_none() => "prompt",
        "ConditioningZeroOut" => return Encoded::Zeros,
        class => return Encoded::Unknown(format!("the node {class}")),
    };
    match node.input(text) {
        Input::Value(Value::String(text)) => Encoded::Text(text),
        Input::Node(node) => Encoded::Unknown(format!("the node {}", node.class)),
        _ => Encoded::Unknown("no text".to_owned()),
    }
}

/// The image file that is encoded, if it is only resized before.
pub(super) fn loaded_image(encode: Node<'_>) -> Option<&str> {
    let mut at = encode.source("pixels")?;
    for _ in 0..MAX_CHAIN {
        if at.class == "LoadImage" {
            return text_at(at, "image").map(base_name);
        }
        if !at.class.starts_with("ImageScale") {
            return None;
        }
        at = at.source("image")?;
    }
    None
}

pub(super) fn number_at(node: Node<'_>, name: &str) -> Option<f64> {
    match node.input(name) {
        Input::Value(value) => value.as_f64(),
        _ => None,
    }
}

pub(super) fn whole_at(node: Node<'_>, name: &str) -> Option<i64> {
    let number = number_at(node, name).filter(|number| number.fract() == 0.0)?;
    Some(number as i64)
}

pub(super) fn text_at<'a>(node: Node<'a>, name: &str) -> Option<&'a str> {
    match node.input(name) {
        Input::Value(value) => value.as_str(),
        _ => None,
    }
}

/// A file's name without its folders, whichever system wrote it.
pub(super) fn base_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// A file's name without its folders and its ending.
pub(super) fn stem(path: &str) -> String {
    let name = base_name(path);
    let stem = name.rsplit_once('.').map(|(stem, _)| stem);
    stem.unwrap_or(name).to_owned()
}
