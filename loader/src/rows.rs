//! Single rows of a weight, straight from its file.

use std::collections::BTreeMap;

use backends::NullSink;

use crate::convert::to_f32;
use crate::error::LoadError;
use crate::record::{Misfit, WrongShape};
use crate::source::Source;
use crate::stream::{Destination, Follow, Need, stream};
use crate::text::Excerpt;
use crate::weights::Weights;

/// Reads rows of a rank-2 weight by its canonical name: those of an embedding for which there is no
/// room on a device. Only these rows are read, and each of them once.
///
/// Returns f32 `[rows, width]`: the elements of the file times their scale, as a look-up in the
/// loaded weight gives them in f32.
///
/// # Errors
/// [`LoadError::Misfit`] if there is no such weight, or it has fewer rows; a file that cannot be
/// read, or has changed.
pub fn read_rows(weights: &Weights, name: &str, rows: &[u32]) -> Result<Vec<f32>, LoadError> {
    let misfit = |misfit| LoadError::Misfit {
        file: weights.source().into(),
        misfit: Box::new(misfit),
    };
    let key = || Excerpt::new(name);
    let found = weights.parameters().get(name).copied();
    let Some(parameter) = found else {
        return Err(misfit(Misfit {
            missing: vec![key()],
            ..Misfit::default()
        }));
    };
    let entry = weights.entry(parameter.entry);
    let tensor = &entry.tensor;
    let least = rows.iter().max().map_or(0, |&row| row as usize + 1);
    let width = match tensor.shape[..] {
        [height, width] if height >= least => width,
        _ => {
            return Err(misfit(Misfit {
                wrong_shape: vec![WrongShape {
                    key: key(),
                    found: tensor.shape.clone(),
                    expected: vec![least, tensor.shape.last().copied().unwrap_or(1)],
                }],
                ..Misfit::default()
            }));
        }
    };
    let row_bytes = tensor.bytes() / (tensor.shape[0] as u64).max(1);
    let mut distinct: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for &row in rows {
        distinct.insert(row, vec![0; row_bytes as usize]);
    }
    let needs = distinct.keys().map(|&row| {
        let start = tensor.range.start + u64::from(row) * row_bytes;
        Need {
            file: entry.file,
            range: start..start + row_bytes,
            destination: Destination::Host(row as usize),
        }
    });
    let needs: Vec<Need> = needs.collect();
    let source = Source::open(weights.checkpoint().files())?;
    let mut collected = Collected(distinct);
    stream(&source.raws(), &needs, &mut NullSink::new(), &mut collected)
        .map_err(|error| error.of(weights, &source))?;
    source.check_versions()?;

    let scales = weights.scales().values(parameter.scale);
    let mut values = Vec::with_capacity(rows.len() * width);
    for row in rows {
        let bytes = collected.0.get(row).map_or(&[][..], Vec::as_slice);
        let decoded = to_f32(tensor.dtype, bytes).ok_or_else(|| LoadError::UnsupportedDtype {
            file: weights.source().into(),
            key: key(),
            dtype: tensor.dtype,
        })?;
        // One for the whole weight, or one for each row.
        let scale = match scales {
            [scale] => *scale,
            scales => scales.get(*row as usize).copied().unwrap_or(1.0),
        };
        values.extend(decoded.into_iter().map(|value| value * scale));
    }
    Ok(values)
}

/// The bytes of each row.
struct Collected(BTreeMap<u32, Vec<u8>>);

impl Follow for Collected {
    fn receive(&mut self, row: usize, offset: u64, bytes: &[u8]) -> Result<(), LoadError> {
        if let Some(whole) = self.0.get_mut(&(row as u32)) {
            let begin = offset as usize;
            whole[begin..begin + bytes.len()].copy_from_slice(bytes);
        }
        Ok(())
    }

    fn advance(&mut self, _bytes: u64) -> Result<(), LoadError> {
        Ok(())
    }
}
