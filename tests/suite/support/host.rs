//! Simulated hosts: machines that differ from this one.

use super::cmd::{Cmd, args};
use super::place::{fixture, selfdock};

/// Runs `script` as root on a copy of this host's root filesystem, in a mount namespace. First root runs `changes`, a
/// shell script that starts in the new root directory. In `script`, `$SD` is selfdock, `$PREFIX` its prefix, and `me`
/// runs a command as this test's user. The real host is not changed.
///
/// The copy is an overlay: changes go to a tmpfs.
pub fn on_a_host(changes: &str, script: &str) -> Cmd {
    on_a_host_over("", changes, script)
}

/// The same, with a layer over the copy that the script `over` makes in an empty directory. Its files can replace
/// directories.
pub fn on_a_host_over(over: &str, changes: &str, script: &str) -> Cmd {
    const HOST: &str = r#"
        set -e
        umask 022
        mount --make-rprivate /
        mount -t tmpfs host "$AT"
        cd "$AT"
        mkdir up work root
        cd up
        eval "$OVER"
        cd ..
        # A directory of the host is renamed then, and not copied while others change it.
        mount -t overlay host -o "lowerdir=/,upperdir=$AT/up,workdir=$AT/work,redirect_dir=on" root
        cd root
        for dir in proc dev sys; do mount --rbind "/$dir" "$dir"; done
        me() { setpriv --reuid="$ME" --regid="$MY_GROUP" --clear-groups -- "$@"; }
        eval "$CHANGES"
        pivot_root . .
        umount -l .
        cd /
        set +e
        eval "$SCRIPT"
    "#;
    let selfdock = selfdock();
    let prefix = selfdock.ancestors().nth(2).expect("a prefix").to_owned();
    Cmd::program(args![fixture("setuid/probe"), "as-root", "unshare", "-m", "sh", "-c", HOST])
        .env("AT", fixture("host"))
        .env("MOUNT_FUSE", MOUNT_FUSE)
        .env("OVER", over)
        .env("CHANGES", changes)
        .env("SCRIPT", script)
        .env("SD", selfdock)
        .env("PREFIX", prefix)
        .env("ME", nix::unistd::getuid().to_string())
        .env("MY_GROUP", nix::unistd::getgid().to_string())
}

const MOUNT_FUSE: &str = include_str!("../../programs/mount_fuse.py");

/// Functions for a script: `filesystems DIR` mounts file systems in user space on `DIR/foreign`, which only root may
/// look at; `DIR/hung`, which never answers anybody; and `DIR/dead`, whose server has ended. `$servers` are their
/// processes.
pub const FILESYSTEMS: &str = r#"
    fuse() {
        python3 -c "$MOUNT_FUSE" "$@" & servers="$servers $!"
    }
    filesystems() {
        mkdir -p $1/foreign $1/hung $1/dead $1/fine; touch $1/fine/f
        fuse $1/dead ""; dead=$!; fuse $1/foreign ""; fuse $1/hung ,allow_other
        until [ $(grep -c " $1/.* fuse " /proc/self/mountinfo) = 3 ]; do sleep 0.05; done; kill $dead
    }"#;
