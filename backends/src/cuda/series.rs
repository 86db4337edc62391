//! Two series of operations, noted down before they are launched.

/// The short series and the long one, each in the order in which its operations were noted.
#[derive(Debug)]
pub(crate) struct Series<T> {
    short: Vec<T>,
    long: Vec<T>,
    in_long: bool,
    ended: bool,
}

impl<T> Series<T> {
    /// Two empty series; operations are of the short one first.
    pub(crate) fn new() -> Self {
        Self {
            short: Vec::new(),
            long: Vec::new(),
            in_long: false,
            ended: false,
        }
    }

    /// Counts the operations that follow to the long series.
    pub(crate) fn begin_long(&mut self) {
        self.in_long = true;
    }

    /// Notes an operation down, or hands it back to be launched at once, after
    /// [`end`](Self::end).
    pub(crate) fn note(&mut self, operation: T) -> Option<T> {
        if self.ended {
            return Some(operation);
        }
        let series = if self.in_long {
            &mut self.long
        } else {
            &mut self.short
        };
        series.push(operation);
        None
    }

    /// Takes the operations that were noted so far: the short series, then the long one.
    pub(crate) fn take(&mut self) -> (Vec<T>, Vec<T>) {
        (
            std::mem::take(&mut self.short),
            std::mem::take(&mut self.long),
        )
    }

    /// Ends the noting: Burn's own operations are about to read results, of which it knows nothing
    /// while they are only noted down.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }
}
