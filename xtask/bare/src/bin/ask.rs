//! `ask CALL WORD...`: makes one system call and prints the kernel's answer, in a guest that has no other program for
//! it. A word is a number, `@TEXT` for a string, or `%HEX` for bytes, which are passed by address. It is used in
//! guests only, since it makes any system call.
#![no_std]
#![no_main]

use bare::{Text, call};
use core::ffi::CStr;

bare::start!(main);

const WORDS: usize = 5;
const BYTES: usize = 64;

fn main(start: &bare::Start) -> ! {
    let mut bytes = [[0u8; BYTES]; WORDS];
    let mut words = [0; WORDS];
    for (i, (word, room)) in words.iter_mut().zip(&mut bytes).enumerate().take(start.argc.saturating_sub(2)) {
        *word = read(start.arg(i + 2), room);
    }
    // SAFETY: addresses are those of strings and bytes that stay. The caller asks for what the call
    // does with them, and nothing here relies on them afterwards.
    let out = unsafe { call(start.number(1), words) };
    let mut text = Text::new();
    if out < 0 {
        text.string(b"errno ");
    }
    text.number(out.unsigned_abs()).string(b"\n").write(1);
    bare::exit(usize::from(out < 0))
}

fn read(word: &'static CStr, room: &mut [u8; BYTES]) -> usize {
    match word.to_bytes() {
        [b'@', text @ ..] => text.as_ptr() as usize,
        [b'%', digits @ ..] => {
            for (byte, pair) in room.iter_mut().zip(digits.chunks(2)) {
                *byte = pair.iter().fold(0, |byte, digit| byte << 4 | nibble(*digit));
            }
            room.as_ptr() as usize
        }
        digits => digits
            .iter()
            .fold(0, |n: usize, digit| n.wrapping_mul(10).wrapping_add(usize::from(nibble(*digit)))),
    }
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'0') & 15,
    }
}
