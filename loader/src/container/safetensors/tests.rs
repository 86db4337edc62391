#![allow(clippy::unwrap_used)]

use super::*;
use crate::element::ElementType;

/// A file of this header and this many bytes of data.
pub(super) fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

pub(super) fn read(header: &str, data: usize) -> Result<Header, HeaderError> {
    Header::from_bytes(&file(header, data))
}

fn fault(header: &str, data: usize) -> HeaderError {
    read(header, data).unwrap_err()
}

const PAIR: &str = r#"{"__metadata__":{"a":"b"},
    "x":{"dtype":"F8_E4M3","shape":[2,3],"data_offsets":[4,10]},
    "y":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}  "#;

#[test]
fn a_sound_header_is_read_in_file_order() {
    let header = read(PAIR, 10).unwrap();
    let start = 8 + PAIR.len() as u64;
    assert_eq!(header.data_start, start);
    assert_eq!(header.version.len, start + 10);
    assert_eq!(header.metadata["a"], "b");
    let [y, x] = header.tensors.as_slice() else {
        panic!("two tensors")
    };
    assert_eq!(
        (y.key.as_str(), y.dtype, y.elements()),
        ("y", ElementType::BF16, 2)
    );
    assert_eq!(x.range, start + 4..start + 10);
    assert_eq!(
        (x.shape.as_slice(), x.dtype, x.bytes()),
        ([2, 3].as_slice(), ElementType::F8E4M3, 6)
    );
}

#[test]
fn scalars_empty_tensors_and_no_tensors_are_sound() {
    let header = r#"{"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},
        "e":{"dtype":"F8_E4M3","shape":[0],"data_offsets":[0,0]},
        "f":{"dtype":"F8_E5M2","shape":[0,7],"data_offsets":[4,4]}}"#;
    assert_eq!(read(header, 4).unwrap().tensors.len(), 3);
    assert!(read("{}", 0).unwrap().tensors.is_empty());
}

#[test]
fn sub_byte_elements_that_fill_bytes_are_sound() {
    let header = r#"{"x":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}"#;
    assert_eq!(read(header, 2).unwrap().tensors[0].bytes(), 2);
}

#[test]
fn empty() {
    assert_eq!(Header::from_bytes(b""), Err(HeaderError::Empty));
}

#[test]
fn too_short() {
    assert_eq!(
        Header::from_bytes(&[1, 0, 0, 0]),
        Err(HeaderError::TooShort { found: 4 })
    );
}

#[test]
fn blank() {
    assert_eq!(Header::from_bytes(&[0; 4096]), Err(HeaderError::Blank));
}

#[test]
fn git_lfs_pointer() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 20430635136\n";
    assert_eq!(Header::from_bytes(pointer), Err(HeaderError::GitLfsPointer));
}

#[test]
fn web_page() {
    for page in [
        "<!DOCTYPE html><html>",
        "\n  <html lang=en>",
        "\u{feff}<!doctype HTML>",
    ] {
        assert_eq!(Header::from_bytes(page.as_bytes()), Err(HeaderError::Html));
    }
}

#[test]
fn zip_archive() {
    assert_eq!(
        Header::from_bytes(b"PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl"),
        Err(HeaderError::ZipArchive)
    );
}

