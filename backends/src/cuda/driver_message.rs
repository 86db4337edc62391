//! The driver's own words.

use cudarc::driver::DriverError;

/// What the driver says of an error.
pub(super) fn driver_message(error: DriverError) -> String {
    error.error_string().map_or_else(
        |_| format!("{error:?}"),
        |text| text.to_string_lossy().into_owned(),
    )
}
