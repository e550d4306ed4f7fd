//! The files of a guest: busybox, the installed tree, the checks, and the scripts that run them.

use super::Arch;
use super::cpio::{Entry, Tree};
use super::fetch::Fetched;
use super::smoke::{CHECKS, Check, Mode};
use crate::replace::{Source, capabilities};
use crate::run::{Context, Result};
use crate::{host, place, prepare};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// The prefix of selfdock in guests.
pub const PREFIX: &str = "usr/local";

/// The script of the first process. Checks run in the initramfs, or in a mounted copy that replaces the root: `@ROOT@`
/// is put in.
const INIT: &str = include_str!("init.sh");

const SECOND: &str = include_str!("second.sh");

/// Runs the checks, each in a control group of its own, which belongs to the caller. The output of a check is printed
/// when it has ended. It goes to a file, since a pipe would stay open as long as a process of an unfinished check is
/// left.
const ALL: &str = include_str!("all.sh");

/// `root` is one of `smoke::ROOTS`. `only` selects checks by their names.
pub fn archive(
    arch: &Arch,
    fetched: &Fetched,
    programs: &Programs,
    root: &str,
    only: &[String],
) -> Result<Vec<u8>> {
    let mut tree = Tree::default();
    for (name, mode) in
        [("proc", 0o555), ("sys", 0o555), ("dev", 0o755), ("tmp", 0o1777), ("home/user", 0o700)]
    {
        tree.add(name, Entry::directory(mode));
    }
    for name in ["root", "run", "mnt", "media", "srv", "boot", "var/tmp", "usr/lib"] {
        tree.add(name, Entry::directory(0o755));
    }
    for (name, target) in [("bin", "usr/bin"), ("sbin", "usr/bin")] {
        tree.add(name, Entry::link(target));
    }
    tree.add(
        "etc/passwd",
        Entry::file(0o644, "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"),
    );
    tree.add("etc/group", Entry::file(0o644, "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n"));
    tree.add("etc/shadow", Entry::file(0o600, "root:*:1::::::\nuser:*:1::::::\n"));
    tree.add("usr/bin/busybox", Entry::file(0o755, read(&fetched.busybox)?));
    tree.add("init", Entry::file(0o755, INIT.replace("@ROOT@", root)));
    tree.add("opt/checks/overlay.ko", Entry::file(0o644, read(&fetched.overlayfs)?));
    checks(arch, &mut tree, programs, CHECKS, ALL, only)?;
    tree.add("opt/checks/second", Entry::file(0o755, SECOND));
    // A device that belongs to root, at a path that a caller can name.
    tree.add("opt/checks/nodes/null", Entry::device(0o666, 1, 3));
    tree.add("opt/checks/layer/l/two", Entry::file(0o644, "two\n"));
    installed(&mut tree, programs, &|_| host::Seen::Nothing)?;
    Ok(tree.archive())
}

/// The programs for a guest.
pub struct Programs {
    /// The directory of both programs of selfdock.
    pub selfdock: PathBuf,
    /// The directory of the programs without a libc.
    pub bare: PathBuf,
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).context(path.display())
}

/// The scripts of the checks, the list of them, and `all`, the script that runs the list.
pub fn checks(
    arch: &Arch,
    tree: &mut Tree,
    programs: &Programs,
    checks: &[Check],
    all: &str,
    only: &[String],
) -> Result {
    let mut list = String::new();
    for (number, check) in checks.iter().enumerate() {
        if !check.is_of(only) {
            continue;
        }
        tree.add(&format!("opt/checks/{number}"), Entry::file(0o644, check.script));
        for mode in check.modes {
            let (who, option) = match mode {
                Mode::SetUid => ("user", ""),
                Mode::Unprivileged => ("user", "--unprivileged"),
                Mode::Root => ("root", ""),
            };
            let _ = writeln!(list, "{number} {who} {option}");
        }
    }
    let capabilities: String = capabilities().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut numbers = format!("export CONSOLE={} CAPABILITIES=%{capabilities}", arch.console);
    for (name, number) in arch.calls {
        let _ = write!(numbers, " {name}={number}");
    }
    for (name, text) in [("list", &*list), ("numbers", &numbers), ("all", all)] {
        tree.add(&format!("opt/checks/{name}"), Entry::file(0o644, text));
    }
    tree.add("opt/checks/ask", Entry::file(0o755, read(&programs.bare.join("ask"))?));
    Ok(())
}

/// All files that `install` installs and prepares. `beside` tells what the guest has beside the tree, by the path
/// without the first `/`.
pub fn installed(tree: &mut Tree, programs: &Programs, beside: &dyn Fn(&str) -> host::Seen) -> Result {
    let prefix = Path::new("/").join(PREFIX);
    for item in place::items() {
        let bytes = match item.source {
            Source::File(_) if item.mode & 0o4000 != 0 => {
                place::with_prefix(&programs.selfdock.join("selfdock"), &prefix)?
            }
            Source::File(_) => read(&programs.selfdock.join("selfdock-about"))?,
            Source::Bytes(_) => continue,
        };
        tree.add(&format!("{PREFIX}/{}", item.dest), Entry::file(item.mode, bytes));
    }
    let (items, list) = prepare::in_tree(&prefix, &mut |path| {
        let path = String::from_utf8_lossy(path.strip_prefix(b"/").unwrap_or(path));
        match tree.get(&path) {
            // Directories of the kernel, which it makes when it runs.
            None if path.starts_with("sys/") => host::Seen::Place,
            None => beside(&path),
            Some(entry) => {
                entry.target().map_or(host::Seen::Place, |target| host::Seen::Link(target.to_vec()))
            }
        }
    });
    tree.add(&format!("{PREFIX}/{}", host::LIST), Entry::file(0o644, list));
    for (path, item) in items {
        let entry = match &item {
            prepare::Item::Directory => Entry::directory(0o755),
            prepare::Item::Link(target) => Entry::link(&target.to_string_lossy()),
            prepare::Item::File => Entry::file(0o444, ""),
            prepare::Item::Device(major, minor) => Entry::device(0o666, *major, *minor),
        };
        tree.add(&format!("{PREFIX}/{}/{}", host::ROOT, path.display()), entry);
    }
    Ok(())
}
