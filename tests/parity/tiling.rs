//! The VAE's decoder tile by tile against the whole, and against the reference.

use burn::tensor::Tensor;
use model::latents::{TokenGrid, unpack};
use model::vae::Tiling;
use tests::{FINAL_TOLERANCE, Models, Trace, cases};

use crate::{Flex, compare, deep, recorded};

/// A share of the largest magnitude.
const TILED_TOLERANCE: f32 = 1e-6;

/// Smaller than every halo, the smallest that latents can be cut to, not dividing any image,
/// dividing some, and larger than some images.
const SIDES: [usize; 7] = [5, 8, 16, 23, 40, 64, 96];

/// The largest distance between two images of the same shape.
fn distance(tiled: Tensor<Flex, 4>, whole: &Tensor<Flex, 4>) -> f32 {
    assert_eq!(tiled.dims(), whole.dims());
    (tiled - whole.clone()).abs().max().into_scalar()
}

#[test]
fn tiles_give_the_image_of_the_reference() {
    let mut models = 0;
    let mut seen = Vec::new();
    for case in cases() {
        // Another VAE or another size than before.
        let kind = (case.vae(), case.width, case.height);
        if seen.contains(&kind) {
            continue;
        }
        models += usize::from(seen.iter().all(|(vae, ..)| *vae != kind.0));
        seen.push(kind);
        let trace = Trace::open(&case.trace);
        let device = Default::default();
        let vae = Models::<Flex>::new(&case, device).vae();
        let grid = TokenGrid::of_image(case.width, case.height);
        let latents = unpack(recorded::<Flex, 3>(&trace, "latents.final", &device), grid);
        let decode = |tiling| {
            let image = vae.decode(latents.clone(), tiling, &|| false);
            image.expect("not cancelled")
        };
        let whole = decode(Tiling::Whole);
        let largest = whole.clone().abs().max().into_scalar();
        for side in SIDES {
            let name = format!("{} in tiles of {side}", case.name);
            let tiled = decode(Tiling::Tiles { side });
            let distance = distance(tiled.clone(), &whole);
            println!("{name}: {:e}", distance / largest);
            assert!(
                distance <= TILED_TOLERANCE * largest,
                "{name}: {distance:e}"
            );
            compare(&name, &trace, "image", tiled, FINAL_TOLERANCE);
        }
    }
    assert!(models >= 3, "only {models} different VAEs");
}

#[test]
fn larger_images_are_the_same_in_tiles() {
    // With halos on all sides, and odd sizes at every level.
    for (case, trace) in deep("vae") {
        let device = Default::default();
        let vae = Models::<Flex>::new(&case, device).vae();
        let grid = TokenGrid::of_image(case.width, case.height);
        let latents = unpack(recorded::<Flex, 3>(&trace, "latents.final", &device), grid);
        let latents = latents
            .repeat(&[1, 1, 6, 6])
            .narrow(2, 0, 31)
            .narrow(3, 0, 37);
        let decode = |tiling| {
            let image = vae.decode(latents.clone(), tiling, &|| false);
            image.expect("not cancelled")
        };
        let whole = decode(Tiling::Whole);
        let largest = whole.clone().abs().max().into_scalar();
        for side in [24, 61, 128, 200] {
            let distance = distance(decode(Tiling::Tiles { side }), &whole);
            println!("{} in tiles of {side}: {:e}", case.name, distance / largest);
            assert!(
                distance <= TILED_TOLERANCE * largest,
                "{side}: {distance:e}"
            );
        }
    }
}

#[test]
fn a_halo_too_narrow_would_be_noticed() {
    // The test above must be able to fail: without any halo, what lies beyond a tile is missing.
    let (case, trace) = deep("vae").remove(0);
    let device = Default::default();
    let vae = Models::<Flex>::new(&case, device).vae();
    let grid = TokenGrid::of_image(case.width, case.height);
    let latents = unpack(recorded::<Flex, 3>(&trace, "latents.final", &device), grid);
    let x = vae.post_quant_conv.forward(vae.denormalise(latents));
    let x = vae.decoder.conv_in.forward(x);
    let mut x = vae.decoder.mid_block.forward(x);
    let (last, before) = vae.decoder.up_blocks.split_last().expect("blocks");
    for block in before {
        x = block.forward(x);
    }
    let head = |x| {
        let x = last.forward(x);
        vae.decoder
            .conv_out
            .forward(vae.decoder.norm_out.forward_silu(x))
    };
    let whole = head(x.clone()).narrow(2, 0, 16);
    let cut = head(x.narrow(2, 0, 16));
    assert!(distance(cut, &whole) > 100.0 * TILED_TOLERANCE);
}

#[test]
fn every_tile_asks_whether_to_go_on() {
    let (case, trace) = deep("vae").remove(0);
    let device = Default::default();
    let vae = Models::<Flex>::new(&case, device).vae();
    let grid = TokenGrid::of_image(case.width, case.height);
    let latents = unpack(recorded::<Flex, 3>(&trace, "latents.final", &device), grid);
    let questions = |tiling, last: usize| {
        let asked = std::cell::Cell::new(0);
        let image = vae.decode(latents.clone(), tiling, &|| {
            asked.set(asked.get() + 1);
            asked.get() > last
        });
        (asked.get(), image.is_some())
    };
    let tiles = Tiling::Tiles { side: 16 };
    let (all, finished) = questions(tiles, usize::MAX);
    assert!(finished && all > grid.tokens(), "{all} questions");
    for last in 0..all {
        assert_eq!(questions(tiles, last), (last + 1, false));
    }
}
