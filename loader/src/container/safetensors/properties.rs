//! Properties of any header and of any bytes.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{file, read};
use super::*;
use crate::element::ElementType;

fn dtypes() -> impl Strategy<Value = ElementType> {
    prop::sample::select(vec![
        ElementType::Bool,
        ElementType::U8,
        ElementType::F8E4M3,
        ElementType::F8E5M2,
        ElementType::BF16,
        ElementType::F16,
        ElementType::F32,
        ElementType::F64,
        ElementType::I64,
    ])
}

/// Tensors with names, in some order of their bytes.
fn tensors() -> impl Strategy<Value = Vec<(String, ElementType, Vec<usize>)>> {
    let shape = prop::collection::vec(0usize..6, 0..=MAX_RANK);
    prop::collection::btree_map(".{0,12}", (dtypes(), shape), 0..8)
        .prop_filter("not the metadata", |map| !map.contains_key("__metadata__"))
        .prop_map(|map| {
            map.into_iter()
                .map(|(k, (d, s))| (k, d, s))
                .collect::<Vec<_>>()
        })
        .prop_shuffle()
}

/// The header of tensors that follow each other, and the size of their data.
fn header_of(
    tensors: &[(String, ElementType, Vec<usize>)],
) -> (serde_json::Map<String, Value>, usize) {
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (key, dtype, shape) in tensors {
        let begin = end;
        end += shape.iter().product::<usize>() * dtype.block().bytes;
        let entry =
            json!({"dtype": dtype.to_string(), "shape": shape, "data_offsets": [begin, end]});
        header.insert(key.clone(), entry);
    }
    (header, end)
}

proptest! {
    #[test]
    fn any_valid_header_is_read_as_written(tensors in tensors(), note in ".{0,20}") {
        let (mut header, data) = header_of(&tensors);
        header.insert("__metadata__".into(), json!({ "note": note }));
        let read = read(&Value::Object(header).to_string(), data).unwrap();
        prop_assert_eq!(&read.metadata["note"], &note);
        let mut found: Vec<_> = read
            .tensors
            .iter()
            .map(|t| (t.key.clone(), t.dtype, t.shape.clone()))
            .collect();
        let mut expected = tensors;
        found.sort_by(|a, b| a.0.cmp(&b.0));
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        prop_assert_eq!(found, expected);
        let mut at = read.data_start;
        for tensor in &read.tensors {
            prop_assert_eq!(tensor.range.start, at);
            at = tensor.range.end;
        }
        prop_assert_eq!(at, read.version.len);
    }

    #[test]
    fn what_safetensors_refuses_is_refused(
        tensors in tensors(),
        cut in 0usize..4,
        flip in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let (header, data) = header_of(&tensors);
        let mut bytes = file(&Value::Object(header).to_string(), data);
        let at = flip.index(bytes.len());
        bytes[at] ^= 1 << bit;
        bytes.truncate(bytes.len() - cut.min(bytes.len()));
        // We may be stricter (duplicate keys, rank), never laxer.
        if safetensors::SafeTensors::deserialize(&bytes).is_err() {
            prop_assert!(Header::from_bytes(&bytes).is_err());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Header::from_bytes(&bytes);
    }

    #[test]
    fn arbitrary_text_as_header_never_panics(text in "\\{[ -~]{0,200}", data in 0usize..20) {
        let _ = read(&text, data);
    }

    #[test]
    fn arbitrary_numbers_never_panic(
        shape in prop::collection::vec(any::<u64>(), 0..10),
        offsets in prop::collection::vec(any::<u64>(), 0..4),
        data in 0usize..20,
    ) {
        let header = json!({"x": {"dtype": "F32", "shape": shape, "data_offsets": offsets}});
        let _ = read(&header.to_string(), data);
    }
}
