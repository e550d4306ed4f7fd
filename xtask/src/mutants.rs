//! `cargo xtask mutants`

mod exceptions;
mod judge;
mod points;
mod state;

use crate::cargo::{self, cargo};
use crate::run::{Context, Result, no_more, output, root, wants_help};
use crate::stop::Stop;
use exceptions::Exceptions;
use judge::Judge;
use nix::fcntl::{Flock, FlockArg};
use points::Mutant;
use state::{Outcome, State, Verdict};
use std::collections::BTreeSet;
use std::fmt::{Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const HELP: &str = "\
Remove the protections of the trusted program one at a time, and check that the suite notices.

Usage: cargo xtask mutants [OPTION...]

  --list               print the chosen mutants and their results so far, and try none
  --file NAME          only those of this file: creds, creds.rs or src/creds.rs; may be repeated
  --name TEXT          only those with this text in their name; may be repeated
  --changed-since REV  only those on lines of the work tree that differ from REV
  --limit N            at most N untried ones, spread over all chosen ones
  --full               run the whole suite on each, not only the modules for its file
  --survivors          only those that have survived before
  --lock FILE          hold this lock, as flock(1) does, while a mutant is built and tried

A mutant is a program with one change: a call left out, or its failure ignored; a condition that never or always holds;
a flag, a capability, a namespace, an entry of a table left out. Each is built, installed into a throwaway prefix, and
tried by the unit tests of its file and the modules of the suite that are about it, up to the first that fails. What is
known of each is kept in target/mutants, so that a run goes on where another was ended; a function that is changed is
tried again. ci/mutants.txt lists those that no behaviour can show, each with the reason. The run fails where another
survives.
";

/// The files with protections, the most important first, and the modules of the suite for each. For other files all
/// modules run.
const FILES: &[(&str, &str)] = &[
    (
        "creds",
        "identity root_as_caller nesting_is_monotone set_uid_inert unprivileged_mode entering handing_over faults \
        races",
    ),
    (
        "stage",
        "host_image mount_points any_image hidden_files layers volumes build unprivileged_mode nothing_left faults",
    ),
    (
        "mount",
        "read_only_root volumes hidden_files devices host_image mount_points set_uid_inert build ipc layers faults",
    ),
    (
        "files",
        "hidden_files any_image layers mount_points environment limits inherited_state entering contained",
    ),
    (
        "sources",
        "volumes devices hidden_files host_image any_image layers build unprivileged_mode handing_over faults \
        races",
    ),
    ("host_root", "host_image mount_points hidden_files nesting_is_monotone unprivileged_mode faults"),
    (
        "sandbox",
        "set_uid_inert volumes processes ipc network host_image any_image mount_points build root_as_caller \
        inherited_state environment nesting_is_monotone unprivileged_mode identity contained faults races",
    ),
    ("filter", "contained entering nesting_is_monotone"),
    ("enter", "entering contained limits one_life races"),
    ("containment", "contained terminal first_process nesting_is_monotone faults"),
    (
        "procfs",
        "hidden_files root_as_caller processes unprivileged_mode any_image nesting_is_monotone faults",
    ),
    (
        "launch",
        "exit_status limits inherited_state set_uid_inert network unprivileged_mode nesting_is_monotone entering \
        first_process contained nothing_left faults errors one_life",
    ),
    ("keeper", "first_process processes network limits contained one_life nothing_left faults races"),
    ("handover", "handing_over help explaining listing faults races"),
    ("names", "any_image network host_image hidden_files"),
    ("limits", "limits entering"),
    ("installation", "host_image set_uid_inert devices nesting_is_monotone hidden_files races"),
    ("dev", "devices terminal ipc any_image unprivileged_mode"),
    ("layers", "layers any_image build"),
    ("instance", "entering listing"),
    ("mountinfo", "hidden_files entering"),
    ("process", "entering listing one_life"),
    ("descriptors", "inherited_state faults"),
    ("lifeline", "one_life first_process contained races"),
    (
        "sys",
        "identity read_only_root volumes set_uid_inert inherited_state contained network environment hidden_files \
         first_process nothing_left entering limits unprivileged_mode errors exit_status faults one_life",
    ),
];

struct Options {
    list: bool,
    files: Vec<String>,
    names: Vec<String>,
    changed_since: Option<String>,
    limit: Option<usize>,
    full: bool,
    survivors: bool,
    lock: Option<PathBuf>,
}

pub fn main(mut args: pico_args::Arguments) -> Result {
    if wants_help(&mut args, HELP) {
        return Ok(());
    }
    if args.contains("--judge") {
        return judge::main(args);
    }
    let options = options(args)?;
    let exceptions = Exceptions::read()?;
    let mut state = State::read()?;
    let chosen = chosen(&options, &state)?;
    if options.list {
        for mutant in &chosen {
            let known = match exceptions.reason(mutant) {
                Some(_) => "listed",
                None => state.of(mutant).map_or("", |outcome| outcome.verdict.word()),
            };
            println!("{known:<9} {}:{} {}", mutant.file, mutant.line, mutant.name);
        }
        return Ok(());
    }
    let untried = |mutant: &&Mutant| {
        exceptions.reason(mutant).is_none() && (options.survivors || state.of(mutant).is_none())
    };
    let mut to_try: Vec<Mutant> = spread(chosen.iter().filter(untried).cloned().collect(), options.limit);
    // Mutants that remove a whole step come first, since they tell more.
    to_try.sort_by_key(|mutant| mutant.name.contains(points::IGNORED));
    if !to_try.is_empty() {
        try_all(&to_try, &options, &mut state)?;
    }
    report(&chosen, &exceptions, &state)
}

fn options(mut args: pico_args::Arguments) -> Result<Options> {
    let path = |text: &std::ffi::OsStr| Ok::<_, String>(PathBuf::from(text));
    let options = Options {
        list: args.contains("--list"),
        files: args.values_from_str("--file").context("--file")?,
        names: args.values_from_str("--name").context("--name")?,
        changed_since: args.opt_value_from_str("--changed-since").context("--changed-since")?,
        limit: args.opt_value_from_str("--limit").context("--limit")?,
        full: args.contains("--full"),
        survivors: args.contains("--survivors"),
        lock: args.opt_value_from_os_str("--lock", path).context("--lock")?,
    };
    no_more(args)?;
    Ok(options)
}

/// All mutants of these files, in order.
pub fn all() -> Result<Vec<Mutant>> {
    let mut all = Vec::new();
    for (name, _) in FILES {
        for file in sources_of(name)? {
            let text = fs::read_to_string(root().join(&file)).context(&file)?;
            all.extend(points::find(&file, &text)?);
        }
    }
    Ok(all)
}

/// A module's files: `src/NAME.rs`, and those of the directory of that name.
fn sources_of(name: &str) -> Result<Vec<String>> {
    let mut files = Vec::new();
    let mut to_look = vec![format!("src/{name}.rs"), format!("src/{name}")];
    while let Some(path) = to_look.pop() {
        if root().join(&path).is_dir() {
            for entry in fs::read_dir(root().join(&path)).context(&path)? {
                to_look.push(format!("{path}/{}", entry.context(&path)?.file_name().display()));
            }
        } else if path.ends_with(".rs") && root().join(&path).is_file() && is_built_here(&path) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A file for another processor is not in the program.
fn is_built_here(file: &str) -> bool {
    let own = [format!("/arch/{}.rs", std::env::consts::ARCH), "/arch/mod.rs".to_owned()];
    !file.contains("/arch/") || own.iter().any(|end| file.ends_with(end))
}

fn chosen(options: &Options, state: &State) -> Result<Vec<Mutant>> {
    let mut chosen = all()?;
    let names = options.files.iter().map(|name| name.trim_start_matches("src/").trim_end_matches(".rs"));
    let names: Vec<&str> = names.collect();
    if let Some(unknown) = names.iter().find(|name| FILES.iter().all(|(file, _)| file != *name)) {
        return Err(format!("--file '{unknown}': none of the files that count"));
    }
    chosen.retain(|mutant| names.is_empty() || names.contains(&module_of(&mutant.file)));
    if !options.names.is_empty() {
        chosen.retain(|mutant| options.names.iter().any(|text| mutant.name.contains(text.as_str())));
    }
    if let Some(rev) = &options.changed_since {
        let lines = changed_lines(rev)?;
        chosen.retain(|mutant| lines.contains(&(mutant.file.clone(), mutant.line)));
    }
    if options.survivors {
        chosen.retain(|mutant| state.of(mutant).is_some_and(|outcome| outcome.verdict == Verdict::Survived));
    }
    Ok(chosen)
}

/// `creds` of `src/creds.rs`, and of what is in `src/creds/`.
fn module_of(file: &str) -> &str {
    file.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default()
}

/// At most this many, from all parts of a list.
fn spread(mut list: Vec<Mutant>, limit: Option<usize>) -> Vec<Mutant> {
    let Some(limit) = limit.filter(|limit| *limit < list.len()) else { return list };
    let count = list.len();
    let wanted: BTreeSet<usize> = (0..limit).map(|n| n * count / limit).collect();
    let mut at = 0..;
    list.retain(|_| wanted.contains(&at.next().unwrap_or_default()));
    list
}

/// The lines of the trusted program that differ from a revision in the work tree.
fn changed_lines(rev: &str) -> Result<BTreeSet<(String, usize)>> {
    let diff = output(Command::new("git").current_dir(root()).args(["diff", "-U0", rev, "--", "src"]))?;
    let mut lines = BTreeSet::new();
    let mut file = String::new();
    for line in diff.lines() {
        if let Some(name) = line.strip_prefix("+++ b/") {
            name.clone_into(&mut file);
        } else if let Some(range) = line.strip_prefix("@@ ").and_then(|rest| rest.split(['+', ' ']).nth(2)) {
            let (start, count) = range.split_once(',').unwrap_or((range, "1"));
            let (start, count): (usize, usize) = (start.parse().context(line)?, count.parse().context(line)?);
            lines.extend((start..start + count).map(|number| (file.clone(), number)));
        }
    }
    Ok(lines)
}

fn try_all(mutants: &[Mutant], options: &Options, state: &mut State) -> Result {
    let stop = Stop::watch()?;
    let tree = Tree::copy()?;
    let lock = Lock(options.lock.clone());
    let held = lock.hold()?;
    cargo::build_release()?;
    let built = cargo::build_tests()?;
    let mut judge = Judge::start(&built)?;
    drop(held);
    let mut sane = BTreeSet::new();
    for (count, mutant) in mutants.iter().enumerate() {
        lock.let_others();
        let held = lock.hold()?;
        if stop.requested() {
            break;
        }
        let modules = modules_for(mutant, options.full);
        // A suite that fails without a mutant would kill all of them.
        for modules in [Some(modules), more_for(mutant)].into_iter().flatten() {
            if sane.insert(modules) {
                let program = tree.build().ok_or("the program does not compile as it is")?;
                for test in judge.leave_out(&program, modules)? {
                    println!("left out, as it fails without a mutant: {test}");
                }
            }
        }
        let outcome = tree.with(mutant, |tree| try_one(mutant, modules, tree, &mut judge))?;
        drop(held);
        let (of, at) = (mutants.len(), format!("{}:{}", mutant.file, mutant.line));
        let by = outcome.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
        println!("{}/{of} {at} {}: {}{by}", count + 1, mutant.name, outcome.verdict.word());
        state.note(mutant, outcome)?;
    }
    Ok(())
}

/// The modules that inject failures.
const WHAT_FAILS: &str = "failing_calls faults";

fn modules_for(mutant: &Mutant, full: bool) -> &'static str {
    if full {
        return judge::ALL;
    }
    // A mutant in error handling shows only if a call fails.
    if mutant.name.contains(points::IGNORED) {
        return WHAT_FAILS;
    }
    let listed = FILES.iter().find(|(name, _)| *name == module_of(&mutant.file));
    listed.map_or(judge::ALL, |(_, modules)| *modules)
}

/// The failing call can be an earlier one, whose failure is lost: `made.or_fail("make it")` becomes `Ok(())`.
fn more_for(mutant: &Mutant) -> Option<&'static str> {
    (mutant.name.contains("or_fail") && !mutant.name.contains(points::IGNORED)).then_some(WHAT_FAILS)
}

fn try_one(mutant: &Mutant, modules: &str, tree: &Tree, judge: &mut Judge) -> Result<Outcome> {
    let Some(program) = tree.build() else { return Ok(Outcome::of(Verdict::Unviable)) };
    if let Some(test) = tree.unit_tests(&mutant.file)? {
        return Ok(Outcome::killed(test));
    }
    let mut test = judge.first_failure(&program, modules)?;
    if let (None, Some(more)) = (&test, more_for(mutant)) {
        test = judge.first_failure(&program, more)?;
    }
    Ok(test.map_or(Outcome::of(Verdict::Survived), Outcome::killed))
}

fn report(chosen: &[Mutant], exceptions: &Exceptions, state: &State) -> Result {
    let (numbers, alive) = count(chosen, exceptions, state);
    println!("mutants: {numbers}");
    for mutant in &alive {
        println!("alive: {}:{} {}", mutant.file, mutant.line, mutant.name);
    }
    if alive.is_empty() { Ok(()) } else { Err("a protection can be taken away unnoticed".into()) }
}

/// The results of some mutants.
#[derive(Default)]
pub struct Numbers {
    pub killed: usize,
    pub listed: usize,
    pub alive: usize,
    pub untried: usize,
}

impl Display for Numbers {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Numbers { killed, listed, alive, untried } = self;
        write!(f, "{killed} killed, {listed} listed, {alive} alive, {untried} untried")
    }
}

