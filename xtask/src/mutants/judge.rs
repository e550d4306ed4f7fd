//! Installs mutants and runs the suite against them. It is a separate process, the only one with root's rights.

use crate::cargo::Built;
use crate::install_test::{home_of, set_up};
use crate::place::{place_about, place_program};
use crate::prefix::{Prefix, own_mounts};
use crate::run::{Context, Result, again_as_root, can_become_root, is_root, no_more};
use crate::stop::Stop;
use crate::suite::{Suite, User};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// All modules of the suite.
pub const ALL: &str = "";

/// Which tests are run, in which order: words, each a module, a test, a case of a test, or several of them with commas
/// in between. What one word names is run together. After `@` stand the only calls that [`FAILING`] makes fail, with
/// `+` in between.
pub type Selection = str;

/// The module that makes system calls fail.
pub const FAILING: &str = "failing_calls";

/// Tells that module which calls.
const FAILING_CALLS: &str = "SELFDOCK_FAILING_CALLS";

/// The judging process, and the pipes to it.
pub struct Judge {
    child: Child,
    questions: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Judge {
    /// Sets up a prefix and the fixtures.
    pub fn start(built: &Built) -> Result<Self> {
        can_become_root()?;
        let (mut command, user) = if is_root() {
            (Command::new(std::env::current_exe().context("find the running program")?), User::OF_MUTANTS)
        } else {
            let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
            (again_as_root()?, User { uid, gid })
        };
        command.args(["mutants", "--judge", "--as", &format!("{}:{}", user.uid, user.gid)]);
        command.args(built.words());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start the judge")?;
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
        let mut judge = Judge { child, questions, answers };
        judge.answer()?;
        Ok(judge)
    }

    /// The first test that fails with the programs of this directory, and does not with the originals.
    pub fn first_failure(
        &mut self,
        programs: &Path,
        original: &Path,
        selection: &Selection,
    ) -> Result<Option<String>> {
        let questions = self.questions.as_mut().expect("open until dropped");
        let (programs, original) = (programs.display(), original.display());
        writeln!(questions, "{programs}\t{original}\t{selection}").context("ask the judge")?;
        let answer = self.answer()?;
        Ok(Some(answer).filter(|test| !test.is_empty()))
    }

    fn answer(&mut self) -> Result<String> {
        loop {
            let line = self.answers.next().ok_or("the judge has ended")?.context("hear the judge")?;
            if let Some(answer) = line.strip_prefix(MARK) {
                return Ok(answer.to_owned());
            }
        }
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        // The judge ends and cleans up when its input ends.
        self.questions = None;
        let _ = self.child.wait();
    }
}

/// The most tests that may fail without a mutant: those that measure, or that this machine cannot pass.
const MOST_LEFT_OUT: usize = 20;

/// How long no test may end. A mutant that hangs is waited for so long.
const LONGEST_WAIT: Duration = Duration::from_secs(200);

/// Marks the answers among other output.
const MARK: &str = "answer: ";

/// The judge's side.
pub fn main(mut args: pico_args::Arguments) -> Result {
    let user = args.value_from_fn("--as", User::parse).context("--as")?;
    let built = Built::take(&mut args)?;
    no_more(args)?;
    let stop = Stop::watch()?;
    own_mounts()?;
    let prefix = Prefix::new(false)?;
    let home = home_of(user)?;
    let suite = set_up(&prefix.path, &built, user, home.path())?;
    let tests = suite.list(&[])?;
    let mut court =
        Court { suite, prefix: prefix.path.clone(), stop, tests, sane: BTreeSet::new(), left_out: 0 };
    // Processes that a mutant leaves become our children.
    set_child_subreaper(true).context("become the parent of orphans")?;
    println!("{MARK}");
    for question in std::io::stdin().lines() {
        let question = question.context("read a question")?;
        let [programs, original, selection] = *question.split('\t').collect::<Vec<_>>() else {
            return Err("not a question".into());
        };
        let failure = court.first_failure([programs, original].map(Path::new), selection)?;
        if court.stop.requested() {
            break;
        }
        println!("{MARK}{}", failure.unwrap_or_default());
    }
    Ok(())
}

/// What is run together.
struct Part {
    tests: Vec<String>,
    /// The only calls that fail; empty for all.
    calls: String,
}

/// Each test is in the first part that names it, and in no other. A part with some calls only does not count.
fn parts(tests: &[String], selection: &Selection) -> Vec<Part> {
    let module = |test: &str| test.split("::").next().unwrap_or_default().to_owned();
    let mut words: Vec<String> = selection.split_whitespace().map(str::to_owned).collect();
    if selection == ALL {
        words = tests.iter().map(|test| module(test)).collect();
        words.dedup();
    }
    let mut taken = BTreeSet::new();
    let mut part = |word: &String| -> Part {
        let (word, calls) = word.split_once('@').unwrap_or((word, ""));
        let names: Vec<&str> = word.split(',').collect();
        let is_of = |test: &str, name: &str| {
            test.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let is_named = |test: &&String| names.iter().any(|name| is_of(test, name));
        let mut is_new = |test: &&String| !calls.is_empty() || taken.insert((*test).clone());
        let tests = tests.iter().filter(is_named).filter(&mut is_new).cloned().collect();
        Part { tests, calls: calls.replace('+', ",") }
    };
    words.iter().map(&mut part).filter(|part| !part.tests.is_empty()).collect()
}

/// The judge, and what it has learned.
struct Court {
    suite: Suite,
    prefix: PathBuf,
    stop: Stop,
    /// Those that do not fail without a mutant, as far as is known.
    tests: Vec<String>,
    /// What has failed with a mutant, and has passed without.
    sane: BTreeSet<Vec<String>>,
    left_out: usize,
}

impl Court {
    /// Runs part by part, in this order. A test counts that fails twice, since one that fails now and then proves
    /// nothing, and that passes with the original.
    fn first_failure(
        &mut self,
        [programs, original]: [&Path; 2],
        selection: &Selection,
    ) -> Result<Option<String>> {
        if let Err(error) = self.place(programs) {
            // A program without a place for its prefix is the mutant's fault if the original has one.
            self.place(original)?;
            eprintln!("it cannot be installed: {error}");
            return Ok(Some("the installation".into()));
        }
        for part in parts(&self.tests, selection) {
            let Part { mut tests, calls } = part;
            self.suite.env.retain(|(name, _)| *name != FAILING_CALLS);
            if !calls.is_empty() {
                self.suite.env.push((FAILING_CALLS, calls.into()));
            }
            while let Some(test) = self.run(&mut tests)? {
                let hangs = !tests.contains(&test);
                let failed = if hangs { tests.clone() } else { vec![test.clone()] };
                if hangs || self.run(&mut failed.clone())?.is_some() {
                    if self.stop.requested() || self.passes(&failed, original)? {
                        return Ok(Some(test));
                    }
                    self.place(programs)?;
                }
                tests.retain(|other| !failed.contains(other));
            }
        }
        Ok(None)
    }

    /// Whether tests pass without a mutant. If not, they are not run again.
    fn passes(&mut self, tests: &[String], original: &Path) -> Result<bool> {
        if self.sane.contains(tests) {
            return Ok(true);
        }
        self.place(original)?;
        if self.run(&mut tests.to_vec())?.is_none() {
            return Ok(self.sane.insert(tests.to_vec()));
        }
        eprintln!("left out, as it fails without a mutant: {}", tests.join(", "));
        self.tests.retain(|test| !tests.contains(test));
        self.left_out += tests.len();
        if self.left_out > MOST_LEFT_OUT { Err("the suite fails without a mutant".into()) } else { Ok(false) }
    }

    /// Makes these programs the installed ones. The second place is for the tests of handing over.
    fn place(&self, programs: &Path) -> Result {
        let first = programs.join("selfdock");
        place_about(&programs.join("selfdock-about"), &self.prefix)?;
        place_program(&first, &self.prefix)?;
        place_program(&first, &self.prefix.join("fixtures/replaced"))
    }

    /// Runs these tests, until one fails, and takes those that pass off the list.
    fn run(&self, tests: &mut Vec<String>) -> Result<Option<String>> {
        let failure = self.suite.first_failure(tests, LONGEST_WAIT, &self.stop);
        end_descendants()?;
        failure
    }
}

/// Ends all descendants of this process, by PID.
fn end_descendants() -> Result {
    loop {
        let children = children_of(std::process::id());
        if children.is_empty() {
            return Ok(());
        }
        for child in children {
            // The process may have ended by itself.
            let _ = kill(Pid::from_raw(child.cast_signed()), Signal::SIGKILL);
        }
        // Waits for any child: the first process of a PID namespace waits until all others have been waited for.
        let _ = waitpid(None, None);
    }
}

fn children_of(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_is_run_once_and_in_the_order_of_the_selection() {
        let tests = ["a::x", "a::y", "b::x", "b::y::z", "c::x"].map(str::to_owned);
        let text = |part: &Part| format!("{}{}", part.tests.join(" "), part.calls);
        let of = |selection| parts(&tests, selection).iter().map(text).collect::<Vec<_>>();
        assert_eq!(of("b"), ["b::x b::y::z"]);
        assert_eq!(of("c::x,b::y::z nosuch b a"), ["b::y::z c::x", "b::x", "a::x a::y"]);
        assert_eq!(of("b@open+read b"), ["b::x b::y::zopen,read", "b::x b::y::z"]);
        assert_eq!(of(ALL), ["a::x a::y", "b::x b::y::z", "c::x"]);
    }
}
