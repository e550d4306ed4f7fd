//! A real terminal, for interactive tests.

use super::processes::{MARK, SESSION, deadline, is_stopped, kill_all, left_of, wait_until};
use super::{log, place};
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The outer end of a pseudo-terminal, and the session that runs on it.
pub struct Terminal {
    master: Option<File>,
    output: Receiver<Vec<u8>>,
    /// Output that has not been matched yet.
    shown: String,
    child: Child,
    /// Identifies the processes of the session.
    mark: String,
    reader: Option<JoinHandle<()>>,
    closed: Arc<AtomicBool>,
}

impl Terminal {
    /// Starts a program as the leader of a new session, with the terminal as its controlling one.
    pub fn start(words: &[&str]) -> Self {
        Self::start_with(words, &[])
    }

    /// Starts a program as [`Self::start`] does, with these variables.
    pub fn start_with(words: &[&str], variables: &[(&str, &str)]) -> Self {
        log::report_panics();
        log::log(format!("$ on a terminal: {words:?}\n"));
        let (master, slave) = open_terminal();
        let end = || slave.try_clone().expect("duplicate the terminal");
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).args(words);
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("terminal-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        command.env(MARK, &mark).env("PS1", "ready> ").env("TERM", "dumb").env("SELFDOCK", place::selfdock());
        command.envs(variables.iter().copied());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("start setsid");
        let reader = master.try_clone().expect("duplicate the terminal");
        let (send, output) = channel();
        let closed = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&closed);
        let reader = Some(std::thread::spawn(move || read_until(reader, &stop, &send)));
        Self { master: Some(master), output, shown: String::new(), child, mark, reader, closed }
    }

    /// Types.
    pub fn send(&mut self, text: &str) {
        self.master.as_mut().expect("it is open").write_all(text.as_bytes()).expect("write to the terminal");
    }

    /// Waits until the terminal has shown `text`, and forgets all output up to there.
    pub fn expect(&mut self, text: &str) -> String {
        let found = self.shows(text, deadline());
        found.unwrap_or_else(|| panic!("no '{text}' in time on the terminal:\n{}", self.shown))
    }

    /// Presses a key until the terminal shows `text`: a shell hands the terminal to a job a moment after it has
    /// named the job.
    pub fn press_until(&mut self, key: &str, text: &str) {
        let start = Instant::now();
        while start.elapsed() < deadline() {
            self.send(key);
            if self.shows(text, Duration::from_millis(500)).is_some() {
                return;
            }
        }
        panic!("no '{text}' after {key:?} on the terminal:\n{}", self.shown);
    }

    /// Waits until a process of the session is stopped.
    pub fn wait_for_a_stop(&self) {
        wait_until("a process is stopped", || self.left().iter().any(|pid| is_stopped(*pid)));
    }

    fn shows(&mut self, text: &str, limit: Duration) -> Option<String> {
        let start = Instant::now();
        loop {
            if let Some(at) = self.shown.find(text) {
                return Some(self.shown.drain(..at + text.len()).collect());
            }
            match self.output.recv_timeout(limit.saturating_sub(start.elapsed())) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => panic!("closed before '{text}':\n{}", self.shown),
            }
        }
    }

    /// Changes the size of the terminal.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = format!("rows {rows} columns {columns}");
        let mut command = Command::new("stty");
        let set = command
            .args(size.split(' '))
            .stdin(self.master.as_ref().expect("it is open").try_clone().expect("duplicate"));
        assert!(set.status().expect("start stty").success());
    }

    /// Closes the terminal, like a closed window, and waits until nothing of the session is left.
    pub fn close_and_leave_nothing(mut self) {
        self.hang_up();
        wait_until("nothing of the session is left", || {
            let _ = self.child.try_wait();
            self.left().is_empty()
        });
    }

    /// The processes with the mark, and those of the session, since nobody can inspect a supervisor or a keeper.
    fn left(&self) -> Vec<i32> {
        left_of(&self.mark, &[(SESSION, self.child.id().cast_signed())])
    }

    /// Closes the outer end: the kernel tells the session.
    fn hang_up(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.master = None;
    }

    /// Waits for the session to end.
    pub fn wait(mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the session ends", || {
            status = self.child.try_wait().expect("wait");
            status.is_some()
        });
        status.expect("it has ended")
    }
}

/// Both ends of a new pseudo-terminal, the outer one first. Programs that are started meanwhile do not inherit them.
pub(super) fn open_terminal() -> (File, File) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).expect("posix_openpt");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("unlock the terminal");
    let name = ptsname_r(&master).expect("the name of the terminal");
    let slave = open(name.as_str(), flags, Mode::empty()).expect("open the terminal");
    (File::from(OwnedFd::from(master)), File::from(slave))
}

/// Forwards the output of the terminal, until it is closed at either end.
fn read_until(mut terminal: File, stop: &AtomicBool, send: &Sender<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        let mut ready = [PollFd::new(terminal.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, 20u8) == Ok(0) {
            continue;
        }
        match terminal.read(&mut buffer) {
            Ok(count @ 1..) if send.send(buffer[..count].to_vec()).is_ok() => {}
            // EIO: the other end is closed.
            _ => return,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.hang_up();
        kill_all(self.left());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