/// Counts the results, and lists the survivors.
fn count<'m>(mutants: &'m [Mutant], exceptions: &Exceptions, state: &State) -> (Numbers, Vec<&'m Mutant>) {
    let (mut numbers, mut alive) = (Numbers::default(), Vec::new());
    for mutant in mutants {
        match state.of(mutant).map(|outcome| outcome.verdict) {
            _ if exceptions.reason(mutant).is_some() => numbers.listed += 1,
            Some(Verdict::Killed) => numbers.killed += 1,
            Some(Verdict::Unviable) => {}
            Some(Verdict::Survived) => alive.push(mutant),
            None => numbers.untried += 1,
        }
    }
    numbers.alive = alive.len();
    (numbers, alive)
}

/// The results of all mutants.
pub fn numbers() -> Result<Numbers> {
    Ok(count(&all()?, &Exceptions::read()?, &State::read()?).0)
}

/// The number of mutants, and the number of exceptions.
pub fn places() -> Result<[usize; 2]> {
    Ok([all()?.len(), Exceptions::read()?.keys().count()])
}

/// Checks that every exception is for an existing mutant: a rule of the tree.
pub fn check_exceptions() -> Result {
    let (exceptions, all) = (Exceptions::read()?, all()?);
    let keys: BTreeSet<String> = all.iter().map(Mutant::key).collect();
    match exceptions.keys().find(|key| !keys.contains(*key)) {
        Some(key) => Err(format!("{}: no such mutant: {key}", exceptions::FILE)),
        None => Ok(()),
    }
}

