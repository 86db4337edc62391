//! The record of an image: how it was made and from which files, in its file and beside it.

mod encode;
mod exif;
mod foreign;
mod incomplete;
mod metadata;
mod parameters;
mod png_texts;
mod recipe;
mod recorded;
pub mod report;
mod texts;
mod trace;
mod used_lora;

pub use foreign::{Foreign, NotTaken};
pub use incomplete::{Incomplete, LostSetting};
pub use metadata::{ImageFile, Metadata, PARAMETERS};
pub use recipe::Recipe;
pub use recorded::Recorded;
pub use texts::Texts;
pub use trace::Trace;
pub use used_lora::UsedLora;
