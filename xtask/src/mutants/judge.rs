//! Installs mutants and runs the suite against them. It is a separate process, the only one with root's rights.

use crate::cargo::Built;
use crate::install_test::{home_of, set_up};
use crate::place::place_program;
use crate::prefix::{Prefix, own_mounts};
use crate::run::{Context, Result, again_as_root, can_become_root, is_root, no_more};
use crate::stop::Stop;
use crate::suite::{Suite, User};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// All modules of the suite.
pub const ALL: &str = "";

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
            (Command::new(std::env::current_exe().context("find the running program")?), User::NOBODY)
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

    /// The tests of these modules that fail without a mutant. They are skipped from then on.
    pub fn leave_out(&mut self, program: &Path, modules: &'static str) -> Result<Vec<String>> {
        let mut all = Vec::new();
        while let Some(test) = self.first_failure(program, modules)? {
            let questions = self.questions.as_mut().expect("open until dropped");
            writeln!(questions, "{LEAVE_OUT}{test}").context("ask the judge")?;
            self.answer()?;
            all.push(test);
            if all.len() > MOST_LEFT_OUT {
                return Err(format!("the suite fails without a mutant: {}", all.join(", ")));
            }
        }
        Ok(all)
    }

    /// The first failing test of these modules, with this program as selfdock.
    pub fn first_failure(&mut self, program: &Path, modules: &str) -> Result<Option<String>> {
        let questions = self.questions.as_mut().expect("open until dropped");
        writeln!(questions, "{}\t{modules}", program.display()).context("ask the judge")?;
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

/// The beginning of a line that skips a test.
const LEAVE_OUT: &str = "leave out ";

/// The most tests that may fail without a mutant: those that measure, or that this machine cannot pass.
const MOST_LEFT_OUT: usize = 3;

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
    let mut tests = suite.list(&[])?;
    // Processes that a mutant leaves become our children.
    set_child_subreaper(true).context("become the parent of orphans")?;
    println!("{MARK}");
    for question in std::io::stdin().lines() {
        let question = question.context("read a question")?;
        if let Some(name) = question.strip_prefix(LEAVE_OUT) {
            tests.retain(|test| test != name);
            println!("{MARK}");
            continue;
        }
        let (program, modules) = question.split_once('\t').ok_or("not a question")?;
        // The second one is for the tests of handing over.
        for prefix in [prefix.path.clone(), prefix.path.join("fixtures/replaced")] {
            place_program(Path::new(program), &prefix)?;
        }
        let failure = first_failure(&suite, &tests, modules, &stop)?;
        if stop.requested() {
            break;
        }
        println!("{MARK}{}", failure.unwrap_or_default());
    }
    Ok(())
}

/// Runs module by module, in the given order.
fn first_failure(suite: &Suite, tests: &[String], modules: &str, stop: &Stop) -> Result<Option<String>> {
    let mut wanted: Vec<&str> = modules.split_whitespace().collect();
    if modules == ALL {
        wanted = tests.iter().filter_map(|test| test.split("::").next()).collect();
        wanted.dedup();
    }
    let run = |tests: &[String]| {
        let failure = suite.first_failure(tests, stop);
        end_descendants()?;
        failure
    };
    for module in wanted {
        let of_it = |test: &&String| test.split("::").next() == Some(module);
        let mut tests: Vec<String> = tests.iter().filter(of_it).cloned().collect();
        while let Some(test) = run(&tests)? {
            // Runs it once more, alone: a test that fails now and then proves nothing.
            if !tests.contains(&test) || run(std::slice::from_ref(&test))?.is_some() {
                return Ok(Some(test));
            }
            tests.retain(|other| *other != test);
        }
    }
    Ok(None)
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
