//! The memory functions that the compiler calls by name, and that a libc would define.

use super::arch;

/// # Safety
/// As memcpy(3): both ranges valid for `n` bytes, not overlapping.
#[cfg_attr(not(any(test, fuzzing)), unsafe(no_mangle))]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe { arch::copy_up(to, from, n) };
    to
}

/// # Safety
/// As memmove(3): both ranges valid for `n` bytes.
#[cfg_attr(not(any(test, fuzzing)), unsafe(no_mangle))]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= n {
        // SAFETY: going up, a byte is read before it can be overwritten.
        return unsafe { memcpy(to, from, n) };
    }
    // SAFETY: going down from the last byte, likewise.
    unsafe { arch::copy_down(to, from, n) };
    to
}

/// # Safety
/// As memset(3): the range valid for `n` bytes.
#[cfg_attr(not(any(test, fuzzing)), unsafe(no_mangle))]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, n: usize) -> *mut u8 {
    // SAFETY: the caller's promise. The low byte counts, as C has it.
    unsafe { arch::fill(to, byte.to_ne_bytes()[0], n) };
    to
}

/// # Safety
/// As memcmp(3): both ranges valid for `n` bytes.
#[cfg_attr(not(any(test, fuzzing)), unsafe(no_mangle))]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    for i in 0..n {
        // SAFETY: i < n. Volatile, so that the loop is not made a call of itself.
        let (x, y) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
    }
    0
}

/// # Safety
/// As memcmp(3): both ranges valid for `n` bytes.
#[cfg_attr(not(any(test, fuzzing)), unsafe(no_mangle))]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: the same promise.
    unsafe { memcmp(a, b, n) }
}

/// # Safety
/// As strlen(3): a string that ends with NUL.
#[cfg_attr(not(any(test, fuzzing)), unsafe(no_mangle))]
unsafe extern "C" fn strlen(s: *const u8) -> usize {
    let mut n = 0;
    // SAFETY: no byte past the NUL is read. Volatile for the same reason as above.
    while unsafe { s.add(n).read_volatile() } != 0 {
        n += 1;
    }
    n
}

/// Symbols that compiler-rt needs if the compiler's own library is partly C, as Debian's is. It asks whether there
/// are newer atomic instructions. Nobody calls this, since no constructor runs, so it uses the older ones.
#[cfg(all(target_arch = "aarch64", not(any(test, fuzzing))))]
mod of_compiler_rt {
    // SAFETY: the only definition of this name. 0 says that nothing is known.
    #[unsafe(no_mangle)]
    extern "C" fn getauxval(_kind: usize) -> usize {
        0
    }

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    static __stack_chk_guard: usize = 0;

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    extern "C" fn __stack_chk_fail() -> ! {
        super::arch::trap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn numbers(n: u8) -> Vec<u8> {
        (1..=n).collect()
    }

    #[test]
    fn ranges_that_overlap_are_moved_whole() {
        for (from, to, n) in [(0, 3, 17), (3, 0, 17), (2, 2, 9), (0, 19, 1), (4, 5, 0), (0, 1, 19)] {
            let (mut moved, mut expected) = (numbers(20), numbers(20));
            expected.copy_within(from..from + n, to);
            let base = moved.as_mut_ptr();
            // SAFETY: both ranges lie in the 20 bytes.
            unsafe { memmove(base.add(to), base.add(from), n) };
            assert_eq!(moved, expected, "{from} {to} {n}");
        }
    }

    #[test]
    fn ranges_are_copied_and_filled_to_their_last_byte() {
        for n in [0, 1, 7, 8, 9, 19] {
            let (mut copied, from) = (std::vec![0xff; 20], numbers(20));
            // SAFETY: both have 20 bytes.
            unsafe { memcpy(copied.as_mut_ptr(), from.as_ptr(), n) };
            assert_eq!((&copied[..n], copied[n]), (&from[..n], 0xff));
            // SAFETY: as above.
            unsafe { memset(copied.as_mut_ptr(), 0x1_07, n) };
            assert!(copied[..n].iter().all(|byte| *byte == 7) && copied[n] == 0xff);
        }
    }

    #[test]
    fn bytes_are_compared_without_a_sign_and_counted_up_to_nul() {
        for (a, b) in [(b"abc", b"abd"), (b"ab\x80", b"ab\x7f"), (b"abc", b"abc")] {
            // SAFETY: three bytes each.
            let (order, equal) =
                unsafe { (memcmp(a.as_ptr(), b.as_ptr(), 3).cmp(&0), bcmp(a.as_ptr(), b.as_ptr(), 3) == 0) };
            assert_eq!((order, equal), (a.cmp(b), a == b));
        }
        // SAFETY: ends with NUL.
        assert_eq!(unsafe { strlen(c"four".as_ptr().cast()) }, 4);
    }
}
