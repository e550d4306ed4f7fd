//! Programs that must work on namespaces from outside: set-uid helpers (newuidmap), and pasta, which needs the host's
//! network. A helper process is started before the namespaces exist. It waits until they do, and then starts these
//! programs. They are processes of the caller, as if started in a shell.

use super::foreign::hint;
use crate::descriptors::{close_descriptors, number_of};
use crate::error::{Context, Error, NOT_FOUND, OrFail, Result, is_unprintable, on, say};
use crate::files;
use crate::sys::{self, Disposition, Pointers, signal::PIPE};
use crate::text::{Bytes, c_string, number};
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, pidfd_open, pidfd_send_signal, setsid, waitpid,
};

/// A program by its path, and its arguments.
pub struct Job {
    /// The path and the arguments.
    pub words: Vec<Bytes>,
    /// Set if the program goes on in the background when it is ready, and must end with the instance. With this option
    /// and a file the program writes its PID to the file.
    pub pid_option: Option<Bytes>,
}

/// The helper process outside.
pub struct Outside {
    pid: Pid,
    /// A pipe to the helper. A byte says that the namespaces exist.
    start: OwnedFd,
    /// A pipe from the helper. A byte says how many jobs have succeeded.
    done: OwnedFd,
    /// What each program says.
    programs: Vec<Said>,
}

/// Starts the helper process.
pub fn start(jobs: &[Job], environment: &[&CStr]) -> Result<Outside> {
    let failed = "start a helper process outside";
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).or_fail(failed);
    let ((wait, start), (done, finished)) = (pipe()?, pipe()?);
    let mut programs = Vec::new();
    for job in jobs {
        programs.push(Said::new(job.words[0]).or_fail(failed)?);
    }
    let supervisor = getpid();
    let number = number_of(&start);
    let act = || {
        // The helper closes its own copy. Otherwise it would not notice the end of its parent.
        if sys::close_range(number, number).is_err() {
            return 1;
        }
        let is_ready = matches!(rustix::io::read(&wait, &mut [0u8; 1][..]), Ok(1));
        let mut all = jobs.iter().zip(&programs);
        let mut count = 0;
        while is_ready && all.next().is_some_and(|(job, said)| run(job, environment, supervisor, said)) {
            count += 1;
        }
        u8::from(rustix::io::write(&finished, &[count]).is_err())
    };
    let pid = sys::start_child(0, act).or_fail(failed)?;
    Ok(Outside { pid, start, done, programs })
}

/// Runs a program to its end, or until it is ready. Returns whether it succeeded.
fn run(job: &Job, environment: &[&CStr], supervisor: Pid, said: &Said) -> bool {
    let run = || {
        let (reader, writer) = rustix::pipe::pipe()?;
        let number = number_of(&writer);
        let mut words = Vec::new();
        for word in &job.words {
            words.push(c_string(word)?);
        }
        if let Some(option) = job.pid_option {
            let own = [option, files::name_of(&writer)];
            words.splice(1..1, [c_string(own[0])?, c_string(own[1])?]);
        }
        let act = || {
            // A program that stays must not hold descriptors of the caller.
            let keep: &[u32] = if job.pid_option.is_some() { &[number] } else { &[] };
            // pasta does not start if SIGPIPE is ignored, as programs in Python leave it.
            let is_ready = said.listen().is_ok()
                && close_descriptors(keep).is_ok()
                && sys::dispose(PIPE, Disposition::Default).is_ok();
            if is_ready {
                sys::execve(words[0], &Pointers::new(&words), &Pointers::new(environment));
            }
            NOT_FOUND
        };
        let pid = sys::start_child(0, act)?;
        match waitpid(Some(pid), WaitOptions::empty()) {
            // If the caller ignores SIGCHLD, there is no status.
            Ok(Some((_, status))) if status.exit_status() == Some(0) => {}
            Err(Errno::CHILD) => {}
            _ => return Err(Errno::CHILD),
        }
        drop(writer);
        if job.pid_option.is_some() { watch(&reader, supervisor) } else { Ok(()) }
    };
    run().is_ok()
}

/// Starts a process that kills a program when the instance has ended.
fn watch(reader: &OwnedFd, supervisor: Pid) -> rustix::io::Result<()> {
    let mut digits = [0u8; 16];
    let count = rustix::io::read(reader, &mut digits)?;
    let pid = number(digits[..count].trim_ascii(), 10).and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    let served = pidfd_open(supervisor, PidfdFlags::empty())?;
    let serves = pidfd_open(pid, PidfdFlags::empty())?;
    let act = || {
        if stand_apart(&[&served, &serves].map(number_of)).is_err() {
            return 1;
        }
        let mut either = [PollFd::new(&served, PollFlags::IN), PollFd::new(&serves, PollFlags::IN)];
        while poll(&mut either, None) == Err(Errno::INTR) {}
        u8::from(pidfd_send_signal(&serves, Signal::KILL).is_err())
    };
    sys::start_child(0, act).map(drop)
}

