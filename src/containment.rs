//! Restrictions that no namespace makes: signals, abstract sockets, keys, and the session stay inside. They are set
//! up while privilege is held, so that they need no `no_new_privs`, which would prevent nesting.

use crate::cli::{Filter, Request};
use crate::creds::Privileged;
use crate::error::{Error, OrFail, Result};
use crate::process::{after_name, read, words};
use crate::sys::{self, Instruction, scope};
use crate::{files, filter};
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use rustix::process::{getppid, setpgid, setsid};

/// The restrictions that the caller requests.
#[derive(Clone, Copy, Debug)]
pub struct Containment {
    /// `--abstract`
    pub abstract_sockets: bool,
    /// The session and process group of the command
    pub jobs: Jobs,
    /// `--no-userns`
    pub no_user_namespaces: bool,
    /// `--seccomp`
    pub filter: Filter<&'static [Instruction]>,
}

impl Containment {
    /// From a request. A filter file is read with the caller's rights.
    pub fn new(request: &Request<'_>) -> Result<Self> {
        let filter = match request.filter() {
            Filter::Default => Filter::Default,
            Filter::None => Filter::None,
            Filter::And(path) => Filter::And(filter::read(path)?),
        };
        Ok(Containment {
            abstract_sockets: request.abstract_sockets,
            jobs: Jobs::of_this_process(request.new_session),
            no_user_namespaces: request.no_user_namespaces,
            filter,
        })
    }

    /// Sets up what comes before the building.
    pub fn begin(&self, privileged: &Privileged) -> Result<()> {
        self.jobs.separate()?;
        keep_signals_inside(privileged, self.abstract_sockets)?;
        have_own_keys(self.filter != Filter::None)
    }

    /// Installs the filters, when the refused calls are no longer needed.
    pub fn filter(&self, privileged: &Privileged) -> Result<()> {
        if self.filter != Filter::None {
            filter::install_default(privileged)?;
        }
        if self.no_user_namespaces {
            filter::forbid_user_namespaces(privileged)?;
        }
        Ok(())
    }

    /// Installs the caller's filter, after all privilege is given up. Such a filter could mislead a program with more
    /// rights than the caller, so no such program may run inside.
    pub fn finish(&self, no_nest: bool) -> Result<()> {
        let own = match self.filter {
            Filter::And(program) => Some(program),
            Filter::Default | Filter::None => None,
        };
        if no_nest || own.is_some() {
            rustix::thread::set_no_new_privs(true).or_fail("forbid new privileges")?;
        }
        if let Some(program) = own {
            filter::install(program)?;
        }
        Ok(())
    }
}

/// Enters a Landlock domain: no signal of this process or its descendants reaches a process outside the instance, not
/// even through a process group. Connections to abstract sockets stay inside, too, unless `abstract_sockets`. Kernels
/// before 6.12 have no such scopes. The kernel nests domains 16 deep; below that the outer ones still hold.
/// landlock(7)
fn keep_signals_inside(_: &Privileged, abstract_sockets: bool) -> Result<()> {
    let sockets = if abstract_sockets { 0 } else { scope::ABSTRACT_SOCKETS };
    match sys::enter_domain(scope::SIGNALS | sockets) {
        // Landlock is unknown, disabled, too old or nested too deep, or a filter refuses it. The filter is root's, or
        // that of a caller who gains nothing by it.
        Ok(()) | Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::TOOBIG | Errno::PERM) => Ok(()),
        Err(errno) => Err(Error::of("keep signals inside", errno)),
    }
}

/// Whether the kernel can keep signals inside: Landlock ABI 6. `landlock_create_ruleset(2)`
pub fn kernel_keeps_signals_inside() -> bool {
    sys::landlock_abi() >= 6
}

/// Makes a new session keyring, since the caller's has the caller's keys. With the filter, nothing inside can reach
/// either keyring by system calls; but the kernel itself searches the session keyring for keys. If the caller's quota
/// of keys is used up, the filter must suffice. keyrings(7)
pub fn have_own_keys(filtered: bool) -> Result<()> {
    match sys::new_session_keyring() {
        Ok(()) | Err(Errno::NOSYS) => Ok(()),
        // Or an outer filter refuses the call, as ours does.
        Err(Errno::DQUOT | Errno::PERM | Errno::ACCESS) if filtered => Ok(()),
        Err(errno) => Err(Error::of("make a session keyring", errno)
            .hint_if(Errno::DQUOT, "your quota of keys is used up (kernel.keys.maxkeys)")),
    }
}

/// The session and process group of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jobs {
    /// The caller's session and process group: its terminal controls the command as a job.
    Shared,
    /// A new process group, for a shell that controls jobs without a terminal. In another session the kernel would
    /// ignore the terminal's stop signals, since nobody could continue the command.
    OwnGroup,
    /// A new session.
    Own,
}

impl Jobs {
    /// What fits the supervisor, which must call this.
    pub fn of_this_process(new_session: bool) -> Self {
        match new_session {
            false if has_terminal() => Jobs::Shared,
            false if is_a_job() => Jobs::OwnGroup,
            _ => Jobs::Own,
        }
    }

    /// Called in the process that becomes the command: no process outside stays in its group, unless a terminal
    /// controls both. setsid(2), setpgid(2)
    pub fn separate(self) -> Result<()> {
        match self {
            Jobs::Shared => Ok(()),
            Jobs::OwnGroup => setpgid(None, None).or_fail("start a process group"),
            Jobs::Own => setsid().or_fail("start a session").map(drop),
        }
    }
}

/// Whether somebody waits for this process to stop: an outer supervisor, which is invisible here, or a shell in the
/// same session that has given it its own process group. Others would take a stopped job for a slow one. setpgid(2),
/// "orphaned process group"
pub fn is_a_job() -> bool {
    let Some(parent) = getppid() else { return true };
    sys::session_of(Some(parent)) == sys::session_of(None)
        && sys::group_of(Some(parent)) != sys::group_of(None)
}

/// Whether this process has a controlling terminal.
fn has_terminal() -> bool {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK;
    // Without a controlling terminal, opening /dev/tty fails with ENXIO. tty(4)
    match files::open(CWD, b"/dev/tty", flags) {
        Ok(_) => true,
        Err(Errno::NXIO) => false,
        // /dev/tty is missing or closed to the caller. /proc tells too, but is slower.
        Err(_) => terminal_by_number().unwrap_or(false),
    }
}

/// Whether `tty_nr`, field 7 of `/proc/self/stat`, has a controlling terminal. `proc_pid_stat(5)`
fn terminal_by_number() -> Option<bool> {
    let text = read(b"/proc/self/stat")?;
    Some(words(after_name(text)?).nth(4)? != b"0")
}