#[test]
fn pickle() {
    assert_eq!(
        Header::from_bytes(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."),
        Err(HeaderError::Pickle)
    );
}

#[test]
fn a_length_that_looks_like_a_pickle_is_a_length() {
    // 0x0280 bytes of header begin like a pickle of protocol 2.
    let header = format!("{:<640}", "{}");
    let bytes = file(&header, 0);
    assert!(bytes.starts_with(&[0x80, 2]));
    assert!(Header::from_bytes(&bytes).is_ok());
}

#[test]
fn gguf() {
    assert_eq!(
        Header::from_bytes(b"GGUF\x03\x00\x00\x00\x79\x07\x00\x00"),
        Err(HeaderError::Gguf)
    );
}

#[test]
fn json_file() {
    assert_eq!(
        Header::from_bytes(b"{\n  \"_class_name\": \"AutoencoderKLQwenImage\"\n}"),
        Err(HeaderError::Json)
    );
}

#[test]
fn header_too_large() {
    for length in [MAX_HEADER_BYTES + 1, u64::MAX] {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(b"{}");
        assert_eq!(
            Header::from_bytes(&bytes),
            Err(HeaderError::HeaderTooLarge { length })
        );
    }
}

#[test]
fn header_past_the_end() {
    let mut bytes = 1000u64.to_le_bytes().to_vec();
    bytes.extend(b"{\"x\":");
    assert_eq!(
        Header::from_bytes(&bytes),
        Err(HeaderError::HeaderPastEnd {
            found: 13,
            needed: 1008
        })
    );
}

#[test]
fn not_an_object() {
    assert_eq!(fault(" {}", 0), HeaderError::NotAnObject);
    assert_eq!(fault("[]", 0), HeaderError::NotAnObject);
}

#[test]
fn not_utf8() {
    let mut bytes = file("{\"?\":1}", 0);
    bytes[10] = 0xff;
    assert_eq!(Header::from_bytes(&bytes), Err(HeaderError::NotUtf8));
}

#[test]
fn not_json() {
    for header in ["{", "{]", "{} {}", "{\"x\":{\"dtype\"}}"] {
        assert!(
            matches!(fault(header, 0), HeaderError::NotJson { .. }),
            "{header}"
        );
    }
    let deep = format!("{{\"x\":{}", "[".repeat(100_000));
    assert!(fault(&deep, 0).to_string().len() < 300);
}

#[test]
fn malformed() {
    for header in [
        r#"{"x":1}"#,
        r#"{"x":{"dtype":8,"shape":[1],"data_offsets":[0,1]}}"#,
        r#"{"x":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#,
        r#"{"x":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}"#,
        r#"{"x":{"dtype":"U8","shape":"1","data_offsets":[0,1]}}"#,
        r#"{"x":{"dtype":"U8","shape":[1],"data_offsets":{}}}"#,
        r#"{"__metadata__":{"a":1}}"#,
        r#"{"__metadata__":[]}"#,
    ] {
        assert!(
            matches!(fault(header, 1), HeaderError::Malformed { .. }),
            "{header}"
        );
    }
}

#[test]
fn missing_field() {
    for (header, field) in [
        (r#"{"x":{"shape":[1],"data_offsets":[0,1]}}"#, "dtype"),
        (r#"{"x":{"dtype":"U8","data_offsets":[0,1]}}"#, "shape"),
        (r#"{"x":{"dtype":"U8","shape":[1]}}"#, "data_offsets"),
    ] {
        let key = "x".into();
        assert_eq!(fault(header, 1), HeaderError::MissingField { key, field });
    }
}

#[test]
fn unknown_field() {
    let header = r#"{"x":{"dtype":"U8","new":[{}],"shape":[1],"data_offsets":[0,1]}}"#;
    let (key, field) = ("x".into(), "new".into());
    assert_eq!(fault(header, 1), HeaderError::UnknownField { key, field });
}

#[test]
fn duplicate_keys() {
    let x = r#""x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    for (header, key) in [
        (format!("{{{x},{x}}}"), "x"),
        // The same name, spelled with an escape.
        (
            format!("{{{x},{}}}", x.replace("\"x\"", "\"\\u0078\"")),
            "x",
        ),
        (
            r#"{"__metadata__":{},"__metadata__":{}}"#.into(),
            "__metadata__",
        ),
        (r#"{"__metadata__":{"k":"a","k":"b"}}"#.into(), "k"),
        (
            r#"{"x":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#.into(),
            "x.dtype",
        ),
        (
            r#"{"x":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}}"#.into(),
            "x.shape",
        ),
    ] {
        let key = key.into();
        assert_eq!(
            fault(&header, 1),
            HeaderError::DuplicateKey { key },
            "{header}"
        );
    }
}

#[test]
fn unknown_dtype() {
    let header = r#"{"x":{"dtype":"F9\u001b[0m","shape":[1],"data_offsets":[0,1]}}"#;
    let fault = fault(header, 1);
    assert!(matches!(fault, HeaderError::UnknownDtype { .. }));
    assert!(fault.to_string().contains("F9\\u{1b}[0m"), "{fault}");
}

#[test]
fn rank_too_high() {
    let dims = vec!["1"; 1_000_000].join(",");
    let header = format!(r#"{{"x":{{"dtype":"U8","shape":[{dims}],"data_offsets":[0,1]}}}}"#);
    let key = "x".into();
    assert_eq!(fault(&header, 1), HeaderError::RankTooHigh { key });
}

#[test]
fn shape_overflow() {
    for shape in [
        "[4294967296,4294967296]",
        "[18446744073709551615]",
        "[9223372036854775808,2,0]",
    ] {
        let header = format!(r#"{{"x":{{"dtype":"F64","shape":{shape},"data_offsets":[0,0]}}}}"#);
        let key = "x".into();
        assert_eq!(
            fault(&header, 0),
            HeaderError::ShapeOverflow { key },
            "{shape}"
        );
    }
}

#[test]
fn partial_byte() {
    let header = r#"{"x":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#;
    assert!(matches!(fault(header, 2), HeaderError::PartialByte { .. }));
}

#[test]
fn offsets_not_a_pair() {
    for offsets in ["[]", "[0]", "[0,1,2]"] {
        let header = format!(r#"{{"x":{{"dtype":"U8","shape":[1],"data_offsets":{offsets}}}}}"#);
        let key = "x".into();
        assert_eq!(fault(&header, 1), HeaderError::OffsetsNotAPair { key });
    }
}

#[test]
fn inverted_offsets() {
    let header = r#"{"x":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}"#;
    assert!(matches!(
        fault(header, 1),
        HeaderError::InvertedOffsets {
            begin: 1,
            end: 0,
            ..
        }
    ));
}

#[test]
fn span_mismatch() {
    let header = r#"{"x":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,7]}}"#;
    assert!(matches!(
        fault(header, 7),
        HeaderError::SpanMismatch {
            needed: 8,
            found: 7,
            ..
        }
    ));
}

#[test]
fn overlap() {
    let header = r#"{"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
        "y":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#;
    let (first, second) = ("x".into(), "y".into());
    assert_eq!(fault(header, 6), HeaderError::Overlap { first, second });
}

#[test]
fn gap() {
    let gaps = [
        r#"{"x":{"dtype":"U8","shape":[4],"data_offsets":[3,7]}}"#,
        r#"{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
            "x":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#,
    ];
    for header in gaps {
        let (key, bytes) = ("x".into(), 3);
        assert_eq!(fault(header, 8), HeaderError::Gap { key, bytes });
    }
}

#[test]
fn truncated() {
    let whole = 8 + PAIR.len() as u64 + 10;
    let fault = fault(PAIR, 9);
    assert_eq!(
        fault,
        HeaderError::Truncated {
            found: whole - 1,
            needed: whole
        }
    );
    let message = format!("download incomplete: {} of {whole} bytes", whole - 1);
    assert!(fault.to_string().starts_with(&message));
}

#[test]
fn trailing_bytes() {
    assert!(matches!(fault(PAIR, 11), HeaderError::TrailingBytes { .. }));
}

#[test]
fn messages_are_one_line() {
    let header = r#"{"a\nb":{"dtype":"\n\n","shape":[1],"data_offsets":[0,1]}}"#;
    assert!(!fault(header, 1).to_string().contains('\n'));
}
