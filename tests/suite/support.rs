//! Code that the tests share: starting selfdock, reading the results, and the oracle for refusals.

mod host;
pub mod machine;
mod way;
mod job;
mod terminal;
mod cmd;
mod background;
mod ran;
mod log;
mod processes;
mod place;

#[path = "properties.rs"]
#[allow(dead_code)]
mod properties;

pub use background::Background;
pub(crate) use cmd::args;
pub use cmd::{Cmd, instance, instance_of_root, nested};
pub use host::{FILESYSTEMS, on_a_host, on_a_host_over};
pub use job::{Job, Transcript};
pub use place::{
    about, bin, copy_program, fixture, host_mounts, make_program, no_capability, own_status, prefix,
    prepared, scratch, selfdock, status_of,
};
pub use processes::{
    children, command_of, is_alive, is_first, is_own, is_stopped, keeper_of, patient, second, tree,
    wait_until,
};
pub use ran::Ran;
pub use terminal::Terminal;
pub(crate) use way::every_way;
pub use way::{Setting, Start, Way, same_as_without};

pub use properties::CANARY;

/// The beginning of a Python program that makes system calls by number.
pub const CALLS: &str = include_str!("../programs/calls.py");

/// A Python program that makes system calls by number, as words of a command line.
pub fn python(program: &str) -> [std::ffi::OsString; 3] {
    args!["python3", "-c", format!("{CALLS}{program}")]
}

/// Whether the kernel has Landlock's scopes, as Linux 6.12 and later (ABI 6). landlock_create_ruleset(2)
pub fn has_scopes() -> bool {
    let told = Cmd::program(python("print(call(444, None, 0, 1))")).ok();
    told.parse().is_ok_and(|version: u32| version >= 6)
}

/// The version of the kernel.
pub fn kernel() -> (u32, u32) {
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The directories that the tests may not search, for three different reasons.
pub const FORBIDDEN: [&str; 3] = ["p", "p710", "p705"];

/// Directories of the host that an instance hides. This is the tests' own list, independent of selfdock's.
pub const HIDDEN: [&str; 10] =
    ["/home", "/root", "/run", "/tmp", "/var/tmp", "/mnt", "/media", "/srv", "/sys", "/boot"];
