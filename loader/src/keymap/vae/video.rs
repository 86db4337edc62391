//! Tensors of a VAE for video as those of one for images.
//!
//! The files are made for video: norms have the shape `[C, 1, 1, 1]` or `[C, 1, 1]`, convolutions
//! `[O, I, T, h, w]`. On a first (here: only) frame a causal convolution is padded with zeros
//! before it, so that only the last of its `T` slices over time meets anything but zeros. That
//! slice is all that is loaded.

/// How many slices over time the file's tensor has for each that the module's parameter has; `None`
/// if the shapes do not fit.
pub(crate) fn time_slices(file: &[usize], module: &[usize]) -> Option<usize> {
    match (file, module) {
        (&[o, i, slices, h, w], &[mo, mi, mh, mw])
            if slices > 0 && [o, i, h, w] == [mo, mi, mh, mw] =>
        {
            Some(slices)
        }
        _ => (without_trailing_ones(file) == without_trailing_ones(module)).then_some(1),
    }
}

fn without_trailing_ones(shape: &[usize]) -> &[usize] {
    let ones = shape.iter().rev().take_while(|&&dim| dim == 1).count();
    &shape[..shape.len() - ones]
}

/// How many elements of a tensor of this shape are loaded.
pub(crate) fn loaded_elements(shape: &[usize]) -> usize {
    match shape {
        [o, i, slices, h, w] if *slices > 0 => o * i * h * w,
        _ => shape.iter().product(),
    }
}

/// The last of `slices` slices over time: of `[O, I, T, h, w]` the part `[:, :, T - 1]`, where
/// `plane` is `h * w`.
pub(crate) fn last_time_slice<T: Copy>(values: &[T], slices: usize, plane: usize) -> Vec<T> {
    let mut last = Vec::with_capacity(values.len() / slices.max(1));
    for filter in values.chunks_exact((slices * plane).max(1)) {
        last.extend_from_slice(&filter[(slices - 1) * plane..]);
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_for_video_fit_parameters_for_images() {
        assert_eq!(time_slices(&[8, 4, 3, 3, 3], &[8, 4, 3, 3]), Some(3));
        assert_eq!(time_slices(&[8, 4, 1, 1, 1], &[8, 4, 1, 1]), Some(1));
        assert_eq!(time_slices(&[8, 4, 1, 1, 1], &[8, 4]), Some(1));
        assert_eq!(time_slices(&[8, 4, 3, 3], &[8, 4, 3, 3]), Some(1));
        assert_eq!(time_slices(&[8, 1, 1, 1], &[8]), Some(1));
        assert_eq!(time_slices(&[8, 1, 1], &[8]), Some(1));
        assert_eq!(time_slices(&[8, 4, 3, 3, 3], &[4, 8, 3, 3]), None);
        assert_eq!(time_slices(&[8, 4, 0, 3, 3], &[8, 4, 3, 3]), None);
        assert_eq!(time_slices(&[8], &[9]), None);
    }

    #[test]
    fn the_last_slice_is_taken_of_each_filter() {
        // [O·I = 2, T = 3, h·w = 2]
        let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
        assert_eq!(last_time_slice(&values, 3, 2), [4.0, 5.0, 10.0, 11.0]);
        assert_eq!(last_time_slice(&values, 1, 2), values);
        assert_eq!(loaded_elements(&[1, 2, 3, 1, 2]), 4);
        assert_eq!(loaded_elements(&[1, 2, 0, 1, 2]), 0);
    }
}
