//! Handing over to the second program: what takes no privilege is not in this one.
#![forbid(unsafe_code)]

use crate::creds::Privilege;
use crate::error::{Error, OrFail, Result, on};
use crate::files;
use crate::launch::own_program;
use crate::sys::{self, Pointers, SignalSet, Start};
use crate::text::{Bytes, c_string, join};
use core::convert::Infallible;
use core::ffi::CStr;
use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;

/// How selfdock can work for this caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// With privilege.
    SetUid,
    /// In user namespaces.
    Unprivileged,
}

impl Mode {
    /// By its name.
    pub fn of(name: &CStr) -> Option<Self> {
        [Mode::SetUid, Mode::Unprivileged].into_iter().find(|mode| mode.name() == name)
    }

    /// As users are told.
    pub fn name(self) -> &'static CStr {
        match self {
            Mode::SetUid => c"set-uid",
            Mode::Unprivileged => c"unprivileged",
        }
    }

    /// The same.
    pub fn text(self) -> &'static str {
        self.name().to_str().unwrap_or_default()
    }
}

/// The second program, below the prefix that `cargo xtask install` installs to.
const INSTALLED: &[u8] = b"/lib/selfdock/selfdock-about";
/// The same beside selfdock, where cargo puts it.
const BESIDE: &[u8] = b"/selfdock-about";

/// Gives up all privilege for good and becomes the second program, with signals, descriptors
/// and environment as the caller had them. `signals` is the caller's mask. Returns only on
/// failure.
pub fn hand_over(start: &Start, privilege: Option<Privilege>, signals: SignalSet) -> Result<Infallible> {
    let mode = if privilege.is_some() { Mode::SetUid } else { Mode::Unprivileged };
    privilege.map_or(Ok(()), Privilege::discard)?;
    let Some(own) = own_program(None).map_err(|e| e.hint("is /proc mounted?"))? else {
        return Err(Error::refused("find selfdock's own file", "it is gone"));
    };
    let second = c_string(second_program(own.path)?).or_fail("start")?;
    let own = c_string(own.path).or_fail("start")?;
    let mut words = start.args();
    words.insert(1, own);
    words.insert(1, mode.name());
    let (argv, envp) = (Pointers::new(&words), Pointers::new(&start.environment()));
    sys::block_only(signals).or_fail("unblock signals")?;
    Err(Error::of(on("start {}", second.to_bytes()), sys::execve(second, &argv, &envp)))
}

/// The second place, seen from selfdock's own file.
pub fn beside(own: &[u8]) -> Bytes {
    join(&[files::parent(own), BESIDE])
}

/// The first of the two places that has a file. It must belong to whom selfdock belongs to,
/// and not be everyone's to write: in a directory that is, anyone could have put one beside.
pub fn second_program(own: &[u8]) -> Result<Bytes> {
    let places = [join(&[files::parent(files::parent(own)), INSTALLED]), beside(own)];
    for path in places {
        if let Ok(stat) = c_string(path).and_then(|path| rustix::fs::statat(CWD, path, AtFlags::empty())) {
            let failed = on("start {}", path);
            let owner = files::look(CWD, own).or_fail(failed)?.st_uid;
            if stat.st_uid != owner || stat.st_mode & 0o002 != 0 {
                return Err(Error::refused(failed, "it is not as much to be trusted as selfdock itself"));
            }
            return Ok(path);
        }
    }
    let usage = "'cargo xtask install' puts it there; usage: selfdock run CMD";
    Err(Error::of(on("start {}", places[0]), Errno::NOENT).hint(usage))
}
