//! A line of a file of options. Every line gives words or an error. Quoted words are parsed to the same words, however
//! they are quoted.

use super::{Input, about, is_one_line};
use crate::about::profiles::words;
use alloc::vec::Vec;

/// The first byte says whether the rest is a line, or words.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    if input.below(2) == 0 {
        let line = input.rest();
        match words(&about(), line) {
            Err(error) => is_one_line(&error),
            Ok(words) if !line.iter().any(|byte| b"'\"\\$~#\x0b\x0c".contains(byte)) => {
                let plain = line.split(|byte| b" \t\r".contains(byte)).filter(|word| !word.is_empty());
                assert_eq!(words, plain.collect::<Vec<_>>());
            }
            Ok(_) => {}
        }
        return;
    }
    let (mut line, mut wanted) = (Vec::new(), Vec::new());
    while !input.is_over() {
        let (way, word) = (input.below(3), input.word());
        line.extend(quoted(way, word));
        line.push(b' ');
        wanted.push(word);
    }
    assert_eq!(words(&about(), &line).expect("quoted words"), wanted, "{}", line.escape_ascii());
}

/// Quotes a word for a shell.
fn quoted(way: usize, word: &[u8]) -> Vec<u8> {
    match way {
        1 => {
            let inner = word.iter().flat_map(|byte| {
                let escape: &[u8] = if b"\"$\\`".contains(byte) { b"\\" } else { b"" };
                [escape, &[*byte]].concat()
            });
            [b"\"".to_vec(), inner.collect(), b"\"".to_vec()].concat()
        }
        2 if !word.is_empty() => word.iter().flat_map(|byte| [b'\\', *byte]).collect(),
        _ => [
            b"'".to_vec(),
            word.split(|byte| *byte == b'\'').collect::<Vec<_>>().join(&b"'\\''"[..]),
            b"'".to_vec(),
        ]
        .concat(),
    }
}
