//! Environment variables that stand for flags.

use std::ffi::OsString;

/// Looks variables up.
#[derive(Clone, Copy)]
pub(crate) struct Environment<'a>(pub(crate) &'a dyn Fn(&str) -> Option<OsString>);

impl Environment<'_> {
    /// A variable's value. An empty variable is one that is not set.
    pub(super) fn get(self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.is_empty())
    }
}
