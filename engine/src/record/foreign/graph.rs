//! ComfyUI's graph of nodes as it was run (the form of its API).

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Map, Value};

/// The longest way that is followed to a value.
const MAX_DEPTH: usize = 16;
/// Nodes that hold one value, and what they call it; those that begin with `Primitive` call it
/// `value`.
const HOLDERS: [(&str, &str); 14] = [
    ("INTConstant", "value"),
    ("FloatConstant", "value"),
    ("StringConstant", "string"),
    ("StringConstantMultiline", "string"),
    ("Int Literal", "int"),
    ("Float Literal", "float"),
    ("String Literal", "string"),
    ("Seed (rgthree)", "seed"),
    ("easy seed", "seed"),
    ("easy int", "value"),
    ("easy float", "value"),
    ("easy string", "value"),
    ("ImpactInt", "value"),
    ("ImpactFloat", "value"),
];

/// A graph.
#[derive(Debug)]
pub(super) struct Graph {
    nodes: Map<String, Value>,
}

/// A node of a graph.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a> {
    graph: &'a Graph,
    /// Its name in the graph.
    pub(super) id: &'a str,
    /// The name of what it does.
    pub(super) class: &'a str,
    inputs: &'a Map<String, Value>,
}

/// The value at a node's input.
#[derive(Debug, Clone, Copy)]
pub(super) enum Input<'a> {
    /// A value.
    Value(&'a Value),
    /// The output of this node.
    Node(Node<'a>),
    /// Nothing.
    Nothing,
}

impl Graph {
    /// The graph of a text; `None` for a text that is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if !text.contains("\"class_type\"") {
            return None;
        }
        Self::of(serde_json::from_str(&without_nan(text)).ok()?)
    }

    /// The graph of an object whose fields are nodes.
    pub(super) fn of(value: Value) -> Option<Self> {
        let Value::Object(nodes) = value else {
            return None;
        };
        let graph = Self { nodes };
        let has_nodes = graph.nodes().next().is_some();
        has_nodes.then_some(graph)
    }

    /// All nodes.
    pub(super) fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        self.nodes.keys().filter_map(|id| self.node(id))
    }

    fn node(&self, id: &str) -> Option<Node<'_>> {
        let (id, node) = self.nodes.get_key_value(id)?;
        Some(Node {
            graph: self,
            id,
            class: node.get("class_type")?.as_str()?,
            inputs: node.get("inputs")?.as_object()?,
        })
    }

    /// The nodes from which others take nothing.
    pub(super) fn last(&self) -> Vec<Node<'_>> {
        let taken: HashSet<&str> = self
            .nodes()
            .flat_map(|node| node.sources())
            .map(|source| source.id)
            .collect();
        self.nodes()
            .filter(|node| !taken.contains(node.id))
            .collect()
    }
}

impl<'a> Node<'a> {
    /// The nodes that it takes something from.
    pub(super) fn sources(self) -> Vec<Node<'a>> {
        let inputs = self.inputs.values();
        inputs.filter_map(|input| self.linked(input)).collect()
    }

    /// The node that an input names as `[id, slot]`.
    fn linked(self, input: &'a Value) -> Option<Node<'a>> {
        match input.as_array()?.as_slice() {
            [Value::String(id), Value::Number(_)] => self.graph.node(id),
            [Value::Number(id), Value::Number(_)] => self.graph.node(&id.to_string()),
            _ => None,
        }
    }

    /// The value at an input; nodes that only hand a value on are followed.
    pub(super) fn input(self, name: &str) -> Input<'a> {
        let mut at = self.inputs.get(name);
        for _ in 0..MAX_DEPTH {
            let Some(value) = at else {
                return Input::Nothing;
            };
            let Some(node) = self.linked(value) else {
                return Input::Value(value);
            };
            let holder = HOLDERS.iter().find(|(class, _)| *class == node.class);
            at = match holder {
                Some((_, name)) => node.inputs.get(*name),
                None if node.class.starts_with("Primitive") => node.inputs.get("value"),
                None if node.class == "Reroute" => node.inputs.values().next(),
                None => return Input::Node(node),
            };
        }
        Input::Nothing
    }

    /// The node at an input.
    pub(super) fn source(self, name: &str) -> Option<Node<'a>> {
        match self.input(name) {
            Input::Node(node) => Some(node),
            _ => None,
        }
    }

    /// The node itself and all nodes that it takes from, near and far; `ends` tells where to go no
    /// further.
    pub(super) fn reached(self, ends: impl Fn(Node<'a>) -> bool) -> Vec<Node<'a>> {
        let mut found = vec![self];
        let mut seen = HashSet::from([self.id]);
        let mut next = 0;
        while let Some(&node) = found.get(next) {
            next += 1;
            if ends(node) {
                continue;
            }
            let sources = node.sources().into_iter();
            found.extend(sources.filter(|source| seen.insert(source.id)));
        }
        found
    }
}

/// A JSON text in which Python may have written `NaN` or `Infinity`, which JSON does not have, with
/// `null` in their place.
pub(super) fn without_nan(text: &str) -> Cow<'_, str> {
    if !text.contains("NaN") && !text.contains("Infinity") {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    let (mut inside, mut escaped) = (false, false);
    while let Some(c) = rest.chars().next() {
        let word = ["-Infinity", "Infinity", "NaN"];
        let word = word.iter().find(|word| !inside && rest.starts_with(**word));
        if let Some(word) = word {
            plain.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = inside,
            '"' => inside = !inside,
            _ => {}
        }
        plain.push(c);
        rest = &rest[c.len_utf8()..];
    }
    Cow::Owned(plain)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::{Graph, Input, without_nan};

    #[test]
    fn values_are_followed_through_nodes_that_hand_them_on() {
        let graph = json!({
            "1": {"class_type": "K", "inputs": {
                "a": ["2", 0], "b": ["4", 0], "c": 3, "d": ["5", 0], "e": ["9", 0], "f": ["6", 0]
            }},
            "2": {"class_type": "Reroute", "inputs": {"": ["3", 0]}},
            "3": {"class_type": "PrimitiveInt", "inputs": {"value": 7}},
            "4": {"class_type": "easy seed", "inputs": {"seed": 8}},
            "5": {"class_type": "Other", "inputs": {}},
            "6": {"class_type": "Reroute", "inputs": {"": ["6", 0]}}
        });
        let graph = Graph::of(graph).unwrap();
        let node = graph.nodes().find(|node| node.class == "K").unwrap();
        let value = |name: &str| match node.input(name) {
            Input::Value(value) => value.as_i64(),
            _ => None,
        };
        assert_eq!(
            [value("a"), value("b"), value("c")],
            [Some(7), Some(8), Some(3)]
        );
        assert_eq!(node.source("d").unwrap().class, "Other");
        // A node that is not there, and a circle.
        assert!(matches!(node.input("e"), Input::Value(_)));
        assert!(matches!(node.input("f"), Input::Nothing));
        assert_eq!(graph.last()[0].id, "1");
    }

    #[test]
    fn pythons_numbers_become_null_outside_texts() {
        let text = r#"{"a": [NaN, -Infinity], "b": "NaN \" NaN", "c": Infinity}"#;
        let expected = r#"{"a": [null, null], "b": "NaN \" NaN", "c": null}"#;
        assert_eq!(without_nan(text), expected);
        for text in [
            "",
            "a fox",
            "{}",
            "{\"a\": {}}",
            "[]",
            "{\"class_type\": 1}",
        ] {
            assert!(Graph::parse(text).is_none(), "{text}");
        }
    }
}
