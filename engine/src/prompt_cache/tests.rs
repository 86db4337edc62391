use std::fs;
use std::path::Path;

use burn::tensor::TensorData;
use model::tokenizer::PromptTokens;

use super::PromptCache;
use crate::cache::{Entries, Identity, entry};

fn cache(folder: &Path) -> PromptCache {
    PromptCache {
        entries: Entries::new(&folder.join("prompts"), 1 << 20),
        identity: Identity::empty(),
        channels: 3,
    }
}

fn tokens(ids: &[u32]) -> PromptTokens {
    PromptTokens {
        ids: ids.to_vec(),
        prefix: 1,
        kept: ids.len() - 1,
        cut: 0,
    }
}

fn embeds() -> TensorData {
    TensorData::new(vec![1.0_f32, -0.0, 3.5e-39, 4.0, 5.0, 6.0], [1, 2, 3])
}

#[test]
fn what_is_kept_comes_back_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path());
    let text = tokens(&[1, 2, 3]);
    assert!(cache.get(&text).is_none());
    cache.put(&text, &embeds());
    let found = cache.get(&text).unwrap();
    assert_eq!(found.as_bytes(), embeds().as_bytes());
    assert_eq!(found.shape, embeds().shape);
    assert!(cache.get(&tokens(&[1, 2, 4])).is_none());
    let mut other = tokens(&[1, 2, 3]);
    other.prefix = 2;
    assert!(cache.get(&other).is_none());
    let mut cut = tokens(&[1, 2, 3]);
    cut.kept = 1;
    assert!(cache.get(&cut).is_none());
    cache.put(&cut, &TensorData::new(vec![1.0_f32, 2.0, 3.0], [1, 1, 3]));
    assert_eq!(cache.get(&text).unwrap().shape, embeds().shape);
}

#[test]
fn a_damaged_entry_is_none_and_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path());
    let text = tokens(&[1, 2, 3]);
    cache.put(&text, &embeds());
    let path = cache.entries.path(&cache.key(&text));
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&path, &damaged).unwrap();
        // A space in the header's padding may become another character, and nothing else.
        if let Some(found) = cache.get(&text) {
            assert_eq!(found.as_bytes(), embeds().as_bytes(), "byte {at}");
        }
        fs::write(&path, &whole[..at]).unwrap();
        assert!(cache.get(&text).is_none());
    }
    cache.put(&text, &embeds());
    assert!(cache.get(&text).is_some());
    // Another text's entry under this name.
    let foreign = entry::write(&embeds(), "another key").unwrap();
    fs::write(&path, foreign).unwrap();
    assert!(cache.get(&text).is_none());
}

#[test]
fn numbers_that_are_not_finite_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path());
    let text = tokens(&[1, 2, 3]);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let values = vec![1.0, 2.0, 3.0, 4.0, 5.0, bad];
        cache.put(&text, &TensorData::new(values, [1, 2, 3]));
        assert!(cache.get(&text).is_none(), "{bad}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_no_cache() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let cache = cache(&file);
    cache.put(&tokens(&[1, 2, 3]), &embeds());
    assert!(cache.get(&tokens(&[1, 2, 3])).is_none());
}
