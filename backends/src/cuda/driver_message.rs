//! The driver's own words.

use cudarc::driver::DriverError;

/// The driver's description of an error.
pub(super) fn driver_message(error: DriverError) -> String {
    error.error_string().map_or_else(
        |_| format!("{error:?}"),
        |text| text.to_string_lossy().into_owned(),
    )
}
