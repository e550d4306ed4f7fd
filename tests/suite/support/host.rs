//! Simulated hosts: machines that differ from this one.

use super::cmd::{Cmd, args};
use super::place::{fixture, prefix, selfdock};
use super::processes::patient;
use std::time::Duration;

/// Runs `script` as root on a copy of this host's root filesystem, in a mount namespace. First root runs `changes`, a
/// shell script that starts in the new root directory. In `script`, `$SD` is selfdock, `$PREFIX` its prefix, `me` runs
/// a command as this test's user, and `$LONG` is a time in seconds that only what waits for ever takes. The real host
/// is not changed.
///
/// The copy is an overlay: changes go to a tmpfs.
pub fn on_a_host(changes: &str, script: &str) -> Cmd {
    on_a_host_over("", changes, script)
}

/// Does what [`on_a_host`] does, with a layer over the copy. The script `over` makes the layer in an empty directory.
/// Its files can replace directories.
pub fn on_a_host_over(over: &str, changes: &str, script: &str) -> Cmd {
    const HOST: &str = include_str!("../../programs/on_a_host.sh");
    Cmd::program(args![fixture("setuid/probe"), "as-root", "unshare", "-m", "sh", "-c", HOST])
        .env("AT", fixture("host"))
        .env("MOUNT_FUSE", MOUNT_FUSE)
        .env("MOUNT_AUTOFS", MOUNT_AUTOFS)
        .env("OVER", over)
        .env("CHANGES", changes)
        .env("SCRIPT", script)
        .env("SD", selfdock())
        .env("PREFIX", prefix())
        .env("LONG", patient(Duration::from_secs(20)).as_secs().to_string())
        .env("ME", nix::unistd::getuid().to_string())
        .env("MY_GROUP", nix::unistd::getgid().to_string())
}

const MOUNT_FUSE: &str = include_str!("../../programs/mount_fuse.py");
const MOUNT_AUTOFS: &str = include_str!("../../programs/mount_autofs.py");

/// Functions for a script: `filesystems DIR` mounts file systems in user space on `DIR/foreign`, which only root may
/// look at; `DIR/hung`, which never answers anybody; and `DIR/dead`, whose server has ended. `$servers` are their
/// processes.
pub const FILESYSTEMS: &str = include_str!("../../programs/filesystems.sh");
