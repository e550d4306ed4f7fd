//! Several directories as the layers of one root filesystem. Only binds are used: no overlay filesystem interprets
//! what a caller could have put into the layers.
//!
//! An entry of only one layer is bound as a whole, and so is a directory that only one layer fills. If several layers
//! fill a directory, the instance gets a new directory with the entries of all. Such a directory takes no new
//! entries, and belongs to the caller. A later layer can add and replace entries, but cannot remove any.

use crate::creds::Privileged;
use crate::error::{Error, OrFail, Result, on};
use crate::files::{self, Kind, each_entry, make_entry, open_entry};
use crate::mount::{list, show_entry};
use crate::sys::Attributes;
use crate::text::bound;
use alloc::vec::Vec;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;

bound! {
    /// The most binds for the layers of a root filesystem.
    MOST_BINDS = 16384,
    TOO_MANY_BINDS = "at most ", " binds are possible; keep additions in separate directories"
}

/// A layer of a root filesystem.
pub struct Layer {
    /// Its root directory, in this mount namespace.
    pub dir: OwnedFd,
    /// The attributes that its mounts get in addition to their own.
    pub attributes: Attributes,
}

bound! {
    /// The maximum depth of merged directories. Each level takes some hundred bytes of stack, and a descriptor for each
    /// layer.
    DEEPEST = 100,
    TOO_DEEP = "the directories that they share are nested more than ", " deep"
}

/// Binds the entries of all layers in `into`. The first layer that has a name wins.
pub fn merge(privileged: &Privileged, into: &OwnedFd, layers: &[&Layer]) -> Result<()> {
    let mut budget = MOST_BINDS;
    merge_below(privileged, into, layers, &mut budget, 0)
}

/// Does so for a directory that lies `depth` directories below. At most `budget` binds are made.
fn merge_below(
    privileged: &Privileged,
    into: &OwnedFd,
    layers: &[&Layer],
    budget: &mut usize,
    depth: usize,
) -> Result<()> {
    if depth > DEEPEST {
        return Err(Error::refused("lay root filesystems over each other", TOO_DEEP));
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
                    // If several have a directory of this name, the only one with anything in it.
                    let from = below.first().map_or(*layer, |(layer, _)| *layer);
                    match show_entry(privileged, into, from.dir.as_fd(), name, from.attributes) {
                        // The entry was removed meanwhile.
                        Err(Errno::NOENT) => {}
                        shown => shown.or_fail(failed)?,
                    }
                }
                several => {
                    make_entry(into, name, Kind::Directory).or_fail(failed)?;
                    let target = open_entry(into, name).or_fail(failed)?;
                    let mut inner = Vec::with_capacity(several.len());
                    for (layer, dir) in several {
                        let dir = files::duplicate(dir).or_fail(failed)?;
                        inner.push(Layer { dir, attributes: layer.attributes });
                    }
                    merge_below(privileged, &target, &inner.iter().collect::<Vec<_>>(), budget, depth + 1)?;
                }
            }
        }
    }
    Ok(())
}

fn too_many() -> Error {
    Error::refused("lay root filesystems over each other", "they share too many directories")
        .hint(TOO_MANY_BINDS)
}

/// The layers whose directory of this name has entries, down to the first layer that has something else there. Empty
/// if the topmost is not a directory; only the topmost if all directories are empty.
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
            match is_empty(privileged, &entry.1)? {
                Ok(true) => spare = spare.or(Some(entry)),
                Ok(false) => filled.push(entry),
                Err(error) if error.errno().is_some_and(files::is_want) => return Err(error),
                // Its entries cannot be read, so it cannot be merged: it is bound alone, or ends the list.
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

/// Fails if the rights cannot be exchanged. Inside is what the caller's rights let see.
fn is_empty(privileged: &Privileged, dir: &OwnedFd) -> Result<Result<bool>> {
    let mut empty = true;
    let listed = privileged.without(|| {
        each_entry(dir.as_fd(), "list a layer".into(), &mut |_| {
            empty = false;
            Ok(())
        })
    })?;
    Ok(listed.map(|()| empty))
}
