//! Reads the program headers of an ELF file, and checks them.

use crate::run::{Context, Result};
use std::path::Path;

const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERP: u32 = 3;
const GNU_STACK: u32 = 0x6474_e551;
const GNU_RELRO: u32 = 0x6474_e552;
const EXECUTE: u32 = 1;
const WRITE: u32 = 2;
/// Tag of a dynamic entry that names a shared library.
const NEEDED: u64 = 1;
/// The most bytes of code and data that the set-uid program may have.
pub const LARGEST: usize = 128 << 10;
/// `EM_AARCH64`
const AARCH64: u64 = 183;

struct Segment {
    kind: u32,
    flags: u32,
    offset: usize,
    /// Where it is in memory.
    address: usize,
    size: usize,
    align: usize,
}

/// Fails with all faults of the program in `path`. Its code and data may have at most `largest` bytes. The padding of
/// segments to whole pages does not count: a page has 4 KiB or 64 KiB, and there is nothing to trust in padding.
pub fn check(path: &Path, largest: usize) -> Result {
    let bytes = std::fs::read(path).context(path.display())?;
    let faults = faults(&bytes, largest);
    let faults = faults.ok_or_else(|| format!("{}: not a 64-bit ELF file", path.display()))?;
    if faults.is_empty() { Ok(()) } else { Err(format!("{}: {}", path.display(), faults.join(", "))) }
}

fn faults(bytes: &[u8], largest: usize) -> Option<Vec<&'static str>> {
    let segments = segments(bytes)?;
    let is_arm = number(bytes, 18, 2)? == AARCH64;
    let size: usize = segments.iter().filter(|s| s.kind == LOAD).map(|s| s.size).sum();
    let has = |kind| segments.iter().any(|segment| segment.kind == kind);
    let any = |test: fn(&Segment) -> bool| segments.iter().any(test);
    let checks = [
        (has(INTERP), "has an interpreter"),
        (segments.iter().any(|segment| needs_library(bytes, segment)), "needs a shared library"),
        (any(|s| s.kind == LOAD && s.flags & (WRITE | EXECUTE) == WRITE | EXECUTE), "RWX segment"),
        (!has(GNU_STACK), "no GNU_STACK"),
        (any(|s| s.kind == GNU_STACK && s.flags & EXECUTE != 0), "executable stack"),
        (!has(GNU_RELRO), "no RELRO"),
        (size > largest, "larger than allowed"),
        (is_arm && !segments.iter().all(suits_large_pages), "not laid out for pages of 64 KiB"),
    ];
    Some(checks.into_iter().filter(|(fault, _)| *fault).map(|(_, name)| name).collect())
}

/// Whether a kernel with pages of 64 KiB can load a segment, and make it read-only up to its end.
fn suits_large_pages(segment: &Segment) -> bool {
    const LARGE: usize = 64 << 10;
    match segment.kind {
        LOAD => segment.align.is_multiple_of(LARGE) && segment.offset % LARGE == segment.address % LARGE,
        GNU_RELRO => (segment.address + segment.size).is_multiple_of(LARGE),
        _ => true,
    }
}

/// Cuts off everything after the last loaded byte: section headers, which are for linkers and debuggers.
pub fn keep_what_is_loaded(bytes: &mut Vec<u8>) -> Option<()> {
    let size = loaded_size(&segments(bytes)?);
    bytes.truncate(size);
    // `e_shoff`, `e_shnum` and `e_shstrndx`: there are none. elf(5)
    bytes.get_mut(40..48)?.fill(0);
    bytes.get_mut(60..64)?.fill(0);
    Some(())
}

fn loaded_size(segments: &[Segment]) -> usize {
    let ends =
        segments.iter().filter(|s| s.kind == LOAD && s.size > 0).map(|s| s.offset.saturating_add(s.size));
    ends.max().unwrap_or(usize::MAX)
}

fn segments(bytes: &[u8]) -> Option<Vec<Segment>> {
    if bytes.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let table = number(bytes, 32, 8)? as usize;
    let (size, count) = (number(bytes, 54, 2)? as usize, number(bytes, 56, 2)? as usize);
    (0..count)
        .map(|index| {
            let at = table + index * size;
            Some(Segment {
                kind: number(bytes, at, 4)? as u32,
                flags: number(bytes, at + 4, 4)? as u32,
                offset: number(bytes, at + 8, 8)? as usize,
                address: number(bytes, at + 16, 8)? as usize,
                size: number(bytes, at + 32, 8)? as usize,
                align: number(bytes, at + 48, 8)? as usize,
            })
        })
        .collect()
}

fn needs_library(bytes: &[u8], segment: &Segment) -> bool {
    let entries = (segment.offset..segment.offset.saturating_add(segment.size)).step_by(16);
    segment.kind == DYNAMIC && entries.into_iter().any(|at| number(bytes, at, 8) == Some(NEEDED))
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let mut word = [0; 8];
    word[..size].copy_from_slice(bytes.get(at..at.checked_add(size)?)?);
    Some(u64::from_le_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_program_of_the_system_is_dynamic_and_too_large() {
        let faults = faults(&std::fs::read("/bin/bash").unwrap(), LARGEST).unwrap();
        assert!(faults.contains(&"has an interpreter"), "{faults:?}");
        assert!(faults.contains(&"needs a shared library"), "{faults:?}");
        assert!(faults.contains(&"larger than allowed"), "{faults:?}");
        assert!(!faults.contains(&"executable stack"), "{faults:?}");
    }

    #[test]
    fn a_program_without_its_sections_still_runs() {
        let mut bytes = std::fs::read("/bin/true").unwrap();
        let before = bytes.len();
        keep_what_is_loaded(&mut bytes).unwrap();
        assert!(bytes.len() < before);
        let program =
            tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempfile().unwrap();
        std::fs::write(&program, bytes).unwrap();
        let program = program.into_temp_path();
        assert!(std::process::Command::new(&program).status().unwrap().success());
    }

    #[test]
    fn text_is_no_program() {
        assert!(faults(b"#!/bin/sh\nexit 0\n", LARGEST).is_none());
    }

    #[test]
    fn segments_for_large_pages_are_known() {
        let segment =
            |kind, offset, address, size, align| Segment { kind, flags: 0, offset, address, size, align };
        assert!(suits_large_pages(&segment(LOAD, 0x3_f460, 0x4_f460, 0xba0, 0x1_0000)));
        assert!(!suits_large_pages(&segment(LOAD, 0x3_f460, 0x4_f460, 0xba0, 0x1000)));
        assert!(!suits_large_pages(&segment(LOAD, 0x3_e460, 0x4_f460, 0xba0, 0x1_0000)));
        assert!(suits_large_pages(&segment(GNU_RELRO, 0x3_f460, 0x4_f460, 0xba0, 1)));
        assert!(!suits_large_pages(&segment(GNU_RELRO, 0x3_f460, 0x4_f460, 0xaa0, 1)));
    }
}
