//! `selfdock changes` lists exactly the differences between a directory and a changed copy.

use super::Input;
use crate::about::overlay::changes;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

const NAMES: [&str; 4] = ["a", "b", "c d", "a-b"];

/// Makes both in a directory that is removed afterwards.
pub fn check(data: &[u8]) {
    let dir = Room::new();
    let (origin, changed) = (dir.0.join("of"), dir.0.join("changed"));
    let mut input = Input::new(data);
    for top in [&origin, &changed] {
        fs::create_dir(top).expect("make a directory");
    }
    symlink(&origin, dir.0.join("origin")).expect("make a link");
    for _ in 0..16 {
        if input.is_over() {
            break;
        }
        let (kind, depth) = (input.below(8), input.below(3));
        let names: Vec<&str> = (0..=depth).map(|_| input.one_of(&NAMES)).collect();
        let top = if kind & 1 == 0 { &origin } else { &changed };
        let path = top.join(names.join("/"));
        // An existing entry stays.
        if path.parent().is_some_and(|parent| fs::create_dir_all(parent).is_ok()) {
            make(kind, &path);
        }
    }
    let listed = changes(dir.0.to_str().expect("a path").as_bytes()).expect("a list");
    let mut wanted = Vec::new();
    walk(&changed, &origin, "", &mut wanted);
    wanted.sort();
    let lines: Vec<(String, char)> =
        listed.lines().map(|line| (line[2..].to_string(), line.chars().next().unwrap_or(' '))).collect();
    assert_eq!(lines, wanted);
}

fn make(kind: usize, path: &Path) {
    match kind {
        0 | 1 => drop(fs::File::create_new(path)),
        2 | 3 => drop(fs::create_dir(path)),
        4 | 5 => drop(symlink("a", path)),
        // A whiteout, as an overlay marks a removed file.
        7 => drop(mknodat(CWD, path.as_os_str().as_bytes(), FileType::CharacterDevice, Mode::empty(), 0)),
        _ => drop(mknodat(CWD, path.as_os_str().as_bytes(), FileType::Fifo, Mode::empty(), 0)),
    }
}

fn walk(changed: &Path, origin: &Path, below: &str, all: &mut Vec<(String, char)>) {
    for entry in fs::read_dir(changed).expect("list a directory") {
        let entry = entry.expect("an entry");
        let (name, before) = (entry.file_name(), origin.join(entry.file_name()));
        let path = format!("{below}{}", name.to_str().expect("a name"));
        let about = entry.path().symlink_metadata().expect("an entry");
        let was = before.symlink_metadata();
        let (was_there, was_dir) = (was.is_ok(), was.is_ok_and(|about| about.is_dir()));
        if about.file_type().is_char_device() && about.rdev() == 0 {
            all.push((path, 'D'));
        } else if about.is_dir() {
            if !was_dir {
                all.push((path.clone(), if was_there { 'M' } else { 'A' }));
            }
            // What is in it was never there, wherever a link of that name leads.
            let before = if was_dir { before } else { PathBuf::from("/nonexistent") };
            walk(&entry.path(), &before, &format!("{path}/"), all);
        } else if !is_same(&entry.path(), &before) {
            all.push((path, if was_there { 'M' } else { 'A' }));
        }
    }
}

/// A copy that nobody has changed: all files are empty, and have the same mode.
fn is_same(one: &Path, other: &Path) -> bool {
    let kind = |path: &Path| path.symlink_metadata().map(|about| about.file_type()).ok();
    match (kind(one), kind(other)) {
        (Some(one_kind), Some(other_kind)) if one_kind.is_symlink() && other_kind.is_symlink() => {
            fs::read_link(one).ok() == fs::read_link(other).ok()
        }
        (Some(one), Some(other)) => one.is_file() && other.is_file(),
        _ => false,
    }
}

/// A directory in memory.
struct Room(PathBuf);

impl Room {
    fn new() -> Self {
        let base = Path::new("/dev/shm");
        let base = if base.is_dir() { base.to_owned() } else { std::env::temp_dir() };
        let dir = base.join(format!("selfdock-changes.{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("make a directory");
        Room(dir)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
