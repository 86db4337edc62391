//! Token ids.

use std::path::Path;

use model::Tokenizer;
use serde::Deserialize;
use tests::{Models, Trace, cases, fixture};

use crate::Flex;

#[test]
fn prompts_of_all_cases_have_the_ids_of_the_reference() {
    for case in cases() {
        let trace = Trace::open(&case.trace);
        let tokenizer = Models::<Flex>::new(&case, Default::default()).tokenizer();
        let negative = case.negative.as_deref().filter(|_| case.guided());
        for (name, prompt) in [
            ("input_ids", Some(case.prompt.as_str())),
            ("negative_input_ids", negative),
        ] {
            let Some(prompt) = prompt else { continue };
            let tokens = tokenizer.encode_prompt(prompt).expect("tokens");
            let ids: Vec<i64> = tokens.ids.iter().copied().map(i64::from).collect();
            assert_eq!(ids, trace.i64(name), "{}: {name}", case.name);
            assert_eq!(tokens.prefix, case.drop_index, "{}", case.name);
        }
    }
}

#[derive(Deserialize)]
struct Row {
    prompt: String,
    ids: Vec<u32>,
}

/// The Qwen2.5 tokenizer, where the environment names its folder.
pub(crate) fn real_tokenizer() -> Option<Tokenizer> {
    let Some(folder) = std::env::var_os("QWEN_TOKENIZER") else {
        eprintln!("skipped: QWEN_TOKENIZER does not name the folder of the Qwen2.5 tokenizer");
        return None;
    };
    let folder = Path::new(&folder);
    // The tests run in this package's folder; the variable may be relative to the workspace's.
    let folder = if folder.is_relative() {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(folder)
    } else {
        folder.to_owned()
    };
    Some(Tokenizer::open(&folder).expect("the real tokenizer"))
}

#[test]
fn the_real_tokenizer_gives_the_ids_of_the_reference() {
    let Some(tokenizer) = real_tokenizer() else {
        return;
    };
    let text = std::fs::read(fixture("tokenizer_real.json")).expect("tokenizer_real.json");
    let rows: Vec<Row> = serde_json::from_slice(&text).expect("tokenizer_real.json");
    assert!(rows.len() >= 30);
    for row in rows {
        let tokens = tokenizer.encode_prompt(&row.prompt).expect("tokens");
        assert_eq!(tokens.ids, row.ids, "{:?}", row.prompt);
        assert_eq!(tokens.prefix, 34);
    }
}
