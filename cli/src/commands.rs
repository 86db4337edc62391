//! One file a command.

pub(crate) mod completions;
pub(crate) mod devices;
pub(crate) mod download;
pub(crate) mod generate;
pub(crate) mod inspect;
pub(crate) mod make_fixture;
pub(crate) mod man;
pub(crate) mod plan;
