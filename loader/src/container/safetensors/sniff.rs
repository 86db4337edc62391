//! Recognises what people pass in place of a safetensors file.

use super::HeaderError;

/// Says what a file is that cannot be safetensors, from its first bytes; `None` if it is nothing
/// known.
///
/// Only asked once the safetensors reading has failed: a header of 640 bytes begins with the same
/// two bytes as a pickle.
pub(super) fn foreign_format(start: &[u8]) -> Option<HeaderError> {
    if start.starts_with(b"version https://git-lfs") {
        return Some(HeaderError::GitLfsPointer);
    }
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        return Some(HeaderError::ZipArchive);
    }
    if start.starts_with(b"GGUF") {
        return Some(HeaderError::Gguf);
    }
    if let [0x80, 2..=5, ..] = start {
        return Some(HeaderError::Pickle);
    }
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let text = text.trim_ascii_start();
    let begins_with = |tag: &[u8]| {
        text.get(..tag.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(tag))
    };
    if [b"<!doctype".as_slice(), b"<html", b"<head", b"<?xml"]
        .into_iter()
        .any(begins_with)
    {
        return Some(HeaderError::Html);
    }
    if let [b'{', rest @ ..] = text
        && rest
            .trim_ascii_start()
            .first()
            .is_some_and(|&b| b == b'"' || b == b'}')
    {
        return Some(HeaderError::Json);
    }
    None
}
