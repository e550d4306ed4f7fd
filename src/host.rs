//! What an instance takes from its host and what it does not, as tables. They are the installer's and the bench's
//! too, so that what is prepared and what is compared cannot differ from what is done.
#![forbid(unsafe_code)]

/// Directories of the host that an instance sees empty. Whatever is mounted directly under
/// `/` and is not listed in [`SYSTEM`] is hidden too.
pub const HIDDEN: &[&str] = &["home", "root", "run", "tmp", "var/tmp", "mnt", "media", "srv", "sys", "boot"];

/// Top-level directories that belong to the operating system; `proc`, `dev` and `tmp` are
/// made afresh.
pub const SYSTEM: &[&str] = &[
    "usr", "etc", "opt", "var", "nix", "gnu", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "proc",
    "dev", "tmp",
];

/// Devices of the host that every instance has, with their numbers.
pub const DEVICES: &[(&str, u32, u32)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Links that programs expect in `/dev`.
pub const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
