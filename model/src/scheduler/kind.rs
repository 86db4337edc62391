//! The schedules that can be asked for, and their text form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Schedule, ScheduleError};
use crate::family::QWEN_IMAGE;

/// The ways to choose noise levels. The text of one ([`Display`](fmt::Display), [`FromStr`]) is
/// `dynamic`, `dynamic-beta`, `dynamic-karras`, `dynamic-exponential`, `shift=S`, `simple=S`,
/// `beta=S` or `sigmas=A,B,…`; without `=S`, `simple` and `beta` have
/// [ComfyUI's shift](crate::family::Family::comfyui_shift).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ScheduleKind {
    /// The levels of the model's scheduler config. For Qwen-Image they are shifted by a factor that
    /// grows with the image's size and stretched to end at 0.02, as in diffusers'
    /// `QwenImagePipeline`.
    #[default]
    Dynamic,
    /// [`Dynamic`](Self::Dynamic)'s first and last levels, and between them the quantiles of the
    /// beta distribution: diffusers' `use_beta_sigmas`.
    DynamicBeta,
    /// The same ends with Karras's levels between them: diffusers' `use_karras_sigmas`.
    DynamicKarras,
    /// The same ends with a constant ratio of each level to the next: diffusers'
    /// `use_exponential_sigmas`.
    DynamicExponential,
    /// Equal distances, shifted by this factor: diffusers' `shift` without dynamic shifting.
    Shift(f64),
    /// ComfyUI's scheduler "simple", with this shift.
    Simple(f64),
    /// ComfyUI's scheduler "beta", with this shift.
    Beta(f64),
    /// The given levels, and 0 after them.
    Sigmas(Vec<f32>),
}

/// A text that names no schedule.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScheduleKindError {
    /// An unknown word.
    #[error(
        "'{0}' is none of dynamic, dynamic-beta, dynamic-karras, dynamic-exponential, shift=S, simple, simple=S, beta, beta=S, sigmas=A,B,..."
    )]
    Unknown(String),
    /// A shift that is not a positive number.
    #[error("the shift must be a number above 0, not '{0}'")]
    Shift(String),
    /// A level that is not a number.
    #[error("'{0}' is not a noise level; write them as sigmas=1,0.75,0.5")]
    Sigma(String),
    /// Levels that do not make a schedule.
    #[error("{0}")]
    Levels(#[from] ScheduleError),
}

impl ScheduleKind {
    /// Returns whether the first and the last level are those of [`Dynamic`](Self::Dynamic), the
    /// model's own.
    pub fn is_dynamic(&self) -> bool {
        match self {
            Self::Dynamic | Self::DynamicBeta | Self::DynamicKarras | Self::DynamicExponential => {
                true
            }
            Self::Shift(_) | Self::Simple(_) | Self::Beta(_) | Self::Sigmas(_) => false,
        }
    }

    /// The number of steps, if the kind itself sets it.
    pub fn listed_steps(&self) -> Option<usize> {
        match self {
            Self::Sigmas(sigmas) => Some(sigmas.iter().filter(|sigma| **sigma > 0.0).count()),
            _ => None,
        }
    }
}

impl fmt::Display for ScheduleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dynamic => f.write_str("dynamic"),
            Self::DynamicBeta => f.write_str("dynamic-beta"),
            Self::DynamicKarras => f.write_str("dynamic-karras"),
            Self::DynamicExponential => f.write_str("dynamic-exponential"),
            Self::Shift(shift) => write!(f, "shift={shift}"),
            Self::Simple(shift) => write!(f, "simple={shift}"),
            Self::Beta(shift) => write!(f, "beta={shift}"),
            Self::Sigmas(sigmas) => {
                f.write_str("sigmas=")?;
                for (i, sigma) in sigmas.iter().enumerate() {
                    let comma = if i > 0 { "," } else { "" };
                    write!(f, "{comma}{sigma}")?;
                }
                Ok(())
            }
        }
    }
}

impl From<ScheduleKind> for String {
    fn from(kind: ScheduleKind) -> Self {
        kind.to_string()
    }
}

impl TryFrom<String> for ScheduleKind {
    type Error = ScheduleKindError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for ScheduleKind {
    type Err = ScheduleKindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        Ok(match (name, value) {
            ("dynamic", None) => Self::Dynamic,
            ("dynamic-beta", None) => Self::DynamicBeta,
            ("dynamic-karras", None) => Self::DynamicKarras,
            ("dynamic-exponential", None) => Self::DynamicExponential,
            ("shift", Some(value)) => Self::Shift(shift(value)?),
            ("simple", None) => Self::Simple(QWEN_IMAGE.comfyui_shift),
            ("simple", Some(value)) => Self::Simple(shift(value)?),
            ("beta", None) => Self::Beta(QWEN_IMAGE.comfyui_shift),
            ("beta", Some(value)) => Self::Beta(shift(value)?),
            ("sigmas", Some(value)) => Self::Sigmas(sigmas(value)?),
            _ => return Err(ScheduleKindError::Unknown(text.to_owned())),
        })
    }
}

fn shift(text: &str) -> Result<f64, ScheduleKindError> {
    match text.trim().parse::<f64>() {
        Ok(shift) if shift > 0.0 && shift.is_finite() => Ok(shift),
        _ => Err(ScheduleKindError::Shift(text.to_owned())),
    }
}

fn sigmas(text: &str) -> Result<Vec<f32>, ScheduleKindError> {
    let sigma = |text: &str| {
        let number = text.trim().parse::<f32>();
        number.map_err(|_| ScheduleKindError::Sigma(text.trim().to_owned()))
    };
    let sigmas: Vec<f32> = text.split(',').map(sigma).collect::<Result<_, _>>()?;
    Schedule::from_sigmas(sigmas.clone())?;
    Ok(sigmas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for kind in [
            ScheduleKind::Dynamic,
            ScheduleKind::DynamicBeta,
            ScheduleKind::DynamicKarras,
            ScheduleKind::DynamicExponential,
            ScheduleKind::Shift(2.5),
            ScheduleKind::Simple(QWEN_IMAGE.comfyui_shift),
            ScheduleKind::Beta(1.0),
            ScheduleKind::Sigmas(vec![1.0, 0.9, 0.1]),
        ] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("simple".parse(), Ok(ScheduleKind::Simple(3.1)));
        assert_eq!("beta".parse(), Ok(ScheduleKind::Beta(3.1)));
        let spaced = "sigmas=1, 0.5, 0".parse();
        assert_eq!(spaced, Ok(ScheduleKind::Sigmas(vec![1.0, 0.5, 0.0])));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "karras",
            "dynamic=1",
            "shift",
            "shift=",
            "shift=0",
            "shift=-1",
            "shift=nan",
            "simple=inf",
            "beta=x",
            "sigmas",
            "sigmas=",
            "sigmas=1,x",
            "sigmas=0.5,0.6",
            "sigmas=2,1",
            "sigmas=0",
            "sigmas=nan",
        ] {
            let read = text.parse::<ScheduleKind>();
            assert!(read.is_err(), "{text} was read as {read:?}");
        }
    }

    #[test]
    fn a_list_knows_its_steps() {
        let steps = |text: &str| text.parse::<ScheduleKind>().map(|kind| kind.listed_steps());
        assert_eq!(steps("sigmas=1,0.5"), Ok(Some(2)));
        assert_eq!(steps("sigmas=1,0.5,0"), Ok(Some(2)));
        assert_eq!(steps("simple"), Ok(None));
    }
}
