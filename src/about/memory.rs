//! What the second program says when it has no memory left, as with a small `ulimit -v`. The allocator ends in a panic.

use crate::error::{self, FAILED, say};
use crate::sys;
use core::fmt;

/// Ends the process, for the panic handler. It allocates nothing.
pub fn panicked(info: &dyn fmt::Display) -> ! {
    let mut start = Start { text: [0; ROOM], length: 0 };
    // It is an error only if the text is longer.
    let _ = fmt::write(&mut start, format_args!("{info}"));
    if !start.is_of_memory() {
        error::panicked(info);
    }
    say(sys::standard(2), OUT);
    sys::exit(FAILED)
}

const OUT: &[u8] =
    b"selfdock: out of memory (ENOMEM); raise 'ulimit -v', and limit only CMD by --rlimit as=SIZE\n";

/// More than the path of a source file and the words after it.
const ROOM: usize = 1024;

/// The start of a panic's text.
struct Start {
    text: [u8; ROOM],
    length: usize,
}

impl Start {
    /// Whether an allocation has failed, as the standard library words it. `alloc::alloc::handle_alloc_error`
    fn is_of_memory(&self) -> bool {
        const WORDS: &[u8] = b"memory allocation of ";
        self.text[..self.length].windows(WORDS.len()).any(|words| words == WORDS)
    }
}

impl fmt::Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.text[self.length..];
        let count = text.len().min(room.len());
        room[..count].copy_from_slice(&text.as_bytes()[..count]);
        self.length += count;
        if count < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}
