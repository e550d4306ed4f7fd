//! Random trees, and how they are made on a file system.

use crate::support::scratch;
use proptest::collection::btree_map;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use tempfile::TempDir;

/// The names of all entries. There are few, so that many paths coincide.
pub const NAMES: [&str; 3] = ["a", "b", "c"];

/// The targets of links.
const TARGETS: [&str; 16] = [
    "a",
    "b",
    "../a",
    "../b/c",
    "a/../b",
    "/a",
    "/b/c",
    "/c/a",
    "..",
    "/",
    "../../../../../../../a",
    "/proc",
    "/dev",
    "/dev/shm/a",
    "/tmp/a",
    "/etc/b",
];

#[derive(Clone, Debug)]
pub enum Tree {
    Dir { mode: u32, entries: BTreeMap<&'static str, Tree> },
    File { mode: u32 },
    Link(&'static str),
}

pub fn directory_mode() -> impl Strategy<Value = u32> {
    prop_oneof![12 => Just(0o755), 1 => select(&[0o700, 0o555, 0o500, 0o311, 0o444, 0o000][..])]
}

fn file() -> impl Strategy<Value = Tree> {
    let mode =
        prop_oneof![4 => Just(0o644), 2 => Just(0o755), 2 => select(&[0o400, 0o200, 0o111, 0o000][..])];
    mode.prop_map(|mode| Tree::File { mode })
}

fn link() -> impl Strategy<Value = Tree> {
    select(&TARGETS[..]).prop_map(Tree::Link)
}

fn directory(inner: impl Strategy<Value = Tree>) -> impl Strategy<Value = Tree> {
    let entries = btree_map(select(&NAMES[..]), inner, 0..4);
    (directory_mode(), entries).prop_map(|(mode, entries)| Tree::Dir { mode, entries })
}

pub fn any_tree() -> impl Strategy<Value = Tree> {
    prop_oneof![3 => file(), 2 => link()].prop_recursive(3, 10, 3, directory)
}

/// A source for a bind: mostly a directory.
pub fn source() -> impl Strategy<Value = Tree> {
    prop_oneof![5 => directory(any_tree()), 1 => file()]
}

/// A root filesystem. A name that an instance mounts something on can exist, or be something else.
pub fn image() -> impl Strategy<Value = Tree> {
    let empty =
        || (directory_mode(), Just(BTreeMap::new())).prop_map(|(mode, entries)| Tree::Dir { mode, entries });
    let usual = |odd: f64| {
        prop_oneof![
            10 => Just(None),
            10 => empty().prop_map(Some),
            3 => proptest::option::weighted(odd, any_tree()),
        ]
    };
    let entries = btree_map(select(&NAMES[..]), any_tree(), 0..4);
    let file_or_none = || proptest::option::weighted(0.3, file());
    let names = (directory_mode(), file_or_none(), file_or_none()).prop_map(|(mode, hosts, passwd)| {
        let all = [("hosts", hosts), ("passwd", passwd)];
        let entries = all.into_iter().filter_map(|(name, tree)| Some((name, tree?))).collect();
        Tree::Dir { mode, entries }
    });
    let etc = prop_oneof![2 => usual(0.9), 1 => names.prop_map(Some)];
    (directory_mode(), entries, etc, usual(0.9), usual(0.9), usual(0.9)).prop_map(
        |(mode, mut entries, etc, tmp, dev, proc)| {
            for (name, tree) in [("etc", etc), ("tmp", tmp), ("dev", dev), ("proc", proc)] {
                entries.extend(tree.map(|tree| (name, tree)));
            }
            Tree::Dir { mode, entries }
        },
    )
}

/// The trees of a case as files. The text of each file is its path.
pub struct World {
    dir: TempDir,
}

impl World {
    pub fn make(trees: &[(&'static str, Tree)]) -> Self {
        let dir = scratch();
        for (name, tree) in trees {
            make(dir.path(), Path::new(name), tree);
        }
        Self { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for World {
    /// Gives all directories the permissions that are needed to remove them.
    fn drop(&mut self) {
        open_up(self.dir.path());
    }
}

fn make(top: &Path, path: &Path, tree: &Tree) {
    let full = top.join(path);
    match tree {
        Tree::Link(target) => symlink(target, full).expect("make a link"),
        Tree::File { mode } => {
            fs::write(&full, path.as_os_str().as_encoded_bytes()).expect("make a file");
            fs::set_permissions(&full, Permissions::from_mode(*mode)).expect("chmod");
        }
        Tree::Dir { mode, entries } => {
            fs::create_dir(&full).expect("make a directory");
            for (name, tree) in entries {
                make(top, &path.join(name), tree);
            }
            fs::set_permissions(&full, Permissions::from_mode(*mode)).expect("chmod");
        }
    }
}

fn open_up(dir: &Path) {
    let _ = fs::set_permissions(dir, Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}
