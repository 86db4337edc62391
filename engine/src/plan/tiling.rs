//! The choice of tiles for the VAE, and their size.

use model::vae::Tiling;

use crate::request::VaeTiling;

/// Sides of tiles in image pixels, the best first: the larger, the less is computed twice.
const SIDES: [usize; 4] = [1024, 512, 256, 128];
/// The side where nothing tells how much memory there is.
const DEFAULT_SIDE: usize = 512;

/// How to encode or decode an image beside the weights, where that `needs` so much memory.
/// `spare` is what the weights leave of it, where that is known.
pub(super) fn tiling(
    wanted: VaeTiling,
    needs: impl Fn(Tiling) -> u64,
    spare: Option<u64>,
) -> Tiling {
    let fits = |tiling| spare.is_none_or(|spare| needs(tiling) <= spare);
    let whole = match wanted {
        VaeTiling::Off => true,
        VaeTiling::Auto => fits(Tiling::Whole),
        VaeTiling::On => false,
    };
    if whole {
        return Tiling::Whole;
    }
    let smallest = SIDES[SIDES.len() - 1];
    let helps = |side: &usize| needs(Tiling::Tiles { side: *side }) < needs(Tiling::Whole);
    let mut sides = SIDES.into_iter().filter(helps);
    let side = match spare {
        None => sides.find(|&side| side <= DEFAULT_SIDE),
        Some(_) => sides.find(|&side| fits(Tiling::Tiles { side })),
    };
    let side = side.unwrap_or(smallest);
    Tiling::Tiles { side }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use backends::{Arithmetic, Numerics, RunningKernels};
    use burn::tensor::FloatDType;
    use model::memory::vae_decoder;
    use model::vae::Tiling;

    use super::tiling;
    use crate::plan::tests::published;
    use crate::request::VaeTiling;

    const NUMERICS: Numerics = Numerics {
        dtype: FloatDType::F32,
        kernels: RunningKernels::Processor {
            threads: NonZeroUsize::MIN,
        },
        arithmetic: Arithmetic::Exact,
    };

    fn of(wanted: VaeTiling, size: (u32, u32), spare: Option<u64>) -> Tiling {
        tiling(wanted, |tiling| needs(size, tiling), spare)
    }

    fn needs(size: (u32, u32), tiling: Tiling) -> u64 {
        let (_, _, config) = published();
        vae_decoder(&config, size.0, size.1, tiling, NUMERICS)
    }

    #[test]
    fn auto_tiles_where_the_whole_does_not_fit_and_as_little_as_needed() {
        let size = (2048, 2048);
        let whole = needs(size, Tiling::Whole);
        assert_eq!(of(VaeTiling::Auto, size, None), Tiling::Whole);
        assert_eq!(of(VaeTiling::Auto, size, Some(whole)), Tiling::Whole);
        for side in [1024, 512, 256, 128] {
            let enough = needs(size, Tiling::Tiles { side });
            assert!(enough < whole, "{side}");
            // Larger tiles may need as little: the levels before them are whole.
            let Tiling::Tiles { side: chosen } = of(VaeTiling::Auto, size, Some(enough)) else {
                panic!("whole, with room for tiles of {side}")
            };
            assert!(chosen >= side, "{chosen} instead of {side}");
            assert_eq!(needs(size, Tiling::Tiles { side: chosen }), enough);
        }
        // Nothing fits: the least that there is.
        let least = Tiling::Tiles { side: 128 };
        assert_eq!(of(VaeTiling::Auto, size, Some(0)), least);
    }

    #[test]
    fn on_and_off_are_obeyed() {
        let size = (2048, 2048);
        assert_eq!(of(VaeTiling::Off, size, Some(0)), Tiling::Whole);
        let tiles = Tiling::Tiles { side: 512 };
        assert_eq!(of(VaeTiling::On, size, None), tiles);
        let tiles = Tiling::Tiles { side: 1024 };
        assert_eq!(of(VaeTiling::On, size, Some(u64::MAX)), tiles);
    }
}
