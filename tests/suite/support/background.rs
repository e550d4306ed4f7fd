//! Commands that run in parallel with the test.

use super::log::log;
use super::processes::{deadline, left, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};

/// A started command. Killed when dropped.
pub struct Background {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    mark: String,
}

impl Background {
    pub(super) fn new(mut command: Command, mark: String) -> Self {
        log(format!("$ {command:?} &\n"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Self { stdin: child.stdin.take(), child, lines, mark }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The next line that it prints.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(deadline()).expect("the command prints a line in time")
    }

    /// This command, after it has echoed a line: it is `cat`, and has started.
    pub fn that_repeats(mut self) -> Self {
        self.write("up\n");
        assert_eq!(self.line(), "up");
        self
    }

    /// The rest of its output, after its end.
    pub fn rest(&self) -> Vec<String> {
        self.lines.iter().collect()
    }

    pub fn write(&mut self, text: &str) {
        self.stdin.as_mut().expect("stdin is open").write_all(text.as_bytes()).expect("write to the command");
    }

    /// Closes its stdin, which ends a shell that reads from it.
    pub fn close(&mut self) {
        self.stdin = None;
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("send a signal");
    }

    /// Its status, which must come in time.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the command ends", || {
            status = self.child.try_wait().expect("wait");
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// Waits until no process of the run is left.
    pub fn leaves_nothing(&self) {
        wait_until("no process of the run is left", || left(&self.mark, self.pid()).is_empty());
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Only this ends a process of another user, which cannot be killed.
        self.close();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