/// A lock that is shared with other users of the machine.
struct Lock(Option<PathBuf>);

impl Lock {
    /// Waits in line for the lock: a process that unlocks and locks again at once would be faster than one that must
    /// wake up.
    fn let_others(&self) {
        if self.0.is_some() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn hold(&self) -> Result<Option<Flock<fs::File>>> {
        let Some(path) = &self.0 else { return Ok(None) };
        let file = fs::File::create(path).context(path.display())?;
        Flock::lock(file, FlockArg::LockExclusive)
            .map(Some)
            .map_err(|(_, e)| format!("{}: {e}", path.display()))
    }
}

/// A copy of the trusted workspace, in which the mutants are made.
struct Tree {
    dir: PathBuf,
}

/// The directory for mutants.
fn dir() -> PathBuf {
    root().join("target/mutants")
}

impl Tree {
    fn copy() -> Result<Self> {
        let tree = Tree { dir: dir().join("tree") };
        let _ = fs::remove_dir_all(&tree.dir);
        // rustc gets the flags of the checkout that contains the copy.
        for name in ["Cargo.toml", "Cargo.lock", "build.rs", "link.ld", "src", ".cargo/xtask"] {
            copy_all(&root().join(name), &tree.dir.join(name))?;
        }
        Ok(tree)
    }

