//! Amounts of memory, as users write them.

/// Units and their bytes. One letter alone is binary, as memory sizes usually are.
const UNITS: [(&str, u64); 17] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kb", 1_000),
    ("kib", 1 << 10),
    ("m", 1 << 20),
    ("mb", 1_000_000),
    ("mib", 1 << 20),
    ("g", 1 << 30),
    ("gb", 1_000_000_000),
    ("gib", 1 << 30),
    ("t", 1 << 40),
    ("tb", 1_000_000_000_000),
    ("tib", 1 << 40),
    ("p", 1 << 50),
    ("pb", 1_000_000_000_000_000),
    ("pib", 1 << 50),
];

/// The least number that is taken for bytes where it has no unit.
const LEAST_PLAIN: u64 = 1_000_000;

/// Reads `29GB` (decimal), `29GiB` or `29G` (binary), `1.5GiB`, or plain bytes. A small number of
/// plain bytes is refused: somebody who writes 24 means gigabytes, and who writes 24576 the
/// mebibytes that nvidia-smi shows.
///
/// # Errors
/// The fault of a text that is no positive size.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let split = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim().to_ascii_lowercase();
    let wrong = || "not a size; write it as 12GB, 12GiB or a number of bytes".to_owned();
    let &(_, factor) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(wrong)?;
    let bytes = if let Ok(whole) = number.parse::<u64>() {
        whole
            .checked_mul(factor)
            .ok_or_else(|| "larger than any memory".to_owned())?
    } else {
        let value = number.parse::<f64>().map_err(|_| wrong())? * factor as f64;
        if value >= u64::MAX as f64 {
            return Err("larger than any memory".to_owned());
        }
        value as u64
    };
    if bytes == 0 {
        return Err("must be more than zero".to_owned());
    }
    if unit.is_empty() && bytes < LEAST_PLAIN {
        let meant = if bytes < 1000 { "GB" } else { "MiB" };
        return Err(format!(
            "{number} without a unit is a number of bytes; tip: write {number}{meant}"
        ));
    }
    Ok(bytes)
}

/// Writes a byte count for people: `512 B`, `19.03 GiB`.
pub fn format_bytes(bytes: u64) -> String {
    const NAMES: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.995 && unit + 1 < NAMES.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2} {}", NAMES[unit])
}

/// Finds the smallest limit of at least `bytes` that can be written in hundredths of a GiB, as
/// [`parse_bytes`] reads it, and its bytes.
pub fn limit_for(bytes: u64) -> (String, u64) {
    let mut hundredths = (u128::from(bytes) * 100).div_ceil(1 << 30);
    loop {
        let text = format!("{}.{:02}GiB", hundredths / 100, hundredths % 100);
        match parse_bytes(&text) {
            Ok(value) if value >= bytes => return (text, value),
            // No memory has so many bytes; the figure itself is right as well.
            Err(_) if bytes > 0 => return (bytes.to_string(), bytes),
            _ => hundredths += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{format_bytes, limit_for, parse_bytes};

    #[test]
    fn a_limit_is_never_less_than_what_it_is_for() {
        for bytes in [0, 1, 1 << 30, 20_430_635_136, (19 << 30) + 1, u64::MAX] {
            let (text, value) = limit_for(bytes);
            assert_eq!(parse_bytes(&text), Ok(value), "{text}");
            assert!(value >= bytes, "{text} for {bytes}");
            assert!(value - bytes <= (1 << 30) / 50, "{text} for {bytes}");
        }
        assert_eq!(limit_for(20_430_635_136).0, "19.03GiB");
    }

    #[test]
    fn reads_decimal_binary_and_plain_sizes() {
        assert_eq!(parse_bytes("29GB"), Ok(29_000_000_000));
        assert_eq!(parse_bytes("29GiB"), Ok(29 << 30));
        assert_eq!(parse_bytes("29 gib"), Ok(29 << 30));
        assert_eq!(parse_bytes("29G"), Ok(29 << 30));
        assert_eq!(parse_bytes("1.5KiB"), Ok(1536));
        assert_eq!(parse_bytes("24000000000"), Ok(24_000_000_000));
        assert_eq!(parse_bytes("1000000"), Ok(1_000_000));
        assert_eq!(parse_bytes("7b"), Ok(7));
    }

    #[test]
    fn a_small_number_needs_a_unit() {
        for (text, tip) in [
            ("24", "write 24GB"),
            ("1", "write 1GB"),
            ("7.5", "write 7.5GB"),
            ("24576", "write 24576MiB"),
            ("999999", "write 999999MiB"),
        ] {
            let refused = parse_bytes(text).err().unwrap_or_default();
            assert!(refused.contains(tip), "{text}: {refused}");
        }
        assert_eq!(parse_bytes("24b"), Ok(24));
    }

    #[test]
    fn refuses_what_is_no_size() {
        for text in [
            "",
            "GB",
            "-1",
            "-1GB",
            "nan",
            "inf",
            "1..2GB",
            "12 apples",
            "0",
            "0GB",
            "0.0001b",
            "1e9",
            "99999999999999999999",
            "99999999PiB",
            "9999999999.5PiB",
        ] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prints_sizes_for_people() {
        assert_eq!(format_bytes(0), "0 B");
        assert_eq!(format_bytes(1023), "1023 B");
        assert_eq!(format_bytes(1 << 20), "1.00 MiB");
        assert_eq!(format_bytes(20_430_635_136), "19.03 GiB");
        assert_eq!(format_bytes((1 << 30) - 1), "1.00 GiB");
    }
}
