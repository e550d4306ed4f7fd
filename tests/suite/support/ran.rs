//! The results of a run, and checks that every run must pass.

use super::log::log;
use super::processes::{kill_all, left, patient, wait_until};
use super::properties::CANARY;
use assert_cmd::assert::Assert;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A run that has ended.
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    took: Duration,
}

impl Ran {
    /// Runs a command to its end. The mark is in its environment.
    pub(super) fn new(mut command: Command, mark: &str, timeout: Duration, text: Vec<u8>) -> Self {
        let line = format!("{command:?}");
        let start = Instant::now();
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        let group = child.id().cast_signed();
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        // A command that does not read all its input closes the pipe, which is no error.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&text)));
        let stdout = read_all(child.stdout.take().expect("stdout is a pipe"));
        let stderr = read_all(child.stderr.take().expect("stderr is a pipe"));
        let status = wait_at_most(&mut child, timeout);
        if status.is_none() {
            kill_all(left(mark, group));
        }
        let status = status.unwrap_or_else(|| child.wait().expect("wait"));
        let text = |reader: JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&reader.join().expect("read a pipe")).into_owned()
        };
        let ran = Self { status, stdout: text(stdout), stderr: text(stderr), took: start.elapsed() };
        writer.join().expect("write into a pipe");
        let (stdout, stderr) = (&ran.stdout, &ran.stderr);
        log(format!("$ {line}\n{status} after {:?}\nstdout: {stdout}\nstderr: {stderr}\n", ran.took));
        assert!(ran.took < timeout, "it was still running after {timeout:?}");
        assert!(!ran.stdout.contains(CANARY) && !ran.stderr.contains(CANARY), "the canary was seen");
        wait_until("no process of the run is left", || left(mark, group).is_empty());
        ran
    }

    /// It succeeded, with an empty standard error.
    pub fn ok(&self) -> String {
        self.claim().success().stderr("");
        self.stdout.trim_end().to_owned()
    }

    pub fn exits(self, code: i32) -> Self {
        self.claim().code(code);
        self
    }

    /// It ended and printed as the same command does without selfdock.
    pub fn ends_as(self, plain: &Self) -> Self {
        let told = |ran: &Self| (ran.status, ran.stdout.clone(), ran.stderr.clone());
        assert_eq!(told(&self), told(plain), "with selfdock, and without");
        self
    }

    fn claim(&self) -> Assert {
        let (stdout, stderr) = (self.stdout.clone().into_bytes(), self.stderr.clone().into_bytes());
        Assert::new(Output { status: self.status, stdout, stderr })
    }

    pub fn dies_by(self, signal: i32) -> Self {
        assert_eq!(self.status.signal(), Some(signal), "the signal that ended it");
        self
    }

    /// selfdock refused, and its message has these words.
    pub fn refused(self, words: &str) -> Self {
        let ran = self.refused_somehow();
        assert!(!words.is_empty() && ran.stderr.contains(words), "the refusal does not say '{words}'");
        ran
    }

    /// selfdock refused: status 125, nothing on stdout, one printable line on stderr, in a short time.
    fn refused_somehow(self) -> Self {
        let ran = self.exits(125);
        assert_eq!(ran.stdout, "", "stdout of a refusal");
        assert!(ran.took < patient(Duration::from_secs(20)), "a refusal that took {:?}", ran.took);
        let line = ran.stderr.strip_suffix('\n').expect("a refusal is a line");
        assert!(line.starts_with("selfdock: "), "a refusal begins with the program's name");
        assert!(!line.chars().any(char::is_control), "a refusal is one printable line");
        ran
    }

    /// selfdock refused, or the command worked: for cases in which both are right.
    pub fn refused_or(self, check: impl FnOnce(&Self)) {
        if self.status.code() == Some(125) {
            self.refused_somehow();
        } else {
            check(&self);
        }
    }
}

/// The status of a child that ends in time.
fn wait_at_most(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        let status = child.try_wait().expect("wait");
        if status.is_some() || start.elapsed() > limit {
            return status;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("read a pipe");
        bytes
    })
}
