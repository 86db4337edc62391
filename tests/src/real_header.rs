//! The real checkpoints' headers: every key, dtype and shape, without the weights.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use crate::trace::fixture;

/// The keys of one published file, in its order.
pub struct RealHeader {
    /// Name, dtype and shape of each tensor.
    pub tensors: Vec<(String, String, Vec<u64>)>,
}

impl RealHeader {
    /// Reads a list such as `qwen_image_fp8_e4m3fn`; the format is described in
    /// `reference/README.md`.
    pub fn read(name: &str) -> Self {
        let path = fixture("real_headers").join(format!("{name}.txt"));
        let text = std::fs::read_to_string(path).expect("a list of keys");
        let tensors = text.lines().flat_map(|line| {
            let [dtype, shape, pattern] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("not a line of the list: {line}");
            };
            let shape: Vec<u64> = match shape {
                "scalar" => Vec::new(),
                sizes => sizes
                    .split('x')
                    .map(|n| n.parse().expect("a size"))
                    .collect(),
            };
            expand(pattern)
                .into_iter()
                .map(move |key| (key, dtype.to_owned(), shape.clone()))
        });
        Self {
            tensors: tensors.collect(),
        }
    }

    /// Writes a checkpoint of the published size with this header. Scales are 1; all other data
    /// are holes, which read as zeros and take no space on a file system that knows holes.
    pub fn write_sparse(&self, path: &Path) -> std::io::Result<()> {
        let mut end = 0;
        let mut scales = Vec::new();
        let entries: Vec<String> = self
            .tensors
            .iter()
            .map(|(key, dtype, shape)| {
                let begin = end;
                end += element_bytes(dtype) * shape.iter().product::<u64>();
                if dtype == "F32" {
                    scales.push(begin);
                }
                format!(
                    r#""{key}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#
                )
            })
            .collect();
        // The format pads the header to a multiple of 8 bytes, which aligns the data.
        let mut header = format!("{{{}}}", entries.join(","));
        while !header.len().is_multiple_of(8) {
            header.push(' ');
        }
        let mut file = File::create(path)?;
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        let data = 8 + header.len() as u64;
        file.set_len(data + end)?;
        for scale in scales {
            file.seek(SeekFrom::Start(data + scale))?;
            file.write_all(&1f32.to_le_bytes())?;
        }
        Ok(())
    }
}

fn element_bytes(dtype: &str) -> u64 {
    match dtype {
        "F8_E4M3" => 1,
        "BF16" => 2,
        "F32" => 4,
        other => panic!("{other} is in no published file"),
    }
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
