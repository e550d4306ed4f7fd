//! The kernel's list of mounts, `/proc/PID/mountinfo`. proc(5)

use crate::text::Bytes;
use alloc::vec::Vec;

/// A mount.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'t> {
    /// The number of the mount.
    pub number: &'t [u8],
    /// The number of its parent mount.
    pub parent: &'t [u8],
    /// The number of its file system.
    pub device: &'t [u8],
    /// The mounted part of its file system.
    pub root: Bytes,
    /// Its mount point.
    pub point: Bytes,
    /// Its own flags, as `ro,nosuid`.
    pub options: &'t [u8],
    /// The type of its file system.
    pub kind: &'t [u8],
    /// The options of its file system.
    pub super_options: &'t [u8],
}

/// Parses the list, and skips lines that it does not understand. Only a space separates fields; other white space is
/// part of a path.
pub fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    text.split(|b| *b == b'\n').filter_map(|line| {
        let mut fields = line.split(|b| *b == b' ');
        let (number, parent) = (fields.next()?, fields.next()?);
        let device = fields.next()?;
        let (root, point, options) = (fields.next()?, fields.next()?, fields.next()?);
        let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
        let (kind, _source) = (rest.next()?, rest.next()?);
        let super_options = rest.next().unwrap_or(b"");
        Some(Line {
            number,
            parent,
            device,
            root: unescape(root),
            point: unescape(point),
            options,
            kind,
            super_options,
        })
    })
}

/// Whether a mount is below another one.
pub fn is_below(list: &[u8], mount: &Line<'_>, other: &[u8]) -> bool {
    let mut parent = mount.parent;
    for _ in 0..MOST_LEVELS {
        if parent == other {
            return true;
        }
        // `lines` would unescape all paths again.
        let is_it = |line: &&[u8]| line.split(|b| *b == b' ').next() == Some(parent);
        let Some(line) = list.split(|b| *b == b'\n').find(is_it) else { return false };
        let above = line.split(|b| *b == b' ').nth(1).unwrap_or_default();
        // The first root file system is its own parent. An initramfs stays there.
        if above == parent {
            return false;
        }
        parent = above;
    }
    // Too many levels: it counts as below.
    true
}

/// The maximum number of parents to follow.
const MOST_LEVELS: usize = 64;

/// Whether a list of options contains this one.
pub fn has(options: &[u8], name: &[u8]) -> bool {
    options.split(|b| *b == b',').any(|option| option == name)
}

/// The kernel writes space, tab, newline, backslash and `#` as a backslash and three octal digits.
fn unescape(mut text: &[u8]) -> Bytes {
    let mut plain = Vec::with_capacity(text.len());
    while let [first, rest @ ..] = text {
        let code =
            rest.get(..3).filter(|_| *first == b'\\').and_then(|digits| crate::text::number(digits, 8));
        let code = code.and_then(|code| u8::try_from(code).ok());
        plain.push(code.unwrap_or(*first));
        text = if code.is_some() { &rest[3..] } else { rest };
    }
    plain.leak()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_its_paths_are_called() {
        let text =
            b"36 35 98:0 /mnt1 /my\\040tools\\134\x0b ro,nosuid master:1 shared:2 - ext3 /dev/root rw,x=y\n\
            40 35 0:5 / / rw - proc proc rw\nnot a line\n";
        let all: Vec<Line<'_>> = lines(text).collect();
        assert_eq!(
            all[0],
            Line {
                number: b"36",
                parent: b"35",
                device: b"98:0",
                root: b"/mnt1",
                point: b"/my tools\\\x0b",
                options: b"ro,nosuid",
                kind: b"ext3",
                super_options: b"rw,x=y"
            }
        );
        assert_eq!((all[1].point, all.len()), (&b"/"[..], 2));
        assert!(has(all[0].options, b"nosuid") && !has(all[1].options, b"nosuid"));
        assert_eq!(unescape(b"a\\04"), b"a\\04");
    }

    #[test]
    fn submounts_are_below_a_mount_and_an_initramfs_is_below_none() {
        for root in ["1 1 0:2 / / rw - rootfs rootfs rw", "1 7 0:2 / / rw - ext4 /dev/vda rw"] {
            let text = format!("{root}\n2 1 0:5 / /proc rw - proc p rw\n3 2 0:6 / /proc/x rw - tmpfs t rw\n");
            let of_proc: Vec<&[u8]> = lines(text.as_bytes())
                .filter(|line| is_below(text.as_bytes(), line, b"2"))
                .map(|line| line.point)
                .collect();
            assert_eq!(of_proc, [b"/proc/x"], "{root}");
        }
    }
}
