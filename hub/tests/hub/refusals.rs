//! Downloads that are refused, and what they leave behind.

use std::fs;

use hub::{Config, Error, Hub};

use crate::server::{Reply, Server};
use crate::tree::{TRANSFORMER, Tree, VOCABULARY, at_first, published, transformer};

#[test]
fn a_wrong_checksum_is_an_error_and_leaves_nothing() {
    let mut published = published();
    published.list(&transformer(), |listed| {
        listed["lfs"]["sha256"] = "a".repeat(64).into();
    });
    let (tree, server) = (Tree::new(), published.serve());
    let error = tree.refused(&server);
    assert!(matches!(error, Error::Checksum { .. }), "{error}");
    for part in [TRANSFORMER, "SHA-256", "aaaa"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(tree.names().len(), 5, "{:?}", tree.names());
    assert!(!tree.transformer().exists());
}

#[test]
fn a_small_file_is_checked_too() {
    let mut published = published();
    published.list(VOCABULARY, |listed| {
        listed["blobId"] = "a".repeat(40).into();
    });
    let (tree, server) = (Tree::new(), published.serve());
    let error = tree.refused(&server);
    assert!(matches!(error, Error::Checksum { .. }), "{error}");
    assert!(error.to_string().contains("vocab.json"), "{error}");
}

#[test]
fn a_file_of_another_length_is_refused() {
    for change in [-1_i64, 1] {
        let mut published = published();
        published.list(&transformer(), |listed| {
            let size = listed["lfs"]["size"].as_i64().unwrap();
            listed["lfs"]["size"] = (size + change).into();
        });
        let (tree, server) = (Tree::new(), published.serve());
        let error = tree.refused(&server);
        assert!(matches!(error, Error::Answer { .. }), "{error}");
        assert!(error.to_string().contains("bytes"), "{error}");
        assert!(!tree.transformer().exists());
    }
}

#[test]
fn refusals_of_the_hub_are_told_apart() {
    for status in [401, 403, 404, 500] {
        let (tree, server) = (Tree::new(), Server::start(move |_| Reply::of(status, "")));
        let error = tree.refused(&server);
        let expected = match status {
            401 => matches!(error, Error::Unauthorized { .. }),
            403 => matches!(error, Error::Forbidden { .. }),
            404 => matches!(error, Error::NoRepository { .. }),
            _ => matches!(error, Error::Status { status: 500, .. }),
        };
        assert!(expected, "{error}");
        for part in [&status.to_string(), &server.url()] {
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(!tree.models().exists());
    }
    let (tree, server) = (Tree::new(), at_first(9, |_, _| Reply::of(403, "")));
    let error = tree.refused(&server);
    assert!(matches!(error, Error::Forbidden { .. }), "{error}");
    let names = tree.names();
    assert!(
        !names.iter().any(|name| name.contains(TRANSFORMER)),
        "{names:?}"
    );
}

#[test]
fn a_file_that_is_gone_is_named_before_anything_is_fetched() {
    let mut published = published();
    published.remove(&transformer());
    let (tree, server) = (Tree::new(), published.serve());
    let error = tree.refused(&server);
    assert!(matches!(error, Error::NoFile { .. }), "{error}");
    for part in [TRANSFORMER, "qwen_image_bf16.safetensors"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(server.requests("/resolve/").is_empty());
}

#[test]
fn an_answer_that_is_no_list_is_refused() {
    let server = Server::start(|_| Reply::of(200, "<html>Please log in to the wireless network"));
    let error = Tree::new().refused(&server);
    assert!(matches!(error, Error::Answer { .. }), "{error}");
    for part in [&server.url(), "not a list of files"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn another_file_in_the_place_is_left_alone() {
    let (tree, server) = (Tree::new(), published().serve());
    fs::create_dir_all(tree.transformer().parent().unwrap()).unwrap();
    fs::write(tree.transformer(), "mine").unwrap();
    let error = tree.refused(&server);
    assert!(matches!(error, Error::Occupied { found: 4, .. }), "{error}");
    assert_eq!(fs::read(tree.transformer()).unwrap(), b"mine");
}

#[test]
fn a_configuration_without_sense_asks_nobody() {
    let server = published().serve();
    let broken = Tree::new().download_with(&server, "two words");
    assert!(matches!(broken, Err(Error::Token { .. })));
    let refused = |endpoint: &str, offline| {
        let hub = Hub::new(Config {
            endpoint: endpoint.to_owned(),
            offline,
            ..Config::default()
        });
        hub.err().unwrap()
    };
    assert!(matches!(refused("ftp://x", false), Error::Endpoint(_)));
    assert!(matches!(refused(&server.url(), true), Error::Offline));
    assert!(server.requests("/").is_empty());
}
