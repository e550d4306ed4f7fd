//! The kernel's reasons, in words.

use crate::text::{Bytes, decimal, join};
use rustix::io::Errno;

/// An errno in words and by name.
pub fn explained(errno: Errno) -> Bytes {
    let number = decimal(errno.raw_os_error().unsigned_abs());
    for line in ERRNOS.split(|b| *b == b'\n') {
        let mut fields = line.splitn(3, |b| *b == b' ');
        if fields.next() == Some(number) {
            let (name, words) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
            return join(&[words, b" (", name, b")"]);
        }
    }
    join(&[b"errno ", number])
}

/// The errnos of the system calls of selfdock: number, name, words. errno(3). It is one text, since a table would
/// hold two addresses and two lengths for each.
const ERRNOS: &[u8] = b"\
1 EPERM operation not permitted
2 ENOENT no such file or directory
3 ESRCH no such process
4 EINTR interrupted
5 EIO input or output error
6 ENXIO no such device or address
7 E2BIG arguments and variables are too large
8 ENOEXEC not an executable format
9 EBADF file descriptor not open
11 EAGAIN resource temporarily unavailable
12 ENOMEM out of memory
13 EACCES permission denied
16 EBUSY device or resource busy
17 EEXIST file exists
18 EXDEV the path leads out of its root directory
19 ENODEV no such device
20 ENOTDIR not a directory
21 EISDIR is a directory
22 EINVAL invalid argument
23 ENFILE too many open files in the system
24 EMFILE too many open files
26 ETXTBSY the file is open for writing
27 EFBIG file too large
28 ENOSPC no space left
30 EROFS read-only file system
31 EMLINK too many links
32 EPIPE broken pipe
34 ERANGE out of range
36 ENAMETOOLONG file name too long
38 ENOSYS not in this kernel, or refused by a filter of system calls
40 ELOOP too many links, or a link where none is allowed
75 EOVERFLOW an id is not mapped here; 'unshare --map-current-user' maps your ids
87 EUSERS too many user namespaces
95 EOPNOTSUPP not supported
107 ENOTCONN the server of the file system is gone
110 ETIMEDOUT timed out
112 EHOSTDOWN host is down
116 ESTALE stale file handle
122 EDQUOT disk quota exceeded
126 ENOKEY key not available";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_of_the_table_has_its_own_line() {
        let lines: Vec<Vec<&[u8]>> =
            ERRNOS.split(|b| *b == b'\n').map(|line| line.splitn(3, |b| *b == b' ').collect()).collect();
        for (i, line) in lines.iter().enumerate() {
            assert!(
                line[0].iter().all(u8::is_ascii_digit) && line[1].starts_with(b"E") && !line[2].is_empty()
            );
            assert!(lines[..i].iter().all(|other| other[0] != line[0] && other[1] != line[1]));
        }
        for (errno, name) in
            [(Errno::PERM, "(EPERM)"), (Errno::USERS, "(EUSERS)"), (Errno::STALE, "(ESTALE)")]
        {
            assert!(explained(errno).ends_with(name.as_bytes()));
        }
    }
}
