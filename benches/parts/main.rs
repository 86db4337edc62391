//! The parts of the model at their real widths, on the CPU.

#![allow(missing_docs)] // criterion's macros define functions without.

mod header;
mod linear;
mod text_encoder;
mod transformer;
mod vae;

use criterion::{criterion_group, criterion_main};

type Flex = burn_flex::Flex;

criterion_group!(
    parts,
    header::bench,
    linear::bench,
    transformer::bench,
    text_encoder::bench,
    vae::bench
);
criterion_main!(parts);
