//! What the kernel keeps inside an instance that no namespace does: signals, abstract sockets,
//! keys, and the session. Put in place before privilege is given up, so that none of it takes
//! `no_new_privs`, which would end nesting.

use crate::cli::Request;
use crate::creds::Privileged;
use crate::error::{Error, OrFail, Result};
use crate::process::{after_name, read, words};
use crate::sys::{self, Instruction, scope};
use crate::{files, filter};
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use rustix::process::{getppid, setpgid, setsid};

/// What is kept inside, as the caller wishes it.
#[derive(Clone, Copy, Debug)]
pub struct Containment {
    /// `--abstract`
    pub abstract_sockets: bool,
    /// `--new-session`, and what the caller has
    pub jobs: Jobs,
    /// `--no-userns`
    pub no_user_namespaces: bool,
    /// `--seccomp`
    pub filter: Filter,
}

/// `--seccomp`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Selfdock's own.
    Default,
    /// None.
    None,
    /// Selfdock's own, and this program.
    And(&'static [Instruction]),
}

impl Containment {
    /// From a request. A filter of the caller's is read, with the caller's rights.
    pub fn new(request: &Request<'_>) -> Result<Self> {
        let filter = match request.seccomp {
            None | Some(b"default") => Filter::Default,
            Some(b"none") => Filter::None,
            Some(path) => Filter::And(filter::read(path)?),
        };
        Ok(Containment {
            abstract_sockets: request.abstract_sockets,
            jobs: Jobs::of_this_process(request.new_session),
            no_user_namespaces: request.no_user_namespaces,
            filter,
        })
    }

    /// Before anything is built.
    pub fn begin(&self, privileged: &Privileged) -> Result<()> {
        self.jobs.separate()?;
        keep_signals_inside(privileged, self.abstract_sockets)?;
        have_own_keys(self.filter != Filter::None)
    }

    /// When what the filter refuses is needed no more.
    pub fn filter(&self, privileged: &Privileged) -> Result<()> {
        if self.filter != Filter::None {
            filter::install_default(privileged)?;
        }
        if self.no_user_namespaces {
            filter::forbid_user_namespaces(privileged)?;
        }
        Ok(())
    }

    /// When all privilege is given up. A filter of the caller's could mislead a program that has
    /// more rights than the caller, so there is none inside then.
    pub fn finish(&self, no_nest: bool) -> Result<()> {
        let own = match self.filter {
            Filter::And(program) => Some(program),
            Filter::Default | Filter::None => None,
        };
        if no_nest || own.is_some() {
            rustix::thread::set_no_new_privs(true).or_fail("forbid new privileges")?;
        }
        own.map_or(Ok(()), filter::install)
    }
}

/// From here on no signal of this process or of any that comes from it reaches one outside of
/// the instance, by whatever name, not even a process group's; nor does a connection to an
/// abstract socket, unless `abstract_sockets`. A kernel before 6.12 has nothing of the kind; and it
/// nests domains 16 deep, below which the outer ones still hold. landlock(7)
fn keep_signals_inside(_: &Privileged, abstract_sockets: bool) -> Result<()> {
    let sockets = if abstract_sockets { 0 } else { scope::ABSTRACT_SOCKETS };
    match sys::enter_domain(scope::SIGNALS | sockets) {
        // Unknown, switched off, of an older kind; or too deep; or refused by a filter of root's, or of a caller's
        // who gains nothing by it.
        Ok(()) | Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::TOOBIG | Errno::PERM) => Ok(()),
        Err(errno) => Err(Error::of("keep signals inside", errno)),
    }
}

/// Whether the kernel can keep signals inside: Landlock's ABI 6. `landlock_create_ruleset(2)`
pub fn kernel_keeps_signals_inside() -> bool {
    sys::landlock_abi() >= 6
}

/// A session keyring of its own, as the caller's shows the caller's keys. With the filter in
/// place nothing inside can reach either; but the kernel itself looks for keys there. Where the
/// user has as many keys as a user may have, the filter has to do. keyrings(7)
pub fn have_own_keys(filtered: bool) -> Result<()> {
    match sys::new_session_keyring() {
        Ok(()) | Err(Errno::NOSYS) => Ok(()),
        // Or the caller's own filter refuses the same as ours.
        Err(Errno::DQUOT | Errno::PERM | Errno::ACCESS) if filtered => Ok(()),
        Err(errno) => Err(Error::of("make a session keyring", errno)
            .hint_if(Errno::DQUOT, "your quota of keys is used up (kernel.keys.maxkeys)")),
    }
}

/// With whom a command shares what sessions and process groups are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jobs {
    /// The caller's session and process group: its terminal controls the command as a job.
    Shared,
    /// A process group of its own: a shell controls jobs without a terminal. In another session
    /// the kernel would let no terminal's stop signal act on it, as nobody could continue it.
    OwnGroup,
    /// A session of its own.
    Own,
}

impl Jobs {
    /// To be asked by the supervisor.
    pub fn of_this_process(new_session: bool) -> Self {
        match new_session {
            false if has_terminal() => Jobs::Shared,
            false if is_a_job() => Jobs::OwnGroup,
            _ => Jobs::Own,
        }
    }

    /// In the process that becomes the command: no process outside is left in its group, but where
    /// a terminal controls them both. setsid(2), setpgid(2)
    pub fn separate(self) -> Result<()> {
        match self {
            Jobs::Shared => Ok(()),
            Jobs::OwnGroup => setpgid(None, None).or_fail("start a process group"),
            Jobs::Own => setsid().or_fail("start a session").map(drop),
        }
    }
}

/// Whether somebody waits for this process to stop: an outer supervisor, which is not seen from
/// here, or a shell in the same session that has put it into a process group of its own. Others
/// would take a stopped job for one that takes long. setpgid(2), "orphaned process group"
pub fn is_a_job() -> bool {
    let Some(parent) = getppid() else { return true };
    sys::session_of(Some(parent)) == sys::session_of(None)
        && sys::group_of(Some(parent)) != sys::group_of(None)
}

/// Whether this process has a controlling terminal.
fn has_terminal() -> bool {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK;
    // Without one /dev/tty cannot be opened: ENXIO. tty(4)
    match files::open(CWD, b"/dev/tty", flags) {
        Ok(_) => true,
        Err(Errno::NXIO) => false,
        // No such file, or not to be opened: /proc tells more slowly.
        Err(_) => terminal_by_number().unwrap_or(false),
    }
}

/// The same by `tty_nr`, field 7 of `/proc/self/stat`. `proc_pid_stat(5)`
fn terminal_by_number() -> Option<bool> {
    let text = read(b"/proc/self/stat")?;
    Some(words(after_name(text)?).nth(4)? != b"0")
}
