//! `--fake-root`: inside, the command is uid 0 and can use other ids. Outside, uid 0 is the caller, and the other ids
//! are the caller's subordinate ids. newuidmap(1) maps them in the user namespace in which selfdock is started. There
//! selfdock gives up all privilege, as everywhere. So it starts this program in place of the command. This program
//! makes a second user namespace, in which it is root. A process of the first one maps the same ids in the second one.

use super::attend::Unstarted;
use super::front::{Line, Said, program};
use super::outside::{Job, start_orphan};
use crate::cli::{Request, small};
use crate::command::{Command, DEFAULT_PATH, variable};
use crate::creds::{self, Caller};
use crate::descriptors::{close_descriptors, number_of};
use crate::error::{Error, OrFail, Result, both, on};
use crate::files;
use crate::handover::{About, FAKE_ROOT};
use crate::installation::second_program;
use crate::names::PASSWD;
use crate::options::Id;
use crate::process::{Process, all, read, shown};
use crate::sys::{self, namespace};
use crate::text::{Bytes, decimal, join, number};
use alloc::vec::Vec;
use core::convert::Infallible;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::process::Pid;

/// Subordinate ids of a caller.
pub struct Ids {
    uids: Range,
    gids: Range,
    helpers: [Bytes; 2],
}

#[derive(Clone, Copy)]
struct Range {
    first: Bytes,
    count: Bytes,
}

const OPTION: &str = "option --fake-root";

impl Ids {
    /// Finds the helpers and the caller's subordinate ids. An error says what is missing.
    pub fn find(about: &About) -> Result<Self> {
        let mut helpers: [Bytes; 2] = [b"newuidmap", b"newgidmap"];
        for helper in &mut helpers {
            let path = program(about, helper).or_else(|| {
                let usual = join(&[b"/usr/bin/", helper]);
                files::identity_of(usual).is_ok().then_some(usual)
            });
            let missing = || {
                Error::refused(both("{=}: find {}", OPTION.as_bytes(), helper), "no directory of PATH has it")
                    .hint("your distribution has it as 'uidmap' or 'shadow-utils'")
            };
            *helper = path.ok_or_else(missing)?;
        }
        if rustix::thread::no_new_privs().unwrap_or(false) || is_inert(helpers[0]) {
            return Err(Error::refused(OPTION, "newuidmap is set-uid, and no set-uid bit counts here")
                .hint("in an instance only that of selfdock counts"));
        }
        let uids = Range::of(about, b"/etc/subuid")?;
        let gids = Range::of(about, b"/etc/subgid")?;
        Ok(Ids { uids, gids, helpers })
    }

    /// The command lines that map the ids for a process.
    pub fn commands(&self, caller: Caller, pid: Bytes) -> [Job; 2] {
        let words = |helper: Bytes, own: u32, range: &Range| {
            let words = Vec::from([helper, pid, b"0", decimal(own), b"1", b"1", range.first, range.count]);
            Job { words, pid_option: None }
        };
        [words(self.helpers[0], caller.uid, &self.uids), words(self.helpers[1], caller.gid, &self.gids)]
    }

    /// Starts the process that maps the same ids in the namespace that the command makes. This process has the rights
    /// for that in the namespace of this one. It is an orphan. It ends when it has mapped the ids, or when the instance
    /// has ended. Returns the descriptors by which the command asks it.
    pub fn start_mapper(&self) -> Result<[OwnedFd; 2]> {
        let failed = "start the process that maps ids";
        let ((asked, ask), (answered, answer)) =
            (rustix::pipe::pipe().or_fail(failed)?, rustix::pipe::pipe().or_fail(failed)?);
        let supervisor = rustix::process::getpid();
        let kept = [&asked, &answer].map(number_of);
        let act = || match self.map(supervisor, &asked, &answer) {
            Ok(()) => 0,
            Err(error) => error.report(),
        };
        start_orphan(failed, || close_descriptors(&kept), act)?;
        Ok([ask, answered])
    }

    fn map(&self, supervisor: Pid, asked: &OwnedFd, answer: &OwnedFd) -> Result<()> {
        if rustix::io::read(asked, &mut [0u8; 1][..]) != Ok(1) {
            return Ok(());
        }
        // If the command is gone, nobody waits for its ids.
        let Some(pid) = command_of(supervisor)? else { return Ok(()) };
        for (map, range) in [("uid_map", &self.uids), ("gid_map", &self.gids)] {
            let path = join(&[b"/proc/", pid, b"/", map.as_bytes()]);
            let failed = on("map ids in {}", path);
            let file = files::open(CWD, path, OFlags::WRONLY).or_fail(failed)?;
            // A line must lie in one range of the outer namespace. `map_id_range_down()`, kernel/user_namespace.c
            files::write(file.as_fd(), join(&[b"0 0 1\n1 1 ", range.count, b"\n"])).or_fail(failed)?;
        }
        rustix::io::write(answer, b".").or_fail("answer the command").map(drop)
    }

