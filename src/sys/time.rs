//! Times and durations.

use super::{call, nr};
use core::ptr;
use rustix::io::Result;

/// A point in time, or a duration. The kernel's `timespec`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Whole seconds.
    pub seconds: i64,
    /// 0 to 999 999 999.
    pub nanoseconds: i64,
}

impl Moment {
    const SECOND: i64 = 1_000_000_000;

    /// The sum. It saturates.
    #[must_use]
    pub fn plus(self, other: Moment) -> Moment {
        let sum = self.nanoseconds + other.nanoseconds;
        let carry = i64::from(sum >= Self::SECOND);
        let seconds = self.seconds.saturating_add(other.seconds).saturating_add(carry);
        Moment { seconds, nanoseconds: sum - carry * Self::SECOND }
    }

    /// The difference, at least 0.
    #[must_use]
    pub fn minus(self, other: Moment) -> Moment {
        let difference = self.nanoseconds - other.nanoseconds;
        let borrow = i64::from(difference < 0);
        let seconds = self.seconds.saturating_sub(other.seconds).saturating_sub(borrow);
        if seconds < 0 {
            return Moment::default();
        }
        Moment { seconds, nanoseconds: difference + borrow * Self::SECOND }
    }
}

/// Time since the machine started. `clock_gettime(2)`, `CLOCK_MONOTONIC`.
pub fn now() -> Result<Moment> {
    const CLOCK_MONOTONIC: usize = 1;
    let mut now = Moment::default();
    // SAFETY: writes a timespec of this frame.
    unsafe { call(nr::CLOCK_GETTIME, [CLOCK_MONOTONIC, ptr::from_mut(&mut now) as usize, 0, 0, 0, 0]) }?;
    Ok(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn moment(seconds: i64, nanoseconds: i64) -> Moment {
        Moment { seconds, nanoseconds }
    }

    #[test]
    fn moments_carry_and_borrow() {
        assert_eq!(moment(1, 999_999_999).plus(moment(0, 1)), moment(2, 0));
        assert_eq!(moment(2, 0).minus(moment(0, 1)), moment(1, 999_999_999));
        assert_eq!(moment(5, 7).minus(moment(5, 7)), moment(0, 0));
    }

    #[test]
    fn differences_stop_at_zero_and_sums_saturate() {
        assert_eq!(moment(1, 0).minus(moment(1, 1)), moment(0, 0));
        assert_eq!(moment(1, 0).minus(moment(9, 0)), moment(0, 0));
        let far = moment(i64::MAX, 999_999_999);
        assert!(far.plus(far).seconds > 0);
    }
}
