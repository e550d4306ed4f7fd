//! A line on the terminal while a copy is prepared, if that takes longer than a second.

use crate::error::say;
use crate::sys::{self, Duration, Instant};
use crate::text::{decimal, join};
use core::cell::Cell;

/// How long nothing is shown.
const QUIET: Duration = Duration { seconds: 1, nanoseconds: 0 };
/// How long a line stays before the next one.
const PAUSE: Duration = Duration { seconds: 0, nanoseconds: 200_000_000 };

/// The progress of a copy. Its end removes the line.
pub struct Progress {
    /// When a line is to be shown. `None` if standard error is no terminal.
    next: Cell<Option<Instant>>,
    count: Cell<u64>,
    is_shown: Cell<bool>,
}

impl Progress {
    /// The beginning.
    pub fn new() -> Self {
        let next = if sys::is_terminal(2) { sys::now().ok().map(|now| now.plus(QUIET)) } else { None };
        Progress { next: Cell::new(next), count: Cell::new(0), is_shown: Cell::new(false) }
    }

    /// Counts a directory that was prepared.
    pub fn step(&self) {
        self.count.set(self.count.get() + 1);
        let (Some(next), Ok(now)) = (self.next.get(), sys::now()) else { return };
        if now.since(next) == Duration::default() {
            return;
        }
        let count = decimal(self.count.get());
        say(sys::standard(2), join(&[b"\rselfdock: preparing the copy: ", count, b" directories\x1b[K"]));
        self.is_shown.set(true);
        self.next.set(Some(now.plus(PAUSE)));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown.get() {
            say(sys::standard(2), b"\r\x1b[K");
        }
    }
}
