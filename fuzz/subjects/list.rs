//! The list of `each`: the lines do not depend on how the list is split into reads.

use super::Input;
use crate::about::each::List;
use alloc::vec::Vec;
use rustix::fd::AsFd;
use rustix::pipe::{PipeFlags, pipe_with};

/// The input has parts of a list, each with a byte for its length before it. They are written to a pipe one by one.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let nul = input.below(2) == 1;
    let mut text = input.rest();
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    let (mut list, mut lines, mut all) = (List::new(nul), Vec::new(), Vec::new());
    while let [length, rest @ ..] = text {
        let (part, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        text = rest;
        if part.is_empty() {
            continue;
        }
        all.extend_from_slice(part);
        assert_eq!(rustix::io::write(&writer, part), Ok(part.len()));
        list.read(reader.as_fd(), 1).expect("no line is too long");
        while let Some(line) = list.ready() {
            lines.push(line.to_vec());
        }
    }
    drop(writer);
    list.read(reader.as_fd(), 1).expect("the end");
    while let Some(line) = list.ready() {
        lines.push(line.to_vec());
    }
    let end = if nul { 0 } else { b'\n' };
    let mut wanted: Vec<Vec<u8>> = all.split(|byte| *byte == end).map(<[u8]>::to_vec).collect();
    // Text after the last line end is a line, too.
    if wanted.last().is_some_and(Vec::is_empty) {
        wanted.pop();
    }
    wanted.retain(|line| nul || !line.is_empty());
    assert_eq!(lines, wanted);
}
