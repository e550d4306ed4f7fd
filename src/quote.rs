//! Text of the caller in messages.

use crate::text::{digits, join};
use alloc::vec::Vec;
use core::fmt;

/// Bytes of the caller, in quotes. Unprintable characters are escaped, so that a file name can neither break the line
/// nor control a terminal.
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        quote(&mut out, self.0);
        f.write_str(core::str::from_utf8(&out).unwrap_or("?"))
    }
}

/// Appends the bytes, in quotes.
pub fn quote(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'\'');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut buffer = [0; 4];
            out.extend_from_slice(match c {
                '\'' => b"\\'",
                '\\' => b"\\\\",
                '\n' => b"\\n",
                '\t' => b"\\t",
                // Control characters, and those that reorder or hide text.
                _ if is_unprintable(c) => join(&[b"\\u{", digits(c.into(), 16, 1), b"}"]),
                _ => c.encode_utf8(&mut buffer).as_bytes(),
            });
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(join(&[b"\\x", digits((*byte).into(), 16, 2)]));
        }
    }
    out.push(b'\'');
}

/// Whether a character controls a terminal, or reorders or hides text.
pub fn is_unprintable(c: char) -> bool {
    matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// I8: log escapes.
    #[test]
    fn unprintable_characters_are_escaped() {
        let shown = Quoted(b"a\x1b[31m\nb\xff'\xe2\x80\xae").to_string();
        assert_eq!(shown, "'a\\u{1b}[31m\\nb\\xff\\'\\u{202e}'");
    }
}
