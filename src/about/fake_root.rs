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
use crate::handover::{About, Task};
use crate::installation::second_program;
use crate::names::PASSWD;
use crate::options::Id;
use crate::process::{pid_digits, read};
use crate::sys::{self, namespace};
use crate::text::{Bytes, decimal, join, number};
use alloc::format;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::mem::MaybeUninit;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, OFlags, StatVfsMountFlags};
use rustix::io::{Errno, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags, SocketType,
    recvmsg, send, socketpair, sockopt,
};
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
    /// has ended. Returns the socket by which the command asks it.
    pub fn start_mapper(&self) -> Result<OwnedFd> {
        let failed = "start the process that maps ids";
        let (own, of_command) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::empty(), None)
                .or_fail(failed)?;
        sockopt::set_socket_passcred(&own, true).or_fail(failed)?;
        let act = || {
            // The command tells the error.
            let told = match self.map(&own) {
                Ok(()) => b".".to_vec(),
                Err(error) => format!("{error}").into_bytes(),
            };
            u8::from(send(&own, &told, SendFlags::NOSIGNAL).is_err())
        };
        start_orphan(failed, || close_descriptors(&[number_of(&own)]), act)?;
        Ok(of_command)
    }

    fn map(&self, own: &OwnedFd) -> Result<()> {
        let pid = asking(own).or_fail("learn who asks for ids")?;
        for (map, range) in [("uid_map", &self.uids), ("gid_map", &self.gids)] {
            let path = join(&[b"/proc/", pid_digits(pid), b"/", map.as_bytes()]);
            let failed = on("open {}", path);
            let file = files::open(CWD, path, OFlags::WRONLY).or_fail(failed)?;
            // A line must lie in one range of the outer namespace. `map_id_range_down()`, kernel/user_namespace.c
            files::write(file.as_fd(), join(&[b"0 0 1\n1 1 ", range.count, b"\n"]))
                .or_fail(on("write {}", path))?;
        }
        Ok(())
    }

    /// Adds the second program and its descriptor to the instance, and puts the second program before the command. The
    /// command gets the descriptors of `--keep-fd` only, so the second program is told their numbers: it closes all
    /// others.
    pub fn put_before(
        about: &About,
        asks: OwnedFd,
        unstarted: Option<Unstarted<'_>>,
        plain: &mut Line<'_>,
    ) -> Result<()> {
        let kept = plain.options.iter().filter(|said| said.opt.id == Id::KeepFd);
        let kept = kept.fold(&b"-"[..], |all, said| join(&[all, b",", said.values[0]]));
        let unstarted = Unstarted::word(unstarted, plain)?;
        let second = second_program(about.program.to_bytes())?;
        let number = decimal(number_of(&asks));
        // selfdock closes it, or the end of this process does.
        core::mem::forget(asks);
        let mut say = |id, values| plain.options.extend(Said::new(id, values));
        say(Id::KeepFd, [number, b""]);
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
        let words = [INSIDE, Task::BECOME_ROOT.to_bytes(), INSIDE, number, kept, unstarted];
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

/// Waits for the byte by which the command asks for its ids. Returns the PID of the command, as seen from here: the
/// kernel tells it. /proc need not show the processes of an instance (hidepid). unix(7), `SCM_CREDENTIALS`
fn asking(own: &OwnedFd) -> rustix::io::Result<Pid> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut told = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8; 1];
    let got = recvmsg(own, &mut [IoSliceMut::new(&mut byte)], &mut told, RecvFlags::empty())?;
    let credentials = told.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(who) => Some(who.pid),
        _ => None,
    });
    // If the command is gone, nobody waits for its ids.
    credentials.filter(|_| got.bytes == 1).ok_or(Errno::SRCH)
}

/// In the instance: becomes root of a user namespace, and then the command.
pub fn become_root(about: &About, words: &[&[u8]]) -> Result<Infallible> {
    let failed = "become root";
    let [asks, kept, unstarted, command @ ..] = words else {
        return Err(Error::refused(failed, "arguments are missing"));
    };
    let unstarted = Unstarted::take(unstarted)?;
    let become_it = || {
        let none = "user namespaces are disabled in this instance";
        sys::unshare(namespace::USER).or_fail(failed).map_err(|e| e.hint_if(Errno::PERM, none))?;
        ask_for_ids(asks)?;
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

fn ask_for_ids(asks: &[u8]) -> Result<()> {
    let failed = "map ids";
    let asks = small(asks).ok_or(Errno::BADF).and_then(sys::duplicate).or_fail(failed)?;
    send(&asks, b".", SendFlags::NOSIGNAL).or_fail(failed)?;
    let mut told = [0u8; 1024];
    let count = rustix::io::read(&asks, &mut told).or_fail(failed)?;
    match &told[..count] {
        b"." => Ok(()),
        b"" => Err(Error::refused(failed, "the process outside that has the rights for it was killed")),
        why => Err(Error::plain(both("{=}: {=}", failed.as_bytes(), why))),
    }
}