    fn cargo(&self, subcommand: &str, target: &str) -> Command {
        let mut command = cargo(subcommand);
        command.current_dir(&self.dir).args(["--quiet", "--locked", "--target-dir"]).arg(dir().join(target));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Builds the release program; `None` if it does not compile.
    fn build(&self) -> Option<PathBuf> {
        let built = self.cargo("build", "release").args(["--release", "--bin", "selfdock"]).status();
        let program = dir().join("release/release/selfdock");
        built.is_ok_and(|status| status.success()).then_some(program)
    }

    /// Runs the unit tests of a file. Returns a name if one fails.
    fn unit_tests(&self, file: &str) -> Result<Option<String>> {
        let text = fs::read_to_string(self.dir.join(file)).context(file)?;
        if !text.contains("#[cfg(test)]") {
            return Ok(None);
        }
        let module = file.trim_start_matches("src/").trim_end_matches(".rs").replace('/', "::");
        let mut tests = self.cargo("test", "unit");
        let done = tests.args(["--lib", "--", &format!("{module}::")]).status().context("cargo test")?;
        Ok((!done.success()).then(|| format!("the unit tests of {module}")))
    }

    /// Runs a function while a mutant replaces its file.
    fn with<T>(&self, mutant: &Mutant, act: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let (path, original) = (self.dir.join(&mutant.file), root().join(&mutant.file));
        let text = fs::read_to_string(&original).context(original.display())?;
        fs::write(&path, mutant.apply(&text)).context(path.display())?;
        let done = act(self);
        fs::write(&path, text).context(path.display())?;
        done
    }
}

fn copy_all(from: &Path, to: &Path) -> Result {
    if from.is_dir() {
        fs::create_dir_all(to).context(to.display())?;
        for entry in fs::read_dir(from).context(from.display())? {
            let entry = entry.context(from.display())?;
            copy_all(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    let dir = to.parent().expect("a file has a directory");
    fs::create_dir_all(dir).context(dir.display())?;
    fs::copy(from, to).context(from.display()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_counts_is_there_and_has_mutants() {
        let all = all().unwrap();
        for (name, _) in FILES {
            assert!(all.iter().any(|mutant| module_of(&mutant.file) == *name), "{name}");
        }
        let keys: BTreeSet<String> = all.iter().map(Mutant::key).collect();
        assert_eq!(keys.len(), all.len(), "two mutants have one name");
    }

    #[test]
    fn what_is_for_another_processor_has_no_mutants_here() {
        let own = format!("src/sys/arch/{}.rs", std::env::consts::ARCH);
        assert!(is_built_here(&own) && is_built_here("src/sys/mod.rs") && is_built_here("src/creds.rs"));
        assert!(!is_built_here("src/sys/arch/vax.rs"));
    }

    #[test]
    fn modules_of_the_suite_that_are_named_are_there() {
        for module in FILES.iter().flat_map(|(_, modules)| modules.split_whitespace()) {
            assert!(root().join(format!("tests/suite/{module}.rs")).exists(), "{module}");
        }
    }
}
