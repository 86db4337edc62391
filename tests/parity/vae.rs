//! The VAE's decoder, stage by stage.

use model::latents::{TokenGrid, unpack};
use model::vae::Tiling;
use tests::{FINAL_TOLERANCE, Models, TOLERANCE};

use crate::{Flex, compare, deep, recorded};

#[test]
fn stages_are_those_of_the_reference() {
    for (case, trace) in deep("vae") {
        let name = case.name.as_str();
        let device = Default::default();
        let vae = Models::<Flex>::new(&case, device).vae();
        let grid = TokenGrid::of_image(case.width, case.height);
        let latents = unpack(recorded::<Flex, 3>(&trace, "latents.final", &device), grid);

        let x = vae
            .post_quant_conv
            .forward(vae.denormalise(latents.clone()));
        compare(name, &trace, "vae.post_quant_conv", x.clone(), TOLERANCE);
        let x = vae.decoder.conv_in.forward(x);
        compare(name, &trace, "vae.conv_in", x.clone(), TOLERANCE);
        let mut x = vae.decoder.mid_block.forward(x);
        compare(name, &trace, "vae.mid", x.clone(), TOLERANCE);
        for (i, block) in vae.decoder.up_blocks.iter().enumerate() {
            x = block.forward(x);
            compare(name, &trace, &format!("vae.up{i}"), x.clone(), TOLERANCE);
        }
        let normed = vae.decoder.norm_out.forward(x);
        compare(name, &trace, "vae.norm_out", normed, TOLERANCE);
        let image = vae
            .decode(latents, Tiling::Whole, &|| false)
            .expect("not cancelled");
        compare(name, &trace, "image", image, FINAL_TOLERANCE);
    }
}

#[test]
fn a_cancelled_decode_has_no_result() {
    let (case, trace) = deep("vae").remove(0);
    let device = Default::default();
    let vae = Models::<Flex>::new(&case, device).vae();
    let grid = TokenGrid::of_image(case.width, case.height);
    let latents = unpack(recorded::<Flex, 3>(&trace, "latents.final", &device), grid);
    assert!(vae.decode(latents, Tiling::Whole, &|| true).is_none());
}
