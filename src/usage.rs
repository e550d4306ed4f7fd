//! The resource usage of processes. getrusage(2).

use core::sync::atomic::{AtomicI64, Ordering};

/// The usage of one or more processes: a number for each of [`Of`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage([i64; NUMBERS]);

/// What is used. getrusage(2) says what each number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Microseconds in user mode.
    User,
    /// Microseconds in the kernel.
    System,
    /// Page faults without input or output.
    MinorFaults,
    /// Page faults with input or output.
    MajorFaults,
    /// Context switches when it waited.
    VoluntarySwitches,
    /// Context switches when its time was up.
    InvoluntarySwitches,
    /// Peak of resident memory, KiB: of the largest process, where there are several. All others are sums.
    Peak,
}

const NUMBERS: usize = 7;

impl Usage {
    /// Makes it from numbers in the order of [`Of`].
    pub fn new(numbers: [i64; NUMBERS]) -> Self {
        Usage(numbers)
    }

    /// One of its numbers.
    pub fn get(&self, of: Of) -> i64 {
        self.0[of as usize]
    }

    /// Adds the usage of others.
    pub fn add(&mut self, other: &Usage) {
        let peak = self.get(Of::Peak).max(other.get(Of::Peak));
        for (ours, theirs) in self.0.iter_mut().zip(&other.0) {
            *ours = ours.saturating_add(*theirs);
        }
        self.0[Of::Peak as usize] = peak;
    }

    /// Subtracts an earlier usage. The peak stays.
    pub fn take_off(&mut self, before: &Usage) {
        let peak = self.get(Of::Peak);
        for (all, before) in self.0.iter_mut().zip(&before.0) {
            *all = all.saturating_sub(*before).max(0);
        }
        self.0[Of::Peak as usize] = peak;
    }
}

/// A usage in memory that processes share.
#[derive(Default)]
pub struct Tally([AtomicI64; NUMBERS]);

impl Tally {
    pub fn set(&self, usage: &Usage) {
        for (place, number) in self.0.iter().zip(usage.0) {
            place.store(number, Ordering::Release);
        }
    }

    pub fn get(&self) -> Usage {
        let mut usage = Usage::default();
        for (number, place) in usage.0.iter_mut().zip(&self.0) {
            *number = place.load(Ordering::Acquire);
        }
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_summed_except_the_peak() {
        let one = Usage::new([5, 7, 0, 0, 0, 0, 300]);
        let other = Usage::new([1, 0, 0, 2, 0, 0, 200]);
        let mut both = one;
        both.add(&other);
        assert_eq!(both, Usage::new([6, 7, 0, 2, 0, 0, 300]));
        both.take_off(&other);
        assert_eq!(both, Usage::new([5, 7, 0, 0, 0, 0, 300]));
        both.take_off(&Usage::new([9, 0, 0, 0, 0, 0, 400]));
        assert_eq!([both.get(Of::User), both.get(Of::System), both.get(Of::Peak)], [0, 7, 300]);
    }

    #[test]
    fn usage_survives_in_a_tally() {
        let usage = Usage::new([1 << 40, 0, 0, 0, 0, 3, 9]);
        let tally = Tally::default();
        tally.set(&usage);
        assert_eq!(tally.get(), usage);
    }
}
