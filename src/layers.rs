//! Several directories laid over each other as one root filesystem, by binds alone: no
//! overlay filesystem interprets what a caller could have put into them.
//!
//! What only one layer has is bound whole, and so is what only one layer has anything in.
//! Where several have something in a directory, the instance gets a directory of its own with
//! the entries of all; such a directory takes no new entries, and its owner is the caller.
//! A later layer can add and replace, and cannot remove.

use crate::creds::Privileged;
use crate::error::{Error, OrFail, Result, on};
use crate::files::{self, Kind, each_entry, make_entry, open_entry};
use crate::mount::{list, show_entry};
use crate::sys::Attributes;
use alloc::vec::Vec;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// How many binds the layers of a root filesystem may take.
pub const MOST_BINDS: usize = 16384;

/// One of several trees that make up a root filesystem.
pub struct Layer {
    /// Its root directory, in this mount namespace.
    pub dir: OwnedFd,
    /// What its mounts get on top of their own attributes.
    pub attributes: Attributes,
}

/// How deep the directories may be nested that several layers have something in: each level takes
/// some hundred bytes of stack and a descriptor for each layer.
const DEEPEST: usize = 100;

/// Shows in `into` the entries of all layers; the first layer that has a name wins. Takes
/// at most `budget` binds.
pub fn merge(
    privileged: &Privileged,
    into: &OwnedFd,
    layers: &[&Layer],
    budget: &mut usize,
    depth: usize,
) -> Result<()> {
    if depth > DEEPEST {
        let why = "the directories that they share are nested more than 100 deep";
        return Err(Error::refused("lay root filesystems over each other", why));
    }
    for (i, layer) in layers.iter().enumerate() {
        let names = list(privileged, layer.dir.as_fd(), "list a layer".into(), MOST_BINDS, &too_many)?;
        for name in names {
            let failed = on("bind {} from a layer", name);
            if files::lstat(into.as_fd(), name).is_ok() {
                continue;
            }
            let below = directories(privileged, &layers[i..], name)?;
            match below.as_slice() {
                [] | [_] => {
                    *budget = budget.checked_sub(1).ok_or_else(too_many)?;
                    // The only one with anything in it, if they are directories.
                    let from = below.first().map_or(*layer, |(layer, _)| *layer);
                    match show_entry(privileged, into, from.dir.as_fd(), name, from.attributes) {
                        // It went away meanwhile.
                        Err(Errno::NOENT) => {}
                        shown => shown.or_fail(failed)?,
                    }
                }
                several => {
                    make_entry(into, name, Kind::Directory).or_fail(failed)?;
                    let target = open_entry(into, name).or_fail(failed)?;
                    let mut inner = Vec::with_capacity(several.len());
                    for (layer, dir) in several {
                        let dir = rustix::io::fcntl_dupfd_cloexec(dir, 3).or_fail(failed)?;
                        inner.push(Layer { dir, attributes: layer.attributes });
                    }
                    merge(privileged, &target, &inner.iter().collect::<Vec<_>>(), budget, depth + 1)?;
                }
            }
        }
    }
    Ok(())
}

fn too_many() -> Error {
    Error::refused("lay root filesystems over each other", "they share too many directories")
        .hint("at most 16384 binds are possible; keep additions in separate directories")
}

/// The layers that have a directory of that name with something in it, down to the first that
/// has something else there. None if the topmost is no directory; the topmost if all are empty.
fn directories<'l>(
    privileged: &Privileged,
    layers: &[&'l Layer],
    name: &[u8],
) -> Result<Vec<(&'l Layer, OwnedFd)>> {
    let mut all: Vec<(&Layer, OwnedFd)> = Vec::new();
    for layer in layers {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        match files::open(layer.dir.as_fd(), name, flags) {
            Ok(dir) => all.push((layer, dir)),
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => break,
            Err(errno) => return Err(Error::of(on("open {} in a layer", name), errno)),
        }
    }
    if all.len() > 1 {
        let mut filled = Vec::with_capacity(all.len());
        let mut spare = None;
        for entry in all {
            match is_empty(privileged, &entry.1) {
                Ok(true) => spare = spare.or(Some(entry)),
                Ok(false) => filled.push(entry),
                // Nobody could tell its entries from those below: it is shown alone, or not.
                Err(_) if filled.is_empty() => return Ok(alloc::vec![entry]),
                Err(_) => break,
            }
        }
        if filled.is_empty() {
            filled.extend(spare);
        }
        return Ok(filled);
    }
    Ok(all)
}

fn is_empty(privileged: &Privileged, dir: &OwnedFd) -> Result<bool> {
    let mut empty = true;
    privileged.without(|| {
        each_entry(dir.as_fd(), "list a layer".into(), &mut |_| {
            empty = false;
            Ok(())
        })
    })??;
    Ok(empty)
}
