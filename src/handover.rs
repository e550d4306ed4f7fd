//! Handing over to the second program, which has all that needs no privilege.
//!
//! It is started as `selfdock-about TASK SELFDOCK ...`. TASK is a [`Task`], SELFDOCK the path of the set-uid program.
//! The words that followed its name come next.

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
    fn name(self) -> &'static CStr {
        match self {
            Mode::SetUid => c"set-uid",
            Mode::Unprivileged => c"unprivileged",
        }
    }

    /// The name, as messages show it.
    pub fn text(self) -> &'static str {
        self.name().to_str().unwrap_or_default()
    }
}

/// What the second program is started for, as a word of its arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Task(&'static CStr);

impl Task {
    /// An instance was built, but the command was not found in it: to say why.
    pub const SAY_WHY_NOT_FOUND: Self = Task(c"not-found");
    /// It is in an instance, and is to become root and then the command.
    pub const BECOME_ROOT: Self = Task(c"fake-root");
    /// It is in an instance, and is to relay a port to a proxy and become the command.
    pub const RELAY_TO_PROXY: Self = Task(c"relay");

    /// To do what the command line asks for. The word is the mode that `selfdock run` would have.
    pub fn command_line(mode: Mode) -> Self {
        Task(mode.name())
    }

    /// The mode, for a task that is a command line.
    fn mode(self) -> Option<Mode> {
        [Mode::SetUid, Mode::Unprivileged].into_iter().find(|mode| self == Self::command_line(*mode))
    }

    /// The word of the arguments.
    pub fn to_bytes(self) -> &'static [u8] {
        self.0.to_bytes()
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

impl About {
    /// What the words of the second program say: whom it is for, what it is to do, and the caller's words. The reverse
    /// of [`hand_over`]. `None` if selfdock has not started it.
    pub fn take(start: &Start, caller: Caller) -> Option<(Self, Task, Vec<&'static CStr>)> {
        let args = start.args();
        let [name, task, program, words @ ..] = &*args else { return None };
        let task = Task(task);
        // The other tasks ask for no mode.
        let has_none = [Task::SAY_WHY_NOT_FOUND, Task::BECOME_ROOT, Task::RELAY_TO_PROXY].contains(&task);
        let mode = if has_none { Mode::Unprivileged } else { task.mode()? };
        let about = About { caller, mode, program, name, environment: start.environment() };
        Some((about, task, words.to_vec()))
    }
}

/// Becomes the second program, with signals, descriptors and environment as the caller had them. All privilege has
/// been given up before. `signals` is the caller's signal mask. Returns only on failure.
pub fn hand_over(start: &Start, task: Task, signals: SignalSet) -> Result<Infallible> {
    let found = own_program(None).map_err(|e| e.hint("is /proc mounted?"))?.map(|own| own.path);
    // An upgrade can have replaced the file; the new one is where this one was installed.
    let Some(own) = found.or_else(|| Installation::of_this_program().map(Installation::program)) else {
        return Err(Error::refused("find selfdock's own file", "it is gone"));
    };
    let second = c_string(second_program(own)?).or_fail("start")?;
    let own = c_string(own).or_fail("start")?;
    let mut words = start.args();
    words.insert(1, own);
    words.insert(1, task.0);
    let (argv, envp) = (Pointers::new(&words), Pointers::new(&start.environment()));
    sys::block_only(signals).or_fail("unblock signals")?;
    Err(Error::of(on("start {}", second.to_bytes()), sys::execve(second, &argv, &envp)))
}
