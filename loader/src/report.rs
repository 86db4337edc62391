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
    /// Bytes of them that the system had in memory, and that were read from there.
    pub memory_bytes: u64,
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

/// How files were read, the best way first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadMethod {
    /// They were mapped: weights are read where they are used.
    Mapped,
    /// All of it was in memory.
    Memory,
    /// Past the page cache, but for what was in memory.
    Direct,
    /// What was not in memory through the page cache, and out of it again: the file system grants
    /// no direct reads.
    #[default]
    Buffered,
}

impl ReadMethod {
    /// The method of files that were read in several ways: the one that least can be said for.
    pub(crate) fn of_all(methods: impl Iterator<Item = Self>) -> Self {
        methods.max().unwrap_or_default()
    }
}

impl fmt::Display for ReadMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mapped => "in place",
            Self::Memory => "from memory",
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

    /// How the files were read, in words: `past the page cache, 41 % from memory`.
    pub fn way(&self) -> String {
        let percent = 100.0 * self.memory_bytes as f64 / self.bytes.max(1) as f64;
        match self.method {
            ReadMethod::Direct | ReadMethod::Buffered if self.memory_bytes > 0 => {
                // Not all and not nothing, however little is lacking.
                format!(
                    "{}, {:.0} % from memory",
                    self.method,
                    percent.clamp(1.0, 99.0)
                )
            }
            method => method.to_string(),
        }
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
    fn the_share_that_came_from_memory_is_told() {
        let way = |method, memory_bytes| {
            let report = LoadReport {
                bytes: 1000,
                method,
                memory_bytes,
                ..LoadReport::default()
            };
            report.way()
        };
        assert_eq!(way(ReadMethod::Memory, 1000), "from memory");
        assert_eq!(way(ReadMethod::Direct, 0), "past the page cache");
        let partly = "past the page cache, 41 % from memory";
        assert_eq!(way(ReadMethod::Direct, 412), partly);
        let almost = "through the page cache, 99 % from memory";
        assert_eq!(way(ReadMethod::Buffered, 999), almost);
    }

    #[test]
    fn small_sizes_have_small_units() {
        for (bytes, shown) in [(7, "7 B"), (1536, "1.50 KiB"), (3 << 20, "3.00 MiB")] {
            assert_eq!(Size(bytes).to_string(), shown);
        }
    }
}
