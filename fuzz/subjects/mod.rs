//! The subjects of the fuzzers. Each file is a subject: it gives any bytes to a parser, and checks what must hold for
//! every input. The library has these modules only if it is built for a fuzzer or for its own tests. No installed
//! program has them.
//!
//! If an input has a right answer, the subject finds it a second time, in a plain way.

// A subject reports a fault by a panic.
#![allow(clippy::missing_panics_doc)]

use crate::creds::Caller;
use crate::error::Error;
use crate::handover::{About, Mode};
use alloc::vec::Vec;
use core::ffi::CStr;

pub mod changes;
pub mod environment;
pub mod group;
pub mod line;
pub mod list;
pub mod mountinfo;
pub mod names;
pub mod plan;
pub mod profile;
pub mod quoted;
pub mod status;
pub mod values;

/// A subject: its name, and the function that takes the input.
pub type Subject = (&'static str, fn(&[u8]));

/// All subjects.
pub const ALL: &[Subject] = &[
    ("changes", changes::check),
    ("environment", environment::check),
    ("group", group::check),
    ("line", line::check),
    ("list", list::check),
    ("mountinfo", mountinfo::check),
    ("names", names::check),
    ("plan", plan::check),
    ("profile", profile::check),
    ("quoted", quoted::check),
    ("status", status::check),
    ("values", values::check),
];

/// Bytes that decide choices. After the last byte every choice is the first one.
pub struct Input<'d>(&'d [u8]);

impl<'d> Input<'d> {
    /// Begins with the first byte.
    pub fn new(data: &'d [u8]) -> Self {
        Input(data)
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    /// A number below this one.
    pub fn below(&mut self, many: usize) -> usize {
        usize::from(self.byte()) % many
    }

    /// One of these values.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Whether all bytes are used.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes up to the next NUL.
    pub fn word(&mut self) -> &'d [u8] {
        let end = self.0.iter().position(|byte| *byte == 0);
        let word = &self.0[..end.unwrap_or(self.0.len())];
        self.0 = end.map_or(&[], |end| &self.0[end + 1..]);
        word
    }

    /// The remaining bytes.
    pub fn rest(&mut self) -> &'d [u8] {
        core::mem::take(&mut self.0)
    }
}

/// The environment of the caller.
pub const ENVIRONMENT: [&CStr; 6] =
    [c"HOME=/home/me", c"PATH=/usr/bin:/bin", c"SHELL=/bin/sh", c"A=one two", c"A_TOKEN=x", c"EMPTY="];

/// The caller.
pub fn about() -> About {
    About {
        caller: Caller { uid: 1000, gid: 1000 },
        mode: Mode::SetUid,
        program: c"/usr/bin/selfdock",
        name: c"selfdock",
        environment: ENVIRONMENT.to_vec(),
    }
}

/// Checks that a message is one line of printable characters.
pub fn is_one_line(error: &Error) {
    let message = core::str::from_utf8(error.message()).expect("a message is text");
    assert!(!message.is_empty() && !message.chars().any(char::is_control), "{message:?}");
}

/// The words as a list, for messages.
pub fn shown<'t>(parts: impl IntoIterator<Item = &'t [u8]>) -> Vec<alloc::string::String> {
    parts.into_iter().map(|part| part.escape_ascii().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{read, read_dir};

    #[test]
    fn every_subject_holds_for_its_seeds() {
        for (name, check) in ALL {
            let dir = format!("fuzz/seeds/{name}");
            let seeds: Vec<_> = read_dir(&dir).unwrap_or_else(|error| panic!("{dir}: {error}")).collect();
            assert!(!seeds.is_empty(), "{dir} is empty");
            for seed in seeds {
                let path = seed.expect(&dir).path();
                println!("{}", path.display());
                check(&read(&path).expect("a seed"));
            }
            check(b"");
        }
    }
}
