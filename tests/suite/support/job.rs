//! A command as a shell starts it: a job, with everything that wait(2) reports of it.

use super::processes::{
    MARK, PROCESS_GROUP, SESSION, deadline, is_own, kill_all, left_of, status_set, tree, wait_until,
};
use super::terminal::open_terminal;
use super::{log, place};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A job of a shell that leads a session: `probe job`. Killed when dropped.
pub struct Job {
    shell: Child,
    /// The terminal or the pipe for its input.
    input: Option<File>,
    output: Option<Lines>,
    events: Lines,
    pid: i32,
    mark: String,
    seen: Transcript,
    ended: bool,
}

/// All that a shell and the reader of a pipe see of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// `stopped N`, `continued`, `exited N`, `signaled N`
    pub events: Vec<String>,
    /// The lines that it prints.
    pub output: Vec<String>,
}

impl Job {
    /// Starts these words, with or without a controlling terminal. stderr goes where stdout goes.
    pub fn start(words: &[OsString], dir: &Path, on_terminal: bool) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        log::report_panics();
        let place = if on_terminal { " on a terminal" } else { "" };
        log::log(format!("$ as a job{place}: {words:?}\n"));
        let mut command = Command::new("setsid");
        let mark = format!("job-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        command.args(on_terminal.then_some("--ctty")).arg(place::bin("probe")).arg("job").args(words);
        command.env(MARK, &mark).current_dir(dir).stdout(Stdio::piped()).stderr(Stdio::piped());
        let master = on_terminal.then(|| {
            let (master, slave) = open_terminal();
            command.stdin(slave);
            master
        });
        if !on_terminal {
            command.stdin(Stdio::piped());
        }
        let mut shell = command.spawn().expect("start setsid");
        // This end of the terminal is closed with it.
        drop(command);
        let pipe = shell.stdin.take().map(|stdin| File::from(OwnedFd::from(stdin)));
        let output = Lines::new(shell.stdout.take().expect("stdout is a pipe"));
        let mut events = Lines::new(shell.stderr.take().expect("stderr is a pipe"));
        let first = events.next().unwrap_or_default();
        let pid = first.strip_prefix("pid ").and_then(|pid| pid.parse().ok());
        let pid = pid.unwrap_or_else(|| panic!("the job has no PID: {first}"));
        let (input, output, seen) = (master.or(pipe), Some(output), Transcript::default());
        Self { shell, input, output, events, pid, mark, seen, ended: false }
    }

    /// The PID of the process that the shell has started.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The next line that it prints, which must be this.
    pub fn prints(&mut self, text: &str) {
        assert_eq!(self.line(), text);
    }

    /// Reads lines until this one comes.
    pub fn prints_at_last(&mut self, text: &str, line: &str) {
        let start = Instant::now();
        while !self.output.as_mut().expect("its output is read").comes(Duration::from_millis(50)) {
            assert!(start.elapsed() < deadline(), "waited in vain for '{text}': {:?}", self.seen);
            self.tell(line);
        }
        self.prints(text);
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        let line = self.output.as_mut().expect("its output is read").next();
        let line = line.unwrap_or_else(|| panic!("it prints no other line: {:?}", self.seen));
        self.seen.output.push(line.clone());
        line
    }

    /// Waits for the next report of wait(2), which must be this.
    pub fn becomes(&mut self, event: &str) {
        let next = self.events.next();
        self.seen.events.extend(next.clone());
        assert_eq!(next.as_deref(), Some(event), "{:?}", self.seen);
    }

    /// Types a line.
    pub fn tell(&mut self, line: &str) {
        // The job may have ended, and then nobody reads.
        let _ = writeln!(self.input.as_mut().expect("its input is open"), "{line}");
    }

    /// Sends a signal to the one process that the shell has started.
    pub fn signal(&self, number: i32) {
        kill(Pid::from_raw(self.pid), signal(number)).expect("send a signal");
    }

    /// Sends a signal to the process group of the job.
    pub fn signal_group(&self, number: i32) {
        killpg(Pid::from_raw(self.pid), signal(number)).expect("send a signal to the group");
    }

    /// Waits until every supervisor has handled its signals. Signals are taken one by one. If no signal is pending,
    /// all have been taken. A supervisor that sleeps again has passed the signal on, or has asked its keeper before.
    /// So this waits for the supervisor, its keeper, and the supervisor again, from the outermost inwards.
    pub fn settle(&self) {
        for pid in tree(self.pid).into_iter().filter(|pid| is_own(*pid)) {
            let helpers: Vec<i32> = tree(pid).into_iter().filter(|other| is_own(*other)).collect();
            wait_until("a supervisor has passed its signals on", || {
                helpers.iter().all(|other| is_idle(*other)) && is_idle(pid)
            });
        }
    }

    /// Closes the terminal, like a closed window; or closes the pipe.
    pub fn hang_up(&mut self) {
        self.input = None;
    }

    /// Stops reading its output.
    pub fn close_output(&mut self) {
        self.output = None;
    }

    /// Waits for its end, and checks that nothing is left. Returns all that was seen.
    pub fn transcript(mut self) -> Transcript {
        while let Some(event) = self.events.next() {
            self.seen.events.push(event);
        }
        while let Some(line) = self.output.as_mut().and_then(Lines::next) {
            self.seen.output.push(line);
        }
        self.shell.wait().expect("wait for the shell");
        wait_until("no process of the job is left", || self.left().is_empty());
        self.ended = true;
        std::mem::take(&mut self.seen)
    }

    fn left(&self) -> Vec<i32> {
        left_of(&self.mark, &[(PROCESS_GROUP, self.pid), (SESSION, self.shell.id().cast_signed())])
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        kill_all(self.left());
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Whether a process sleeps and has no pending signal.
fn is_idle(pid: i32) -> bool {
    let pending = status_set(pid, "SigPnd") | status_set(pid, "ShdPnd");
    let state = place::status_of(&pid.to_string(), &["State"]);
    pending == 0 && !state.starts_with("State: R") && !state.starts_with("State: D")
}

fn signal(number: i32) -> Signal {
    Signal::try_from(number).expect("a signal")
}

/// Lines from a pipe, each of which must come in time.
struct Lines {
    from: File,
    read: Vec<u8>,
}

impl Lines {
    fn new(from: impl Into<OwnedFd>) -> Self {
        Self { from: File::from(from.into()), read: Vec::new() }
    }

    /// Whether there is something to read, within this time.
    fn comes(&self, limit: Duration) -> bool {
        let mut ready = [PollFd::new(self.from.as_fd(), PollFlags::POLLIN)];
        !self.read.is_empty()
            || poll(&mut ready, PollTimeout::try_from(limit).expect("a short time"))
                .is_ok_and(|count| count > 0)
    }

    /// The next line, or `None` if nobody is left to write one.
    fn next(&mut self) -> Option<String> {
        let start = Instant::now();
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            let left = deadline().saturating_sub(start.elapsed());
            let mut ready = [PollFd::new(self.from.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, PollTimeout::try_from(left).expect("a short time")) {
                Ok(0) => panic!("waited in vain for a line"),
                Ok(_) => {}
                Err(_) => continue,
            }
            let mut buffer = [0; 4096];
            match self.from.read(&mut buffer).expect("read from a pipe") {
                0 if self.read.is_empty() => return None,
                0 => return Some(String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()),
                count => self.read.extend(&buffer[..count]),
            }
        }
    }
}
