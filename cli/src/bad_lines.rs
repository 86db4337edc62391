//! The faults of all lines of a prompt file, in one error.

use std::fmt;

/// The most lines that are told one by one.
const MOST: usize = 20;

/// Faults of a prompt file, each as `FILE:LINE: reason`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct BadLines {
    lines: Vec<(usize, String)>,
}

impl BadLines {
    /// Adds a fault; `place` orders faults that are found at different times.
    pub(crate) fn push(&mut self, place: usize, origin: &str, reason: impl fmt::Display) {
        self.lines.push((place, format!("{origin}: {reason}")));
    }

    /// The faults in the order of the file, or `Ok` where there is none.
    ///
    /// # Errors
    /// The faults.
    pub(crate) fn check(mut self) -> Result<(), Self> {
        if self.lines.is_empty() {
            return Ok(());
        }
        self.lines.sort_by_key(|(place, _)| *place);
        Err(self)
    }

    /// The lines that follow the first one of the message.
    pub(crate) fn following(&self) -> Vec<String> {
        if self.lines.len() < 2 {
            return Vec::new();
        }
        let told = self.lines.iter().take(MOST).map(|(_, text)| text.clone());
        let rest = self.lines.len().saturating_sub(MOST);
        told.chain((rest > 0).then(|| format!("and {rest} more")))
            .collect()
    }
}

impl std::error::Error for BadLines {}

impl fmt::Display for BadLines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lines.as_slice() {
            [(_, only)] => formatter.write_str(only),
            lines => write!(
                formatter,
                "{} lines of the prompt file cannot be used, and nothing is drawn:",
                lines.len()
            ),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::BadLines;

    #[test]
    fn one_fault_is_one_line_and_many_are_bounded_and_in_order() {
        assert_eq!(BadLines::default().check(), Ok(()));
        let mut bad = BadLines::default();
        bad.push(2, "p:2", "no");
        let one = bad.clone().check().unwrap_err();
        assert_eq!(one.to_string(), "p:2: no");
        assert_eq!(one.following(), [""; 0]);
        bad.push(1, "p:1", "never");
        let two = bad.clone().check().unwrap_err();
        assert!(two.to_string().starts_with("2 lines of the prompt file"));
        assert_eq!(two.following(), ["p:1: never", "p:2: no"]);
        for line in 3..=25 {
            bad.push(line, &format!("p:{line}"), "no");
        }
        let many = bad.check().unwrap_err().following();
        assert_eq!((many.len(), many[20].as_str()), (21, "and 5 more"));
    }
}