    /// Adds the second program and its descriptors to the instance, and puts the second program before the command. The
    /// command gets the descriptors of `--keep-fd` only, so the second program is told their numbers: it closes all
    /// others.
    pub fn put_before(
        about: &About,
        fds: [OwnedFd; 2],
        unstarted: Option<Unstarted<'_>>,
        plain: &mut Line<'_>,
    ) -> Result<()> {
        let kept = plain.options.iter().filter(|said| said.opt.id == Id::KeepFd);
        let kept = kept.fold(&b"-"[..], |all, said| join(&[all, b",", said.values[0]]));
        let unstarted = Unstarted::word(unstarted, plain)?;
        let second = second_program(about.program.to_bytes())?;
        let numbers = fds.map(|fd| {
            let number = decimal(number_of(&fd));
            // selfdock closes it, or the end of this process does.
            core::mem::forget(fd);
            number
        });
        let mut say = |id, values| plain.options.extend(Said::new(id, values));
        for fd in numbers {
            say(Id::KeepFd, [fd, b""]);
        }
        say(Id::Map, [second, INSIDE]);
        // An empty element would be the current directory.
        let path = variable(&about.environment, b"PATH").filter(|path| !path.is_empty());
        let path = path.unwrap_or(DEFAULT_PATH);
        let mut whole = path;
        for dir in [&b"/usr/local/sbin"[..], b"/usr/sbin", b"/sbin"] {
            if !path.split(|b| *b == b':').any(|other| other == dir) {
                whole = join(&[whole, b":", dir]);
            }
        }
        let is_path = |word: &[u8]| word == b"PATH" || word.starts_with(b"PATH=");
        let is_chosen = plain.options.iter().any(|said| match said.opt.id {
            Id::ClearEnv => true,
            Id::Env | Id::UnsetEnv => is_path(said.values[0]),
            _ => false,
        });
        if whole.len() > path.len() && !is_chosen {
            plain.options.extend(Said::new(Id::Env, [b"PATH", join(&[whole])]));
        }
        let [ask, answered] = numbers;
        let words = [INSIDE, FAKE_ROOT.to_bytes(), INSIDE, ask, answered, kept, unstarted];
        plain.command.splice(0..0, words);
        Ok(())
    }
}

/// The path of the second program in such an instance. It is in no image.
pub const INSIDE: &[u8] = b"/dev/shm/selfdock-about";

/// Whether set-uid bits do not count on a file.
fn is_inert(path: &[u8]) -> bool {
    let flags = files::open(CWD, path, OFlags::PATH).and_then(rustix::fs::fstatvfs);
    flags.is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::NOSUID))
}

impl Range {
    /// The first range of a file for the caller. subuid(5)
    fn of(about: &About, path: &'static [u8]) -> Result<Self> {
        let uid = decimal(about.caller.uid);
        let passwd = read(PASSWD).unwrap_or_default();
        let mut names: Vec<&[u8]> = Vec::from([uid]);
        for line in passwd.split(|b| *b == b'\n') {
            let mut fields = line.split(|b| *b == b':');
            if let (Some(name), Some(_), Some(id)) = (fields.next(), fields.next(), fields.next())
                && id == uid
            {
                names.push(name);
            }
        }
        // A directory service may have the name. newuidmap checks it there.
        names.extend(variable(&about.environment, b"USER"));
        let text = read(path).unwrap_or_default();
        for line in text.split(|b| *b == b'\n') {
            let mut fields = line.split(|b| *b == b':');
            if let (Some(name), Some(first), Some(count)) = (fields.next(), fields.next(), fields.next())
                && names.contains(&name)
                && number(first, 10).is_some()
                && number(count, 10).is_some_and(|count| count > 0)
            {
                return Ok(Range { first: join(&[first]), count: join(&[count]) });
            }
        }
        Err(Error::refused(both("{=}: read {}", OPTION.as_bytes(), path), "it lists no ids for you")
            .hint("as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 YOU"))
    }
}

/// The PID of a supervisor's command, as seen from outside: the child that is one PID namespace deeper, and is not PID
/// 1 there.
fn command_of(supervisor: Pid) -> Result<Option<Bytes>> {
    let Some(own) = Process::read(supervisor) else { return Ok(None) };
    let children = own.children();
    let found = if children.is_empty() { all()? } else { children };
    let is_it = |process: &&Process| {
        process.parent == Some(supervisor) && process.depth > own.depth && !process.is_pid1()
    };
    Ok(found.iter().find(is_it).map(|found| shown(found.pid)))
}

/// In the instance: becomes root of a user namespace, and then the command.
pub fn become_root(about: &About, words: &[&[u8]]) -> Result<Infallible> {
    let failed = "become root";
    let [ask, answered, kept, unstarted, command @ ..] = words else {
        return Err(Error::refused(failed, "arguments are missing"));
    };
    let unstarted = Unstarted::take(unstarted)?;
    let become_it = || {
        let none = "user namespaces are disabled in this instance";
        sys::unshare(namespace::USER).or_fail(failed).map_err(|e| e.hint_if(Errno::PERM, none))?;
        ask_for_ids(ask, answered)?;
        creds::verify_ids(Caller { uid: 0, gid: 0 })?;
        let kept = kept.split(|byte| *byte == b',').filter_map(small);
        close_descriptors(&kept.chain(unstarted.iter().map(number_of)).collect::<Vec<u32>>())?;
        let request = Request { command: command.to_vec(), ..Request::default() };
        Command::check::<Error>(&request, &about.environment, None)
    };
    let error = match become_it() {
        Ok(command) => command.exec(),
        Err(error) => error,
    };
    Unstarted::end(unstarted.as_ref(), &error)
}

fn ask_for_ids(ask: &[u8], answered: &[u8]) -> Result<()> {
    let failed = "map ids";
    let open = |digits| small(digits).ok_or(Errno::BADF).and_then(sys::duplicate).or_fail(failed);
    let (ask, answered) = (open(ask)?, open(answered)?);
    rustix::io::write(&ask, b".").or_fail(failed)?;
    match rustix::io::read(&answered, &mut [0u8; 1][..]).or_fail(failed)? {
        1 => Ok(()),
        _ => Err(Error::refused(failed, "the process that maps them has failed")),
    }
}
