//! Paths, and the kernel's data about this process.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

fn told(name: &str) -> PathBuf {
    let value = std::env::var_os(name);
    value
        .unwrap_or_else(|| panic!("{name} is not set: start the suite with `cargo xtask install-test`"))
        .into()
}

/// The installed program.
pub fn selfdock() -> PathBuf {
    told("SELFDOCK")
}

/// The second program, which selfdock hands over to.
pub fn about() -> PathBuf {
    prefix().join("lib/selfdock/selfdock-about")
}

/// The prefix of the installation.
pub fn prefix() -> PathBuf {
    selfdock().ancestors().nth(2).expect("a prefix").to_owned()
}

/// What the installation has prepared.
pub fn prepared(name: &str) -> PathBuf {
    prefix().join("lib/selfdock").join(name)
}

/// A file or directory that root has prepared. It is visible in an instance.
pub fn fixture(path: impl AsRef<Path>) -> PathBuf {
    told("SELFDOCK_FIXTURES").join(path)
}

/// A helper program.
pub fn bin(name: &str) -> PathBuf {
    fixture("bin").join(name)
}

/// A new directory of the caller. It is visible in an instance.
pub fn scratch() -> TempDir {
    TempDir::new_in(told("SELFDOCK_SCRATCH")).expect("make a scratch directory")
}

/// Copies a program, in a separate process. A descriptor for writing in this process could be inherited by a program
/// that another test starts, and the kernel does not execute files that are open for writing.
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let done = std::process::Command::new("cp").arg(from.as_ref()).arg(to.as_ref()).status();
    assert!(done.expect("start cp").success(), "cp failed");
}

/// Makes a program of a text, in a separate process for the same reason.
pub fn make_program(text: &str, to: impl AsRef<Path>) {
    let mut install = std::process::Command::new("install");
    let install = install.args(["-m", "755", "/dev/stdin"]).arg(to.as_ref()).stdin(Stdio::piped());
    let mut install = install.spawn().expect("start install");
    install.stdin.take().expect("stdin is a pipe").write_all(text.as_bytes()).expect("write a program");
    assert!(install.wait().expect("wait for install").success(), "install failed");
}

/// The lines of this process's own /proc/self/status with these names.
pub fn own_status(fields: &[&str]) -> String {
    status_of("self", fields)
}

/// The lines of /proc/PID/status with these names, with single spaces.
pub fn status_of(pid: &str, fields: &[&str]) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let wanted = |line: &&str| line.split_once(':').is_some_and(|(name, _)| fields.contains(&name));
    let lines = text.lines().filter(wanted).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

/// Lines about capabilities, for a process that has none.
pub fn no_capability(fields: &[&str]) -> String {
    let lines: Vec<String> = fields.iter().map(|field| format!("{field}: 0000000000000000")).collect();
    lines.join("\n")
}

/// User, groups and capabilities of this process.
pub fn ids() -> String {
    own_status(&["Uid", "Gid", "Groups", "CapPrm", "CapBnd", "NoNewPrivs"])
}

/// The mount table outside.
pub fn host_mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").expect("read the mount table")
}
