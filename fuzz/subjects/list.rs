//! The list of `each`: its lines are the same however it comes in.

use super::Input;
use crate::about::each::List;
use alloc::vec::Vec;
use rustix::fd::AsFd;
use rustix::pipe::{PipeFlags, pipe_with};

/// Parts of a list, each as long as a byte says. They come by a pipe, and are read as they come.
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
        list.read(reader.as_fd()).expect("no line is too long");
        while let Some(line) = list.ready() {
            lines.push(line.to_vec());
        }
    }
    drop(writer);
    list.read(reader.as_fd()).expect("the end");
    while let Some(line) = list.ready() {
        lines.push(line.to_vec());
    }
    let end = if nul { 0 } else { b'\n' };
    let mut wanted: Vec<Vec<u8>> = all.split(|byte| *byte == end).map(<[u8]>::to_vec).collect();
    // What follows the last end is a line if there is anything.
    if wanted.last().is_some_and(Vec::is_empty) {
        wanted.pop();
    }
    wanted.retain(|line| nul || !line.is_empty());
    assert_eq!(lines, wanted);
}
