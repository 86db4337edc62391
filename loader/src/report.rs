//! The report of a load.

use std::fmt;

use serde::Serialize;

/// Figures of one load.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LoadReport {
    /// Tensors of the file that were used, scales included.
    pub tensors: usize,
    /// Tensors of the file that were not needed.
    pub unused: usize,
    /// All tensors of the files, those of other models included.
    pub in_files: usize,
    /// The part that was loaded, such as `the decoder`.
    pub part: &'static str,
    /// Bytes in the file of the tensors that were used.
    pub bytes: u64,
    /// Bytes of them that are used where they lie, in the file's mapping.
    pub mapped_bytes: u64,
    /// How the files were read.
    pub method: ReadMethod,
    /// Host memory of the ring that bytes went through.
    pub ring_bytes: u64,
    /// Duration in seconds.
    pub seconds: f64,
    /// Peak of this process's anonymous memory while loading, in bytes, where it can be known.
    pub peak_anonymous_bytes: Option<u64>,
    /// Change of the machine's page cache, in bytes, where it can be known.
    pub page_cache_growth: Option<i64>,
    /// The device's memory in use before, in bytes, where its driver tells.
    pub device_used_before: Option<u64>,
    /// The device's memory in use afterwards, in bytes, where its driver tells.
    pub device_used_after: Option<u64>,
}

/// How files were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadMethod {
    /// They were mapped: weights are read where they are used.
    Mapped,
    /// Past the page cache.
    Direct,
    /// Through the page cache, and out of it again: the file system grants no direct reads.
    #[default]
    Buffered,
}

impl fmt::Display for ReadMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mapped => "in place",
            Self::Direct => "past the page cache",
            Self::Buffered => "through the page cache",
        })
    }
}

impl LoadReport {
    /// Bytes of the file per second.
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.seconds.max(1e-9)
    }
}

impl fmt::Display for LoadReport {
    /// Writes `Loaded 1933 tensors (19.03 GiB) in 4.2 s`, and for a part of a file
    /// `Loaded 104 of 194 tensors: the decoder (84.03 MiB) in 0.1 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.tensors == 1 { "" } else { "s" };
        match self.in_files > self.tensors {
            false => write!(f, "Loaded {} tensor{plural}", self.tensors)?,
            true => write!(
                f,
                "Loaded {} of {} tensors: {}",
                self.tensors, self.in_files, self.part
            )?,
        }
        write!(f, " ({}) in {:.1} s", Size(self.bytes), self.seconds)
    }
}

/// A number of bytes in the unit that suits it.
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        match self.0 {
            0..0x400 => write!(f, "{} B", self.0),
            0x400..0x10_0000 => write!(f, "{:.2} KiB", bytes / 1024.0),
            0x10_0000..0x4000_0000 => write!(f, "{:.2} MiB", bytes / 1024.0 / 1024.0),
            _ => write!(f, "{:.2} GiB", bytes / 1024.0 / 1024.0 / 1024.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_the_one_agreed() {
        let report = LoadReport {
            tensors: 1933,
            bytes: 20_430_401_088,
            seconds: 4.2,
            ..LoadReport::default()
        };
        assert_eq!(
            report.to_string(),
            "Loaded 1933 tensors (19.03 GiB) in 4.2 s"
        );
    }

    #[test]
    fn a_part_of_a_file_is_told_as_one() {
        let report = LoadReport {
            tensors: 104,
            in_files: 194,
            part: "the decoder",
            bytes: 3 << 20,
            seconds: 0.12,
            ..LoadReport::default()
        };
        assert_eq!(
            report.to_string(),
            "Loaded 104 of 194 tensors: the decoder (3.00 MiB) in 0.1 s"
        );
    }

    #[test]
    fn small_sizes_have_small_units() {
        for (bytes, shown) in [(7, "7 B"), (1536, "1.50 KiB"), (3 << 20, "3.00 MiB")] {
            assert_eq!(Size(bytes).to_string(), shown);
        }
    }
}
