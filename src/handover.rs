//! Handing over to the second program, which has all that needs no privilege.
//!
//! It is started as `selfdock-about MODE SELFDOCK ...`. MODE is the mode that `selfdock run` would have, SELFDOCK the
//! path of the set-uid program. The words that followed its name come next.

use crate::creds::Caller;
use crate::error::{Error, OrFail, Result, on};
use crate::installation::{Installation, own_program, second_program};
use crate::sys::{self, Pointers, SignalSet, Start};
use crate::text::c_string;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::ffi::CStr;

/// How selfdock works for this caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// With privilege.
    SetUid,
    /// In user namespaces.
    Unprivileged,
}

impl Mode {
    /// The mode with this name.
    pub fn of(name: &CStr) -> Option<Self> {
        [Mode::SetUid, Mode::Unprivileged].into_iter().find(|mode| mode.name() == name)
    }

    /// The name, as messages show it.
    pub fn name(self) -> &'static CStr {
        match self {
            Mode::SetUid => c"set-uid",
            Mode::Unprivileged => c"unprivileged",
        }
    }

    /// The name as text.
    pub fn text(self) -> &'static str {
        self.name().to_str().unwrap_or_default()
    }
}

/// What the second program knows of its caller.
pub struct About {
    pub caller: Caller,
    /// The mode that `selfdock run` would have.
    pub mode: Mode,
    /// The path of the set-uid program.
    pub program: &'static CStr,
    /// The name by which the caller started it.
    pub name: &'static CStr,
    /// The environment of the caller.
    pub environment: Vec<&'static CStr>,
}

/// Stands in place of a mode: an instance was built, but the command was not found in it.
pub const NOT_FOUND_INSIDE: &CStr = c"not-found";

/// Stands in place of a mode: the second program is in an instance, and is to become root and then the command.
pub const FAKE_ROOT: &CStr = c"fake-root";

/// Stands in place of a mode: the second program is in an instance, and is to relay a port to a proxy and become the
/// command.
pub const RELAY: &CStr = c"relay";

impl About {
    /// What the words of the second program say: whom it is for, why it was started (the name of a mode, or what stands
    /// in its place), and the caller's words. The reverse of [`hand_over`]. `None` if selfdock has not started it.
    pub fn take(start: &Start, caller: Caller) -> Option<(Self, &'static CStr, Vec<&'static CStr>)> {
        let args = start.args();
        let [name, why, program, words @ ..] = &*args else { return None };
        let is_inside = [NOT_FOUND_INSIDE, FAKE_ROOT, RELAY].contains(why);
        let mode = if is_inside { Mode::Unprivileged } else { Mode::of(why)? };
        let about = About { caller, mode, program, name, environment: start.environment() };
        Some((about, why, words.to_vec()))
    }
}

/// Becomes the second program, with signals, descriptors and environment as the caller had them. All privilege has
/// been given up before. `mode` is the name of a mode, `signals` the caller's signal mask. Returns only on failure.
pub fn hand_over(start: &Start, mode: &'static CStr, signals: SignalSet) -> Result<Infallible> {
    let found = own_program(None).map_err(|e| e.hint("is /proc mounted?"))?.map(|own| own.path);
    // An upgrade can have replaced the file; the new one is where this one was installed.
    let Some(own) = found.or_else(|| Installation::of_this_program().map(Installation::program)) else {
        return Err(Error::refused("find selfdock's own file", "it is gone"));
    };
    let second = c_string(second_program(own)?).or_fail("start")?;
    let own = c_string(own).or_fail("start")?;
    let mut words = start.args();
    words.insert(1, own);
    words.insert(1, mode);
    let (argv, envp) = (Pointers::new(&words), Pointers::new(&start.environment()));
    sys::block_only(signals).or_fail("unblock signals")?;
    Err(Error::of(on("start {}", second.to_bytes()), sys::execve(second, &argv, &envp)))
}
