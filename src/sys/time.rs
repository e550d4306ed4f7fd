//! Times and durations.

use super::{call, nr};
use core::ptr;
use rustix::event::Timespec;
use rustix::io::Result;

/// A span of time. The kernel's `timespec`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration {
    /// Whole seconds.
    pub seconds: i64,
    /// 0 to 999 999 999.
    pub nanoseconds: i64,
}

impl Duration {
    const SECOND: i64 = 1_000_000_000;

    /// The sum. It saturates.
    #[must_use]
    pub fn plus(self, other: Duration) -> Duration {
        let sum = self.nanoseconds + other.nanoseconds;
        let carry = i64::from(sum >= Self::SECOND);
        let seconds = self.seconds.saturating_add(other.seconds).saturating_add(carry);
        Duration { seconds, nanoseconds: sum - carry * Self::SECOND }
    }

    /// The difference, at least 0.
    #[must_use]
    pub fn minus(self, other: Duration) -> Duration {
        let difference = self.nanoseconds - other.nanoseconds;
        let borrow = i64::from(difference < 0);
        let seconds = self.seconds.saturating_sub(other.seconds).saturating_sub(borrow);
        if seconds < 0 {
            return Duration::default();
        }
        Duration { seconds, nanoseconds: difference + borrow * Self::SECOND }
    }
}

/// A point in time, as the span since the machine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    /// The point in time that comes so much later.
    #[must_use]
    pub fn plus(self, span: Duration) -> Instant {
        Instant(self.0.plus(span))
    }

    /// The time since an earlier point, at least 0.
    #[must_use]
    pub fn since(self, earlier: Instant) -> Duration {
        self.0.minus(earlier.0)
    }

    /// The time from now until this point, at least 0.
    pub fn left(self) -> Result<Duration> {
        now().map(|now| self.since(now))
    }
}

impl From<Duration> for Timespec {
    fn from(Duration { seconds, nanoseconds }: Duration) -> Self {
        Timespec { tv_sec: seconds, tv_nsec: nanoseconds }
    }
}

/// The time now. `clock_gettime(2)`, `CLOCK_MONOTONIC`.
pub fn now() -> Result<Instant> {
    const CLOCK_MONOTONIC: usize = 1;
    let mut now = Duration::default();
    // SAFETY: writes a timespec of this frame.
    unsafe { call(nr::CLOCK_GETTIME, [CLOCK_MONOTONIC, ptr::from_mut(&mut now) as usize, 0, 0, 0, 0]) }?;
    Ok(Instant(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn span(seconds: i64, nanoseconds: i64) -> Duration {
        Duration { seconds, nanoseconds }
    }

    #[test]
    fn spans_carry_and_borrow() {
        assert_eq!(span(1, 999_999_999).plus(span(0, 1)), span(2, 0));
        assert_eq!(span(2, 0).minus(span(0, 1)), span(1, 999_999_999));
        assert_eq!(span(5, 7).minus(span(5, 7)), span(0, 0));
    }

    #[test]
    fn differences_stop_at_zero_and_sums_saturate() {
        assert_eq!(span(1, 0).minus(span(1, 1)), span(0, 0));
        assert_eq!(span(1, 0).minus(span(9, 0)), span(0, 0));
        let far = span(i64::MAX, 999_999_999);
        assert!(far.plus(far).seconds > 0);
    }
}
