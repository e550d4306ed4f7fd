//! The kernel's list of mounts. Each line that the kernel could have written is parsed correctly, whatever other lines
//! the list has. Which mount lies in which is found even if the list makes no sense.

use super::Input;
use crate::mountinfo::{is_below, lines};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The first byte chooses one of the two.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(3) {
        0 => any_text(input.rest()),
        1 => as_it_was_meant(&mut input),
        _ => below(&mut input),
    }
}

/// Splits the fields at blanks, and finds escapes by a plain search.
fn any_text(text: &[u8]) {
    let mut wanted = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let end = fields.iter().skip(6).position(|field| *field == b"-").map(|at| at + 6);
        if let Some(end) = end.filter(|end| fields.len() > end + 2) {
            wanted.push((
                fields[0],
                fields[1],
                fields[2],
                fields[5],
                fields[end + 1],
                fields.get(end + 3).copied(),
            ));
        }
    }
    let read: Vec<_> = lines(text).collect();
    assert_eq!(read.len(), wanted.len());
    for (line, (number, parent, device, options, kind, others)) in read.iter().zip(wanted) {
        assert_eq!((line.number, line.parent, line.device), (number, parent, device));
        assert_eq!((line.options, line.kind), (options, kind));
        assert_eq!(line.super_options, others.unwrap_or_default());
    }
}

/// Escapes a path as the kernel does: `seq_path()`, `fs/seq_file.c`
fn escaped(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in path {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => out.extend(format!("\\{byte:03o}").bytes()),
            byte => out.push(*byte),
        }
    }
    out
}

fn as_it_was_meant(input: &mut Input<'_>) {
    let (mut text, mut wanted) = (Vec::new(), Vec::new());
    while !input.is_over() && wanted.len() < 20 {
        let tags = input.one_of(&["", " shared:1", " master:1 propagate_from:2", " unbindable"]);
        let (root, point) = (input.word(), input.word());
        let number = format!("{}", wanted.len());
        let start = format!("{number} 7 0:5 ").into_bytes();
        let parts = [start, escaped(root), b" ".to_vec(), escaped(point)];
        text.extend(parts.concat());
        text.extend(format!(" ro,nosuid{tags} - tmpfs none rw,size=1\n").bytes());
        wanted.push((number, root, point));
    }
    let read: Vec<_> = lines(&text).collect();
    assert_eq!(read.len(), wanted.len());
    for (line, (number, root, point)) in read.iter().zip(&wanted) {
        assert_eq!((line.number, line.root, line.point), (number.as_bytes(), *root, *point));
        assert_eq!(
            (line.options, line.kind, line.super_options),
            (&b"ro,nosuid"[..], &b"tmpfs"[..], &b"rw,size=1"[..])
        );
    }
}

/// There are at most sixteen mounts, so a longer way up is a circle.
fn below(input: &mut Input<'_>) {
    let other = input.byte() & 15;
    let mut parents: Vec<(u8, u8)> = Vec::new();
    while !input.is_over() && parents.len() < 16 {
        let byte = input.byte();
        if !parents.iter().any(|(number, _)| *number == byte >> 4) {
            parents.push((byte >> 4, byte & 15));
        }
    }
    let line = |(number, parent): &(u8, u8)| format!("{number} {parent} 0:1 / /m rw - tmpfs none rw\n");
    let text: String = parents.iter().map(line).collect();
    for (mount, (_, parent)) in lines(text.as_bytes()).zip(&parents) {
        let found = is_below(text.as_bytes(), &mount, format!("{other}").as_bytes());
        let number = mount.number.escape_ascii();
        assert_eq!(found, is_in(&parents, *parent, other), "{number} in {other}:\n{text}");
    }
}

/// Whether the way up from one mount passes another. A mount in a circle counts as lying in every mount. A mount that
/// is its own parent is the first root file system, and lies in no other mount.
fn is_in(parents: &[(u8, u8)], mut at: u8, other: u8) -> bool {
    for _ in 0..64 {
        if at == other {
            return true;
        }
        match parents.iter().find(|(number, _)| *number == at) {
            Some((_, above)) if *above != at => at = *above,
            _ => return false,
        }
    }
    true
}
