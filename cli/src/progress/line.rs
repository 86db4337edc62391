//! The text of a bar, cut so that it never takes a second line.

use std::time::Duration;

/// Widths of the bar, between its brackets; the widest that leaves room for the figures is taken.
const BARS: [usize; 3] = [30, 20, 10];

/// A message, a bar and figures in at most `columns` columns. The figures come in the order of
/// their worth: first the bar shrinks and goes, then the last figures go, then the message is cut.
pub(super) fn fit(columns: usize, message: &str, part: Option<f64>, figures: &[String]) -> String {
    // A character in the last column makes some terminals begin a line.
    let room = columns.saturating_sub(1);
    for count in (1..=figures.len()).rev() {
        let figures = figures[..count].join(" ");
        let bars = part
            .iter()
            .flat_map(|part| BARS.map(|width| bar(*part, width)));
        for bar in bars.chain([String::new()]) {
            let line = format!("{message} {bar}{figures}");
            if length(&line) <= room {
                return line;
            }
        }
    }
    let Some(first) = figures.first() else {
        return cut(message, room);
    };
    match room.checked_sub(length(first) + 1) {
        Some(left) if left > 0 => format!("{} {first}", cut(message, left)),
        _ => cut(first, room),
    }
}

/// Formats a time: `0:34`, `12:40` or `1:02:03`.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

fn bar(part: f64, width: usize) -> String {
    let done = ((part.clamp(0.0, 1.0) * width as f64) as usize).min(width);
    let head = if done < width { ">" } else { "" };
    let line = format!("{}{head}", "=".repeat(done));
    format!("[{line:width$}] ")
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn cut(text: &str, room: usize) -> String {
    if length(text) <= room {
        return text.to_owned();
    }
    let mut start: String = text.chars().take(room.saturating_sub(1)).collect();
    if room > 0 {
        start.push('…');
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let figures = ["12/50", "eta 0:34", "all 12:40", "0.92 s/it", "0:12"].map(str::to_owned);
        let line = |columns| fit(columns, "Denoising image 10 of 20", Some(0.24), &figures);
        for columns in 0..200 {
            assert!(
                length(&line(columns)) <= columns,
                "{columns}: {}",
                line(columns)
            );
        }
        assert_eq!(
            line(120),
            "Denoising image 10 of 20 [=======>                      ] 12/50 eta 0:34 all 12:40 \
             0.92 s/it 0:12"
        );
        assert_eq!(
            line(80),
            "Denoising image 10 of 20 [==>       ] 12/50 eta 0:34 all 12:40 0.92 s/it 0:12"
        );
        assert_eq!(line(40), "Denoising image 10 of 20 12/50 eta 0:34");
        assert_eq!(line(24), "Denoising image … 12/50");
        assert_eq!(fit(10, "Encoding the prompt", None, &[]), "Encoding…");
    }

    #[test]
    fn a_bar_is_full_at_the_end_and_empty_at_the_beginning() {
        assert_eq!(bar(0.0, 10), "[>         ] ");
        assert_eq!(bar(0.5, 10), "[=====>    ] ");
        assert_eq!(bar(1.0, 10), "[==========] ");
        assert_eq!(bar(f64::NAN, 10), "[>         ] ");
    }

    #[test]
    fn times_are_read_at_a_glance() {
        for (seconds, shown) in [(0, "0:00"), (34, "0:34"), (760, "12:40"), (3723, "1:02:03")] {
            assert_eq!(clock(Duration::from_secs(seconds)), shown);
        }
    }
}
