//! The memory plan as it is printed: a table for people, JSON for programs, and what would help with
//! the flags that do it.

mod json;
mod remedy;
mod streaming;
mod table;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub(crate) use json::json;
pub(crate) use remedy::remedies;
pub(crate) use streaming::streaming;
pub(crate) use table::table;
