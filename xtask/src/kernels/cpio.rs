//! An archive that a kernel unpacks as its first root filesystem: initramfs-buffer-format.rst of its documentation.
//! All files in it belong to root, whichever user makes the archive. It can have device nodes.

use std::collections::BTreeMap;

const DIRECTORY: u32 = 0o040_000;
const DEVICE: u32 = 0o020_000;
const LINK: u32 = 0o120_000;
const FILE: u32 = 0o100_000;

/// The entry of a path.
pub struct Entry {
    mode: u32,
    device: (u32, u32),
    bytes: Vec<u8>,
}

impl Entry {
    pub fn directory(mode: u32) -> Self {
        Self { mode: DIRECTORY | mode, device: (0, 0), bytes: Vec::new() }
    }

    pub fn file(mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        Self { mode: FILE | mode, device: (0, 0), bytes: bytes.into() }
    }

    pub fn link(target: &str) -> Self {
        Self { mode: LINK | 0o777, device: (0, 0), bytes: target.into() }
    }

    /// A character device.
    pub fn device(mode: u32, major: u32, minor: u32) -> Self {
        Self { mode: DEVICE | mode, device: (major, minor), bytes: Vec::new() }
    }

    pub fn target(&self) -> Option<&[u8]> {
        (self.mode & 0o170_000 == LINK).then_some(&self.bytes)
    }
}

/// The entries by their path, without the first `/`.
#[derive(Default)]
pub struct Tree(BTreeMap<String, Entry>);

impl Tree {
    /// Adds an entry, and missing directories above it.
    pub fn add(&mut self, path: &str, entry: Entry) {
        for (at, _) in path.match_indices('/') {
            self.0.entry(path[..at].to_owned()).or_insert_with(|| Entry::directory(0o755));
        }
        self.0.insert(path.to_owned(), entry);
    }

    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.0.get(path)
    }

    pub fn archive(&self) -> Vec<u8> {
        let mut archive = Vec::new();
        // A directory sorts before its entries.
        for (number, (path, entry)) in (1..).zip(&self.0) {
            write(&mut archive, number, path, entry);
        }
        write(&mut archive, 0, "TRAILER!!!", &Entry { mode: 0, device: (0, 0), bytes: Vec::new() });
        archive
    }
}

fn write(archive: &mut Vec<u8>, number: u32, path: &str, entry: &Entry) {
    let [size, length] = [entry.bytes.len(), path.len() + 1].map(|n| u32::try_from(n).expect("below 4 GB"));
    let (major, minor) = entry.device;
    // Inode, mode, uid, gid, links, time, size, device, number of a device node, length of the name, checksum.
    let fields = [number, entry.mode, 0, 0, 1, 0, size, 0, 0, major, minor, length, 0];
    archive.extend(b"070701");
    for field in fields {
        archive.extend(format!("{field:08x}").bytes());
    }
    archive.extend(path.bytes().chain([0]));
    pad(archive);
    archive.extend(&entry.bytes);
    pad(archive);
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_directories_first_and_everything_in_words() {
        let mut tree = Tree::default();
        tree.add("etc/name", Entry::file(0o644, "three"));
        let archive = tree.archive();
        let text = String::from_utf8_lossy(&archive);
        let [etc, name, end] = ["etc\0", "etc/name\0", "TRAILER!!!\0"].map(|path| text.find(path).unwrap());
        assert!(etc < name && name < end);
        assert_eq!(archive.len() % 4, 0);
        assert_eq!(&text[name - 110..name - 96], "07070100000002");
        assert_eq!(&text[name + 10..name + 15], "three");
    }
}
