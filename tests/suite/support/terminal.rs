//! A real terminal, for what is interactive.

use super::{place, ran};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(10);

/// The outer end of a pseudo-terminal, and the session that runs on it.
pub struct Terminal {
    master: File,
    output: Receiver<Vec<u8>>,
    /// What has been shown and not yet been expected.
    shown: String,
    child: Child,
}

impl Terminal {
    /// Starts a program as the leader of a session of its own, with the terminal as its controlling one.
    pub fn start(words: &[&str]) -> Self {
        ran::report_panics();
        ran::log(&format!("on a terminal: {words:?}"), None);
        let pty = nix::pty::openpty(None, None).expect("openpty");
        let end = || File::from(pty.slave.try_clone().expect("duplicate the terminal"));
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg("--wait").args(words);
        command.env("PS1", "ready> ").env("TERM", "dumb").env("SELFDOCK", place::selfdock());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("start setsid");
        let master = File::from(pty.master);
        let mut reader = master.try_clone().expect("duplicate the terminal");
        let (send, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // EIO: nobody is left at the other end.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { master, output, shown: String::new(), child }
    }

    /// Types.
    pub fn send(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("write to the terminal");
    }

    /// Waits until the terminal has shown `text`, and forgets everything up to there.
    pub fn expect(&mut self, text: &str) -> String {
        let found = self.shows(text, DEADLINE);
        found.unwrap_or_else(|| panic!("no '{text}' in time on the terminal:\n{}", self.shown))
    }

    /// Presses a key until the terminal shows `text`: a shell hands the terminal to a job a moment after it has
    /// named the job.
    pub fn press_until(&mut self, key: &str, text: &str) {
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            self.send(key);
            if self.shows(text, Duration::from_millis(500)).is_some() {
                return;
            }
        }
        panic!("no '{text}' after {key:?} on the terminal:\n{}", self.shown);
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

    /// Gives the terminal another size.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = format!("rows {rows} columns {columns}");
        let mut command = Command::new("stty");
        let set = command.args(size.split(' ')).stdin(self.master.try_clone().expect("duplicate"));
        assert!(set.status().expect("start stty").success());
    }

    /// Takes the terminal away, as a window that is closed. Gives the PID of setsid, above the session.
    pub fn close(self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Waits for the session to end.
    pub fn wait(mut self) -> ExitStatus {
        let mut status = None;
        super::wait_until("the session ends", || {
            status = self.child.try_wait().expect("wait");
            status.is_some()
        });
        status.expect("it has ended")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
