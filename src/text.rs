//! Bytes and numbers as text, without `core::fmt`, which would take a twentieth of the set-uid program.
//!
//! Text lives as long as the process. Memory is never freed (`sys::Arena`), so leaking costs nothing and needs no
//! code.

use alloc::vec::Vec;
use core::ffi::CStr;
use rustix::io::Errno;

/// Bytes that live as long as the process.
pub type Bytes = &'static [u8];

/// Defines a number that bounds something, and the words that name the number to the user.
macro_rules! bound {
    ($(#[$doc:meta])* $visible:vis $name:ident = $number:literal, $words:ident = $before:literal, $after:literal) => {
        $(#[$doc])*
        $visible const $name: usize = $number;
        const $words: &str = concat!($before, $number, $after);
    };
}
pub(crate) use bound;

/// Concatenates the parts. Allocates once: a growing vector would leave its old buffers behind.
pub fn join(parts: &[&[u8]]) -> Bytes {
    parts.concat().leak()
}

/// A path for the kernel: with a NUL at the end, and no other NUL.
pub fn c_string(bytes: &[u8]) -> Result<&'static CStr, Errno> {
    // This takes 400 bytes less code than the function of `core`.
    crate::sys::c_str(join(&[bytes, b"\0"])).ok_or(Errno::INVAL)
}

/// A number in decimal digits.
pub fn decimal(number: impl Into<u64>) -> Bytes {
    digits(number.into(), 10, 1)
}

/// A number in octal digits.
pub fn octal(number: impl Into<u64>) -> Bytes {
    digits(number.into(), 8, 1)
}

/// The digits of a number in a base of up to 16, at least `least` of them.
pub fn digits(mut number: u64, base: u64, least: usize) -> Bytes {
    let mut all = Vec::with_capacity(22);
    while number > 0 || all.len() < least {
        let digit = u8::try_from(number % base).unwrap_or(0);
        all.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
        number /= base;
    }
    all.reverse();
    all.leak()
}

/// Parses a number without a sign, if it fits.
pub fn number(digits: &[u8], base: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |all, digit| {
        let digit = char::from(*digit).to_digit(base)?;
        all.checked_mul(base.into())?.checked_add(digit.into())
    })
}

/// Parses a decimal number.
pub fn whole(digits: &[u8]) -> Option<u64> {
    number(digits, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_they_should() {
        assert_eq!(
            (decimal(0u32), decimal(812u32), octal(0o1777u16)),
            (&b"0"[..], &b"812"[..], &b"1777"[..])
        );
        assert_eq!(decimal(u64::MAX), b"18446744073709551615");
        assert_eq!(
            (number(b"755", 8), number(b"00fF", 16), number(b"18446744073709551616", 10)),
            (Some(0o755), Some(255), None)
        );
        assert_eq!((number(b"", 10), number(b"+1", 10), number(b"8", 8)), (None, None, None));
        assert_eq!((digits(5, 10, 6), digits(255, 16, 2)), (&b"000005"[..], &b"ff"[..]));
    }
}
