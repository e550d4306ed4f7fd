//! `--explain`: the plan in words, a line for each step, with tabs between the fields. Nothing
//! is done and no privilege is held.

use crate::cli::Request;
use crate::command;
use crate::error::{Quoted, Result};
use crate::handover::{About, Mode};
use crate::host::{DEVICES, Entry, entries, homes};
use crate::host_root;
use crate::installation::Installation;
use crate::plan::{Plan, Root, Tmpfs, What};
use crate::text::decimal;
use alloc::string::String;
use core::fmt::Write as _;

/// The text. Fields that the caller named are quoted as in error messages.
pub fn text(about: &About, request: &Request<'_>) -> Result<String> {
    let (plan, command) = &command::check(request, &about.environment, command::current_directory())?;
    let mode = if request.unprivileged { Mode::Unprivileged } else { about.mode };
    let unprivileged = mode == Mode::Unprivileged;
    let mut out = String::new();
    let image = if plan.writable { "rw,nosuid,nodev" } else { "ro,nosuid,nodev" };
    let _ = writeln!(out, "mode\t{}", mode.text());
    let _ = writeln!(out, "ids\tuid={} gid={}", about.caller.uid, about.caller.gid);
    let _ = writeln!(out, "namespaces\t{}", namespaces(request, unprivileged));
    match &plan.root {
        Root::Host => {
            out.push_str("root\t-\t'/'\tro,nosuid,noexec\n");
            let list = Installation::around(about.program.to_bytes()).list();
            let list = list.unwrap_or_else(host_root::look_up);
            for entry in entries(list) {
                let _ = match entry {
                    Entry::Place([path @ .., _]) => writeln!(out, "show\t{0}\t{0}\t{image}", Quoted(path)),
                    Entry::Link(at, to) => writeln!(out, "link\t{}\t{}\t-", Quoted(to), Quoted(at)),
                    Entry::Place(_) | Entry::Open | Entry::Home(..) => Ok(()),
                };
            }
            let home = command::home(&about.environment).filter(|_| about.caller.uid != 0);
            for home in homes(list, decimal(about.caller.uid), home) {
                let _ = writeln!(out, "hide\t-\t{}\tro,nosuid,nodev,noexec", Quoted(&home));
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
        let dst = Quoted(mount.dst);
        let _ = match &mount.what {
            What::Bind { src, writable: true } => {
                writeln!(out, "volume\t{}\t{dst}\trw,nosuid,nodev", Quoted(src))
            }
            What::Bind { src, writable: false } => {
                writeln!(out, "map\t{}\t{dst}\tro,nosuid,nodev", Quoted(src))
            }
            What::Tmpfs(tmpfs) => writeln!(out, "tmpfs\t-\t{dst}\t{}", options(tmpfs)),
            What::Mask { .. } => writeln!(out, "mask\t-\t{dst}\tro,nosuid,nodev,noexec"),
        };
    }
    for (name, ..) in DEVICES {
        let _ = writeln!(out, "device\t'/dev/{name}'\t'/dev/{name}'\tro,nosuid,noexec");
    }
    for path in &plan.devices {
        let path = [b"/dev/", *path].concat();
        let _ = writeln!(out, "device\t{0}\t{0}\tro,nosuid,noexec", Quoted(&path));
    }
    out.push_str("devpts\t-\t'/dev/pts'\trw,nosuid,noexec\n");
    let _ = writeln!(out, "tmpfs\t-\t'/dev/shm'\t{}", options(&plan.shm));
    out.push_str("proc\t-\t'/proc'\trw,nosuid,nodev,noexec\n");
    if !request.no_nest {
        let flags = if unprivileged { "ro,nosuid,nodev" } else { "ro,nodev" };
        let _ = writeln!(out, "program\t{0}\t{0}\t{flags}", Quoted(about.program.to_bytes()));
    }
    let _ = writeln!(out, "directory\t{}", Quoted(command.directory()));
    out.push_str("command");
    for word in command.words() {
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

fn namespaces(request: &Request<'_>, unprivileged: bool) -> String {
    let mut all = String::from("mount pid ipc uts cgroup");
    for (made, name) in [(request.own_network, "net"), (unprivileged, "user")] {
        if made {
            all.push(' ');
            all.push_str(name);
        }
    }
    all
}

fn options(tmpfs: &Tmpfs) -> String {
    let Tmpfs { size, inodes, mode } = tmpfs;
    alloc::format!("rw,nosuid,nodev,size={size},nr_inodes={inodes},mode={mode:o}")
}
