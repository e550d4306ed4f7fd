//! The caller's homes, which an instance of the host image hides. With `--fake-root`, and in a copy of the image, the
//! second program hides them. It finds them as the set-uid program does in an instance
//! ([`crate::stage::home_to_hide`]).

use crate::command::home;
use crate::error::{OrFail, Result, on};
use crate::files;
use crate::handover::About;
use crate::host::{homes, lies_in, places};
use crate::stage::{PLACES_OF_NAMES, SESSIONS, home_to_hide};
use crate::text::{Bytes, decimal};
use alloc::vec::Vec;
use rustix::fs::{CWD, OFlags};

/// Which files of the host may be shown as its files of names: those in a directory for such files, or in one of
/// `list`, which an instance shows. None is in a home of the caller: links to a file of names can lead through a
/// directory of another user, who can point them there.
pub fn may_show_names(about: &About, list: Bytes) -> Result<impl Fn(&[u8]) -> bool> {
    let hidden = hidden(about, list)?;
    let home =
        home(&about.environment).filter(|home| about.caller.uid != 0 && !PLACES_OF_NAMES.contains(home));
    let home = home.filter(|home| home.len() > 1);
    Ok(move |path: &[u8]| {
        let has = |dir: &[u8]| lies_in(path, dir);
        (PLACES_OF_NAMES.into_iter().any(has) || places(list).any(has))
            && !hidden.iter().copied().chain(home).chain([SESSIONS]).any(has)
    })
}

/// What an instance of the host image hides of the caller's homes: paths without links. `list` are the directories that
/// it shows.
pub fn hidden(about: &About, list: &[u8]) -> Result<Vec<Bytes>> {
    let variable = home(&about.environment).filter(|_| about.caller.uid != 0);
    let all = homes(list, decimal(about.caller.uid), variable);
    let root = files::open(CWD, b"/", OFlags::PATH).or_fail("open '/'")?;
    let own = rustix::process::getuid().as_raw();
    let mut found: Vec<Bytes> = Vec::new();
    for home in &all {
        let hidden = home_to_hide(&root, home, list, own).or_fail(on("hide {}", home))?;
        found.extend(hidden.map(|(place, _)| place));
    }
    found.retain(|home| places(list).any(|place| lies_in(home, place)));
    Ok(found)
}
