//! Parsing and checking the header of the real transformer's file.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use criterion::Criterion;
use loader::Header;

pub(crate) fn bench(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("transformer.safetensors");
    write_sparse(&path);
    criterion.bench_function("header/transformer_1933", |bencher| {
        bencher.iter(|| Header::open(&path).expect("a header"));
    });
}

/// A file with the header of `qwen_image_fp8_e4m3fn.safetensors` and holes for data.
fn write_sparse(path: &Path) {
    let list = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/real_headers/qwen_image_fp8_e4m3fn.txt");
    let list = std::fs::read_to_string(list).expect("the list of the real keys");
    let mut entries = Vec::new();
    let mut end = 0u64;
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let [dtype, shape, pattern] = line.split(' ').collect::<Vec<_>>()[..] else {
            continue;
        };
        assert_eq!(dtype, "F8_E4M3", "one byte an element");
        let sizes: Vec<u64> = shape
            .split('x')
            .map(|n| n.parse().expect("a size"))
            .collect();
        for key in expand(pattern) {
            let begin = end;
            end += sizes.iter().product::<u64>();
            entries.push(format!(
                r#""{key}":{{"dtype":"{dtype}","shape":{sizes:?},"data_offsets":[{begin},{end}]}}"#
            ));
        }
    }
    assert_eq!(entries.len(), 1933);
    let header = format!("{{{}}}", entries.join(","));
    let mut file = File::create(path).expect("a file");
    file.write_all(&(header.len() as u64).to_le_bytes())
        .and_then(|()| file.write_all(header.as_bytes()))
        .and_then(|()| file.set_len(8 + header.len() as u64 + end))
        .expect("a sparse file");
}

/// All words that a pattern with `{a,b}` and `{0..59}` stands for.
fn expand(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else {
        return vec![pattern.to_owned()];
    };
    let (choices, after) = rest.split_once('}').expect("a closing brace");
    let choices: Vec<String> = match choices.split_once("..") {
        Some((first, last)) => {
            let first: u32 = first.parse().expect("a number");
            let last: u32 = last.parse().expect("a number");
            (first..=last).map(|n| n.to_string()).collect()
        }
        None => choices.split(',').map(str::to_owned).collect(),
    };
    let tails = expand(after);
    choices
        .iter()
        .flat_map(|choice| {
            tails
                .iter()
                .map(move |tail| format!("{before}{choice}{tail}"))
        })
        .collect()
}
