//! `--explain`: the plan in words, a line for each step, with tabs between the fields. Nothing
//! is done and no privilege is held.
#![forbid(unsafe_code)]

use crate::error::{OrFail, Quoted, Result};
use crate::files;
use crate::host::{DEVICES, HIDDEN};
use crate::plan::{Plan, Root, Tmpfs, What};
use crate::sandbox::{Job, other_mounts};
use alloc::string::String;
use core::fmt::Write as _;
use rustix::fd::AsFd;
use rustix::fs::{CWD, OFlags};

/// The text. Fields that the caller named are quoted as in error messages.
pub fn text(job: &Job<'_>, unprivileged: bool) -> Result<String> {
    let mut out = String::new();
    let plan = &job.plan;
    let image = if plan.writable { "rw,nosuid,nodev" } else { "ro,nosuid,nodev" };
    let _ = writeln!(out, "mode\t{}", if unprivileged { "unprivileged" } else { "set-uid" });
    let _ = writeln!(out, "ids\tuid={} gid={}", job.caller.uid, job.caller.gid);
    let _ = writeln!(out, "namespaces\t{}", namespaces(job, unprivileged));
    match &plan.root {
        Root::Host => {
            let _ = writeln!(out, "root\t'/'\t'/'\t{image}");
            let root = files::open(CWD, b"/", OFlags::RDONLY | OFlags::DIRECTORY).or_fail("open '/'")?;
            let others = other_mounts(root.as_fd())?;
            let known = HIDDEN.iter().map(|name| name.as_bytes()).filter(|name| *name != b"tmp");
            for name in known.chain(others.iter().map(|name| &**name)) {
                let _ = writeln!(out, "hide\t-\t{}\tro,nosuid,nodev", Quoted(&[b"/", name].concat()));
            }
        }
        Root::Dir(dir) => {
            let _ = writeln!(out, "root\t{}\t'/'\t{image}", Quoted(dir));
        }
        Root::Layers(dirs) => {
            for (i, dir) in dirs.iter().enumerate() {
                let last = i + 1 == dirs.len();
                let flags = if last { image } else { "ro,nosuid,nodev" };
                let _ = writeln!(out, "layer\t{}\t'/'\t{flags}", Quoted(dir));
            }
        }
    }
    let _ = writeln!(out, "tmpfs\t-\t'/tmp'\t{}", options(&Tmpfs::DEFAULT));
    names(&mut out, plan);
    for mount in &plan.mounts {
        let dst = Quoted(&mount.dst);
        let _ = match &mount.what {
            What::Bind { src, writable: true } => {
                writeln!(out, "volume\t{}\t{dst}\trw,nosuid,nodev", Quoted(src))
            }
            What::Bind { src, writable: false } => {
                writeln!(out, "map\t{}\t{dst}\tro,nosuid,nodev", Quoted(src))
            }
            What::Tmpfs(tmpfs) => writeln!(out, "tmpfs\t-\t{dst}\t{}", options(tmpfs)),
            What::Mask => writeln!(out, "mask\t-\t{dst}\tro,nosuid,nodev,noexec"),
        };
    }
    for (name, ..) in DEVICES {
        let _ = writeln!(out, "device\t'/dev/{name}'\t'/dev/{name}'\tro,nosuid,noexec");
    }
    for path in &plan.devices {
        let path = [b"/dev/", &**path].concat();
        let _ = writeln!(out, "device\t{0}\t{0}\tro,nosuid,noexec", Quoted(&path));
    }
    out.push_str("devpts\t-\t'/dev/pts'\trw,nosuid,noexec\n");
    let shm = plan.shm.as_ref().unwrap_or(&Tmpfs::DEFAULT);
    let _ = writeln!(out, "tmpfs\t-\t'/dev/shm'\t{}", options(shm));
    out.push_str("proc\t-\t'/proc'\trw,nosuid,nodev,noexec\n");
    if let Some(program) = &job.program {
        let flags = if unprivileged { "ro,nosuid,nodev" } else { "ro,nodev" };
        let _ = writeln!(out, "program\t{0}\t{0}\t{flags}", Quoted(&program.path));
    }
    let _ = writeln!(out, "directory\t{}", Quoted(job.command.directory()));
    out.push_str("command");
    for word in job.command.words() {
        let _ = write!(out, "\t{}", Quoted(word));
    }
    out.push('\n');
    Ok(out)
}

/// The host's files of names that a foreign image gets, or copies of the image's own with
/// the caller added.
fn names(out: &mut String, plan: &Plan<'_>) {
    if plan.root == Root::Host || plan.writable {
        return;
    }
    let files = ["/etc/resolv.conf", "/etc/hosts"].iter().filter(|_| !plan.own_network);
    for path in files.chain(&["/etc/passwd", "/etc/group"]) {
        let _ = writeln!(out, "names\t'{path}'\t'{path}'\tro,nosuid,nodev,noexec");
    }
}

fn namespaces(job: &Job<'_>, unprivileged: bool) -> String {
    let mut all = String::from("mount pid ipc");
    for (made, name) in [(job.hostname.is_some(), "uts"), (job.need.network, "net"), (unprivileged, "user")] {
        if made {
            all.push(' ');
            all.push_str(name);
        }
    }
    all
}

fn options(tmpfs: &Tmpfs) -> String {
    let mut text = String::from("rw,nosuid,nodev");
    if let Some(size) = tmpfs.size {
        let _ = write!(text, ",size={size}");
    }
    if let Some(inodes) = tmpfs.inodes {
        let _ = write!(text, ",nr_inodes={inodes}");
    }
    if let Some(mode) = tmpfs.mode {
        let _ = write!(text, ",mode={mode:o}");
    }
    text
}
