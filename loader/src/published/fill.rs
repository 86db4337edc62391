//! Random elements by their position: any part of a tensor can be made without the rest.

/// Elements that one random number decides.
pub(super) const BLOCK: u64 = 8;

/// The random numbers of one tensor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream(u64);

impl Stream {
    /// The numbers of the tensor `key` for a seed. A key has the same ones in any list.
    pub(super) fn of(seed: u64, key: &str) -> Self {
        // FNV-1a.
        let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(mix(hash ^ mix(seed)))
    }

    /// Draws `elements`, of which the first is number `first` of the tensor, out of 256 codes.
    /// `first` is a multiple of [`BLOCK`].
    pub(super) fn fill<const W: usize>(
        self,
        codes: &[[u8; W]; 256],
        first: u64,
        elements: &mut [[u8; W]],
    ) {
        debug_assert!(first.is_multiple_of(BLOCK));
        let mut counter = first / BLOCK;
        let (blocks, rest) = elements.as_chunks_mut::<{ BLOCK as usize }>();
        for block in blocks {
            *block = self.block(counter).map(|byte| codes[usize::from(byte)]);
            counter += 1;
        }
        for (element, byte) in rest.iter_mut().zip(self.block(counter)) {
            *element = codes[usize::from(byte)];
        }
    }

    /// Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (2014): the
    /// finaliser of SplitMix64 over a Weyl sequence, which can be entered anywhere.
    fn block(self, counter: u64) -> [u8; BLOCK as usize] {
        let state = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mix(self.0.wrapping_add(state)).to_le_bytes()
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> [[u8; 1]; 256] {
        std::array::from_fn(|code| [code as u8])
    }

    #[test]
    fn a_part_is_the_same_as_in_the_whole() {
        let stream = Stream::of(1, "a.weight");
        let mut whole = [[0; 1]; 1003];
        stream.fill(&identity(), 0, &mut whole);
        let mut part = [[0; 1]; 100];
        stream.fill(&identity(), 600, &mut part);
        assert_eq!(part, whole[600..700]);
    }

    #[test]
    fn seeds_and_keys_give_other_numbers() {
        let numbers = |seed, key| {
            let mut elements = [[0; 1]; 64];
            Stream::of(seed, key).fill(&identity(), 0, &mut elements);
            elements
        };
        assert_eq!(numbers(1, "a"), numbers(1, "a"));
        assert_ne!(numbers(1, "a"), numbers(2, "a"));
        assert_ne!(numbers(1, "a"), numbers(1, "b"));
    }

    #[test]
    fn every_code_is_about_equally_likely() {
        const EACH: usize = 4096;
        let mut elements = vec![[0; 1]; EACH * 256];
        Stream::of(7, "a").fill(&identity(), 0, &mut elements);
        let mut counts = [0usize; 256];
        for [code] in elements {
            counts[usize::from(code)] += 1;
        }
        // Six standard deviations of a count.
        let worst = counts.iter().map(|&count| count.abs_diff(EACH)).max();
        assert!(worst < Some(6 * 64), "{worst:?}");
    }
}
