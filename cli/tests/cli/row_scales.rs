//! FP8 weights with a scale for each row draw what their decoded weights draw.

use std::path::Path;

use backends::fp8::Fp8Format;

use crate::safetensors_file::{Entry, File, edit};
use crate::support::Place;

/// A factor for a row, different for each.
fn factor(row: usize) -> f32 {
    0.25 + (row * 7 % 11) as f32 * 0.15
}

/// Gives every FP8 matrix of a file a scale for each row, of this shape.
fn scale_rows(file: &mut File, shape: impl Fn(usize) -> Vec<usize>) {
    let scaled = |entry: &&Entry| entry.dtype == "F8_E4M3" && entry.shape.len() == 2;
    let scales: Vec<Entry> = file
        .tensors
        .iter()
        .filter(scaled)
        .map(|entry| {
            let (layer, rows) = (entry.key.strip_suffix("weight").unwrap(), entry.shape[0]);
            let values: Vec<u8> = (0..rows)
                .flat_map(|row| factor(row).to_le_bytes())
                .collect();
            Entry::new(&format!("{layer}weight_scale"), "F32", &shape(rows), values)
        })
        .collect();
    assert!(scales.len() > 20);
    file.tensors.extend(scales);
}

/// Turns every FP8 matrix of a file into F32, each row times its factor.
fn decode(file: &mut File) {
    for entry in &mut file.tensors {
        if entry.dtype == "F8_E4M3" && entry.shape.len() == 2 {
            let width = entry.shape[1];
            let values = entry
                .bytes
                .chunks(width)
                .enumerate()
                .flat_map(|(row, codes)| {
                    let decoded = |&code: &u8| Fp8Format::E4M3.decode(code) * factor(row);
                    codes
                        .iter()
                        .map(decoded)
                        .flat_map(f32::to_le_bytes)
                        .collect::<Vec<u8>>()
                });
            entry.bytes = values.collect();
            entry.dtype = "F32".to_owned();
        }
    }
}

fn tensors(place: &Place, names: &[&str]) -> Vec<Vec<f32>> {
    let trace = File::read(Path::new(&place.path("out/t.safetensors")));
    names.iter().map(|name| trace.get(name).f32s()).collect()
}

#[test]
fn scales_for_rows_are_exact() {
    const NAMES: [&str; 3] = ["step0.cond", "latents.final", "image"];
    let trace = ["--trace", "out/t.safetensors"];
    let place = Place::new();
    edit(place.transformer(), decode);
    place.generate(&trace).expect(0);
    let expected = tensors(&place, &NAMES);
    let shapes: [fn(usize) -> Vec<usize>; 2] = [|rows| vec![rows], |rows| vec![rows, 1]];
    for shape in shapes {
        let place = Place::new();
        edit(place.transformer(), |file| scale_rows(file, shape));
        for (flags, tolerance) in [(&[][..], 2e-5), (&["--no-mmap"][..], 2e-5)] {
            place.generate(&[&trace[..], flags].concat()).expect(0);
            for (name, (found, expected)) in NAMES
                .iter()
                .zip(tensors(&place, &NAMES).iter().zip(&expected))
            {
                let largest = expected
                    .iter()
                    .fold(0.0_f32, |max, value| max.max(value.abs()));
                let distance = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
                let distance = distance.fold(0.0, f32::max);
                assert!(
                    distance <= tolerance * largest,
                    "{name}: {distance} of {largest}"
                );
            }
        }
        // Activations quantized to FP8 take such weights too.
        place.generate(&["--fp8-compute"]).expect(0);
    }
    // Without the scales it would be another image.
    let plain = Place::new();
    plain.generate(&trace).expect(0);
    let plain = tensors(&plain, &NAMES[..1]);
    let apart = plain[0]
        .iter()
        .zip(&expected[0])
        .map(|(a, b)| (a - b).abs());
    assert!(apart.fold(0.0, f32::max) > 0.01);
}
