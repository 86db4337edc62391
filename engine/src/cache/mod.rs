//! What a cache of earlier results is made of: entries that are whole or none, in a folder of
//! bounded size, under keys that stand for all that a result depends on.
//!
//! A cache that cannot be read or written is none, and never an error.

mod entries;
pub(crate) mod entry;
mod identity;

pub(crate) use entries::Entries;
pub(crate) use identity::{Identity, add_build};
