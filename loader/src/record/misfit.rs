//! How a checkpoint and a module fail to fit each other.

use std::fmt;

use crate::text::{Excerpt, listed};

/// How many keys of each kind are named before they are only counted.
const LISTED: usize = 3;

/// The parameters of a module that a checkpoint cannot fill, and the reverse. Everything that is
/// wrong, not only the first thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Misfit {
    /// Parameters of the module that the checkpoint lacks.
    pub missing: Vec<Excerpt>,
    /// Tensors of the checkpoint that the module has no parameter for.
    pub unexpected: Vec<Excerpt>,
    /// Tensors of another shape than the module's parameter.
    pub wrong_shape: Vec<WrongShape>,
    /// Weights that are FP8 on one side only; a module must be built with
    /// [`Weights::format`](crate::Weights::format).
    pub wrong_format: Vec<Excerpt>,
    /// Tensors that two parameters of the module ask for.
    pub repeated: Vec<Excerpt>,
    /// Shapes of the parameters that the module's builder gave no name.
    pub unnamed: Vec<Shape>,
}

/// The shape of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(pub Vec<usize>);

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// A tensor of the wrong shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongShape {
    /// Its canonical name.
    pub key: Excerpt,
    /// Its shape in the file.
    pub found: Vec<usize>,
    /// The shape of the module's parameter.
    pub expected: Vec<usize>,
}

impl Misfit {
    /// Tells whether everything fits.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty()
            && self.unexpected.is_empty()
            && self.wrong_shape.is_empty()
            && self.wrong_format.is_empty()
            && self.repeated.is_empty()
            && self.unnamed.is_empty()
    }
}

impl fmt::Display for WrongShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is {:?} instead of {:?}",
            self.key, self.found, self.expected
        )
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("missing", self.missing.len(), listed(&self.missing, LISTED)),
            (
                "not expected",
                self.unexpected.len(),
                listed(&self.unexpected, LISTED),
            ),
            (
                "of the wrong shape",
                self.wrong_shape.len(),
                listed(&self.wrong_shape, LISTED),
            ),
            (
                "in another storage format",
                self.wrong_format.len(),
                listed(&self.wrong_format, LISTED),
            ),
            (
                "asked for twice",
                self.repeated.len(),
                listed(&self.repeated, LISTED),
            ),
            (
                "without a name",
                self.unnamed.len(),
                listed(&self.unnamed, LISTED),
            ),
        ];
        let parts = parts.into_iter().filter(|(_, count, _)| *count > 0);
        let parts = parts.map(|(what, count, keys)| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} tensor{plural} {what} ({keys})")
        });
        f.write_str(&parts.collect::<Vec<_>>().join("; "))
    }
}