/// Starts a process as an orphan, so that no process of selfdock has to wait for it. Its parent runs `first`. So
/// `first` is done when this function returns.
pub fn start_orphan(
    failed: &'static str,
    first: impl FnOnce() -> Result<()>,
    act: impl FnOnce() -> u8,
) -> Result<()> {
    let between = sys::start_child(0, || u8::from(first().is_err() || sys::start_child(0, act).is_err()));
    match waitpid(Some(between.or_fail(failed)?), WaitOptions::empty()) {
        Ok(Some((_, status))) if status.exit_status() != Some(0) => Err(Error::of(failed, Errno::AGAIN)),
        _ => Ok(()),
    }
}

/// Leaves the session, so that no signal of the terminal arrives, and closes all descriptors except these.
pub fn stand_apart(kept: &[u32]) -> Result<()> {
    let failed = "leave the session";
    setsid().or_fail(failed)?;
    let nothing = files::open(CWD, b"/dev/null", OFlags::RDWR).or_fail(failed)?;
    (0..3).try_for_each(|standard| sys::redirect(number_of(&nothing), standard)).or_fail(failed)?;
    // A debug build ends if a descriptor is closed twice.
    drop(nothing);
    close_descriptors(kept)
}

impl Outside {
    /// Tells the helper that the namespaces exist, and waits until it has run all jobs. If a program has failed, its
    /// last words are the reason. Otherwise they are printed.
    pub fn finish(self) -> Result<()> {
        let failed = "wait for the helper process outside";
        rustix::io::write(&self.start, b".").or_fail(failed)?;
        drop(self.start);
        let mut count = [0u8; 1];
        let count_read = rustix::io::read(&self.done, &mut count[..]).or_fail(failed)?;
        // The pipe has told the result already.
        let _ = waitpid(Some(self.pid), WaitOptions::empty());
        match self.programs.get(usize::from(count[0])) {
            None if count_read == 1 => {
                self.programs.iter().for_each(Said::pass_on);
                Ok(())
            }
            Some(said) => Err(said.error(on("run {} outside", said.program))),
            None => Err(Error::refused(failed, "it has ended")),
        }
    }
}

/// What a program writes to standard error, in a pipe: if it fails, its last words are the reason of an error.
pub struct Said {
    program: Bytes,
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Said {
    /// For a program. Nobody reads before its end, so what does not fit into the pipe is dropped.
    pub fn new(program: Bytes) -> rustix::io::Result<Self> {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Said { program, reader, writer })
    }

    /// Called in the process that becomes the program.
    pub fn listen(&self) -> rustix::io::Result<()> {
        sys::redirect(number_of(&self.writer), 2)
    }

    fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(files::PIPE);
        let _ = rustix::io::read(&self.reader, rustix::buffer::spare_capacity(&mut text));
        text
    }

    /// Prints what a program has said that did not fail.
    pub fn pass_on(&self) {
        say(sys::standard(2), &self.text());
    }

    /// The error for a program that has failed.
    pub fn error(&self, what: impl Context) -> Error {
        Error::refused(what, reason(self.program, &self.text()).unwrap_or("it failed"))
    }
}

/// Why a program has failed: the last line that it has written, or the first one if it has explained its usage. The
/// program's own name before it is left out.
fn reason(program: &[u8], text: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(text);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_usage = |line: &str| line.starts_with("Usage:");
    let line = if lines.clone().any(is_usage) { lines.next() } else { lines.next_back() }?;
    let path = core::str::from_utf8(program).unwrap_or_default();
    let names = [path, path.rsplit('/').next().unwrap_or_default()];
    let after = |name: &str| line.strip_prefix(name).and_then(|rest| rest.strip_prefix(": "));
    let line = names.into_iter().find_map(after).unwrap_or(line);
    // A message ends with its reason, not with a full stop.
    let line = line.strip_suffix('.').unwrap_or(line);
    let line: String = line.chars().map(|c| if is_unprintable(c) { '?' } else { c }).collect();
    Some(hint(&[line.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_last_line_of_a_program() {
        for (text, why) in [
            (
                "newuidmap: uid range [0-1) -> [5-6) not allowed\n",
                Some("uid range [0-1) -> [5-6) not allowed"),
            ),
            ("newuidmap: Cannot determine your user name.\n\n", Some("Cannot determine your user name")),
            ("Changing to nobody...\nFailed to bind, exiting\n", Some("Failed to bind, exiting")),
            (
                "/usr/bin/newuidmap: unrecognized option '--x'\nUsage: it\n  -h\n",
                Some("unrecognized option '--x'"),
            ),
            ("a\u{1b}[31mb", Some("a?[31mb")),
            ("\n \n", None),
            ("", None),
        ] {
            assert_eq!(reason(b"/usr/bin/newuidmap", text.as_bytes()), why, "{text}");
        }
    }
}
