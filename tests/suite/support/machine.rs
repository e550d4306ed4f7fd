//! A machine of a test's own in which the user of the tests has what users mostly have.

use super::cmd::{Cmd, args};
use super::place::{fixture, scratch};
use std::ffi::OsString;
use std::fs;
use tempfile::TempDir;

/// How many subordinate ids there are.
pub const COUNT: u32 = 65536;
/// The first of them.
pub const FIRST: u32 = 700_000;

/// A machine on which the user of the tests has subordinate ids: its files are mounted over those of this one.
pub struct Machine {
    pub dir: TempDir,
    /// What root changes on it, as a shell script. Mounts are made in a mount namespace of its own.
    pub change: &'static str,
}

impl Machine {
    pub fn new() -> Self {
        let dir = scratch();
        let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        let others = passwd.lines().filter(|line| line.split(':').nth(2) != Some(&uid.to_string()));
        let own = format!("tester:x:{uid}:{gid}::/:/bin/sh");
        let passwd: Vec<&str> = others.chain([&*own]).collect();
        fs::write(dir.path().join("passwd"), passwd.join("\n") + "\n").unwrap();
        for name in ["subuid", "subgid"] {
            fs::write(dir.path().join(name), format!("tester:{FIRST}:{COUNT}\n")).unwrap();
        }
        Self { dir, change: "" }
    }

    /// The words that start a program on it, as the user of the tests.
    pub fn launcher(&self) -> Vec<OsString> {
        self.launcher_as(nix::unistd::getuid().as_raw())
    }

    /// The words that start a program on it as another user, with the group of the tests.
    pub fn launcher_as(&self, uid: u32) -> Vec<OsString> {
        let gid = nix::unistd::getgid();
        let script = include_str!("../../programs/machine.sh");
        let cwd = self.dir.path();
        let ids = [uid.to_string(), gid.to_string()];
        let words = args![
            fixture("setuid/probe"),
            "as-root",
            "/usr/bin/unshare",
            "--mount",
            "/bin/bash",
            "-c",
            script
        ];
        words.into_iter().chain(args![self.dir.path(), ids[0], ids[1], cwd, self.change]).collect()
    }

    /// A command line of selfdock on it.
    pub fn cmd(&self, words: impl IntoIterator<Item = OsString>) -> Cmd {
        Cmd::under(self.launcher(), words)
    }
}
