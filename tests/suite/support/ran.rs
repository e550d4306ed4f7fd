//! The results of a run, and checks that every run must pass.

use super::background::{kill_all, left};
use super::{CANARY, Cmd, place, wait_until};
use assert_cmd::assert::Assert;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Output, Stdio};
use std::sync::Once;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A run that has ended.
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    took: Duration,
}

thread_local! {
    /// The last runs of this test, for the report of a failure.
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl Ran {
    pub(super) fn new(mut cmd: Cmd) -> Self {
        let (line, timeout, mark) = (format!("{:?}", cmd.command), cmd.timeout, cmd.mark);
        let start = Instant::now();
        let command = cmd.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        let group = child.id().cast_signed();
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        let text = cmd.stdin.unwrap_or_default();
        // A command that does not read all its input closes the pipe, which is no error.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&text)));
        let stdout = read_all(child.stdout.take().expect("stdout is a pipe"));
        let stderr = read_all(child.stderr.take().expect("stderr is a pipe"));
        let status = wait_at_most(&mut child, timeout);
        if status.is_none() {
            kill_all(left(&mark, group));
        }
        let status = status.unwrap_or_else(|| child.wait().expect("wait"));
        let text = |reader: JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&reader.join().expect("read a pipe")).into_owned()
        };
        let ran = Self { status, stdout: text(stdout), stderr: text(stderr), took: start.elapsed() };
        writer.join().expect("write into a pipe");
        log(&line, Some(&ran));
        assert!(ran.took < timeout, "it was still running after {timeout:?}");
        assert!(!ran.stdout.contains(CANARY) && !ran.stderr.contains(CANARY), "the canary was seen");
        wait_until("no process of the run is left", || left(&mark, group).is_empty());
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
    pub fn ends_as(self, plain: Cmd) -> Self {
        let plain = plain.output();
        let told = |ran: &Self| (ran.status, ran.stdout.clone(), ran.stderr.clone());
        assert_eq!(told(&self), told(&plain), "with selfdock, and without");
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
        assert!(ran.took < super::patient(Duration::from_secs(20)), "a refusal that took {:?}", ran.took);
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

/// Records a run, for the report of a failure.
pub(super) fn log(line: &str, ran: Option<&Ran>) {
    let mut text = format!("$ {line}\n");
    if let Some(ran) = ran {
        let (status, took) = (ran.status, ran.took);
        write!(text, "{status} after {took:?}\nstdout: {}\nstderr: {}\n", ran.stdout, ran.stderr)
            .expect("a string");
    }
    LOG.with_borrow_mut(|log| {
        log.push(text);
        let surplus = log.len().saturating_sub(3);
        log.drain(..surplus);
    });
}

/// A failing test prints its runs, its user, the results, and its mounts.
pub(super) fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            usual(panic);
            let log = LOG.with_borrow(|log| log.join("\n"));
            eprintln!("\nlast runs:\n{log}\nuser:\n{}\n\nmounts:\n{}", place::ids(), place::host_mounts());
        }));
    });
}
