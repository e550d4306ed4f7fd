//! `cargo xtask mutants`

mod judge;
mod together;
mod state;
mod tree;
mod done;
mod exceptions;
mod points;
mod calls;

use crate::cargo;
use crate::properties::PROPERTIES;
use crate::run::{Context, Result, no_more, output, root, wants_help};
use crate::stop::Stop;
use calls::Calls;
use done::Done;
use exceptions::Exceptions;
use judge::Judge;
use points::Mutant;
use state::{Outcome, State, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Formatter};
use std::fs;
use std::process::Command;
use tree::{Built, Programs, Tree};

const HELP: &str = "\
Remove the protections of the trusted program one at a time, and check that a test fails each time.

Usage: cargo xtask mutants [OPTION...]

  --list               try no mutant, and print the chosen ones with their results
  --file NAME          choose the mutants of this file: creds, creds.rs or src/creds.rs. May be repeated
  --name TEXT          choose the mutants whose names contain TEXT. May be repeated
  --changed-since REV  choose the mutants on lines that differ between the work tree and REV
  --survivors          choose the mutants that no test has noticed so far
  --limit N            try at most N mutants, spread over all chosen ones
  --again              also try mutants that have a result
  --full               run the whole suite on each mutant, not only the modules that are about its file
  --quick              run only what takes a moment: a few tests, the unit tests, and failing system calls
  --by TESTS           run only these modules or tests, in this order. TESTS is one word, with spaces in it
  --together           try many survivors in one program. This saves time if the modules for them are slow
  --write              try no mutant, and write ci/mutants.killed from the results

A mutant is a program with one change: a call left out, or its failure ignored; a condition that never or always holds;
a flag, a capability, a namespace, an entry of a table left out. Each is built and installed into a throwaway prefix.
A mutant whose programs are the original's byte by byte counts as equal. For each other mutant tests run until the first
of them fails: those that have killed its neighbours, a few quick ones, the unit tests of its file, and the modules of
the suite that are about it. If a mutant ignores a failure, the first runs make exactly those calls fail.
The test must fail twice, and pass with the original. The next mutant is built meanwhile.

Results are kept in target/mutants, so a run continues where the last one ended. A function that has changed is tried
again. ci/mutants.killed lists the functions whose mutants are all tried, also for other checkouts. ci/mutants.txt lists
the mutants that no behaviour can show, each with the reason. The run fails if any other mutant survives.
";

/// The files with protections, the most important first, and the modules of the suite for each. For other files all
/// modules run.
const FILES: &[(&str, &str)] = &[
    (
        "creds",
        "identity root_as_caller nesting_is_monotone set_uid_inert unprivileged_mode entering handing_over fake_root \
        overlays restricted_callers faults races",
    ),
    (
        "stage",
        "host_image mount_points any_image hidden_files layers volumes build unprivileged_mode nothing_left faults",
    ),
    (
        "mount",
        "read_only_root volumes devices mount_points set_uid_inert build ipc layers hidden_files host_image \
        nesting_is_monotone restricted_callers faults",
    ),
    (
        "files",
        "hidden_files any_image layers mount_points environment limits inherited_state entering contained faults",
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
    ("handover", "handing_over errors fake_root proxy explaining help listing faults races"),
    ("names", "any_image network build host_image hidden_files"),
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
    quick: bool,
    by: Option<String>,
    survivors: bool,
    together: bool,
    again: bool,
    write: bool,
}

pub fn main(mut args: pico_args::Arguments) -> Result {
    if wants_help(&mut args, HELP) {
        return Ok(());
    }
    if args.contains("--judge") {
        return judge::main(args);
    }
    let options = options(args)?;
    let mut state = State::read()?;
    let results = Results::read()?;
    if options.write {
        let all = all()?;
        return done::write(&all, |mutant| {
            results.of(mutant, &state).is_some_and(|known| known != Known::Alive)
        });
    }
    let chosen = chosen(&options, &results, &state)?;
    if options.list {
        for mutant in &chosen {
            let known = results.of(mutant, &state).map_or("", Known::word);
            println!("{known:<9} {}:{} {}", mutant.file, mutant.line, mutant.name);
        }
        return Ok(());
    }
    let is_untried = |mutant: &&Mutant| match results.of(mutant, &state) {
        None => true,
        Some(Known::Alive) => options.survivors || options.together || options.again,
        Some(Known::Listed) => false,
        Some(_) => options.again,
    };
    let mut to_try: Vec<Mutant> = spread(chosen.iter().filter(is_untried).cloned().collect(), options.limit);
    // Mutants that remove a whole step come first, since they tell more.
    to_try.sort_by_key(|mutant| mutant.name.contains(points::IGNORED));
    if !to_try.is_empty() {
        try_all(&to_try, &options, &mut state)?;
    }
    report(&chosen, &results, &state)
}

fn options(mut args: pico_args::Arguments) -> Result<Options> {
    let options = Options {
        list: args.contains("--list"),
        files: args.values_from_str("--file").context("--file")?,
        names: args.values_from_str("--name").context("--name")?,
        changed_since: args.opt_value_from_str("--changed-since").context("--changed-since")?,
        limit: args.opt_value_from_str("--limit").context("--limit")?,
        full: args.contains("--full"),
        quick: args.contains("--quick"),
        by: args.opt_value_from_str("--by").context("--by")?,
        survivors: args.contains("--survivors"),
        together: args.contains("--together"),
        again: args.contains("--again"),
        write: args.contains("--write"),
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

fn chosen(options: &Options, results: &Results, state: &State) -> Result<Vec<Mutant>> {
    let mut chosen = all()?;
    let names = options.files.iter().map(|name| name.trim_start_matches("src/").trim_end_matches(".rs"));
    let names: Vec<&str> = names.collect();
    if let Some(unknown) = names.iter().find(|name| FILES.iter().all(|(file, _)| file != *name)) {
        return Err(format!("--file '{unknown}': none of the files that count"));
    }
    chosen.retain(|mutant| names.is_empty() || names.contains(&module_of(&mutant.file)));
    // A function that has another name now must not lose its mutants unnoticed.
    let is_named = |text: &&String| chosen.iter().any(|mutant| mutant.name.contains(text.as_str()));
    if let Some(unknown) = options.names.iter().find(|text| !is_named(text)) {
        return Err(format!("--name '{unknown}': no mutant of these files has such a name"));
    }
    if !options.names.is_empty() {
        chosen.retain(|mutant| options.names.iter().any(|text| mutant.name.contains(text.as_str())));
    }
    if let Some(rev) = &options.changed_since {
        let lines = changed_lines(rev)?;
        chosen.retain(|mutant| lines.contains(&(mutant.file.clone(), mutant.line)));
    }
    if options.survivors || options.together {
        chosen.retain(|mutant| results.of(mutant, state) == Some(Known::Alive));
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
    let _alone = tree::alone()?;
    cargo::build_release()?;
    let built = cargo::build_tests()?;
    let tree = Tree::copy("tree")?;
    let original = tree.build("original")?.ok_or("the program does not compile as it is")?;
    let known = BTreeMap::from([(original.hash, Outcome::of(Verdict::Equal))]);
    let mut trial = Trial {
        judge: Judge::start(&built)?,
        original,
        unit: Tree::copy("unit")?,
        known,
        sane: BTreeSet::new(),
        quick: options.quick || options.by.is_some(),
    };
    if options.together {
        return together::try_all(&mut trial, &tree, mutants, options, state, &stop);
    }
    let calls = Calls::read()?;
    let ahead = tree::build_ahead(tree, mutants.to_vec(), stop.clone());
    for (count, mutant) in mutants.iter().enumerate() {
        let Ok(built) = ahead.recv() else { break };
        let Built { programs, seconds } = built?;
        if stop.requested() {
            break;
        }
        let start = std::time::Instant::now();
        let outcome = match programs {
            None => Outcome::of(Verdict::Unviable),
            Some(programs) => trial.of(mutant, &programs, &selection(mutant, options, state, &calls)?)?,
        };
        let (of, at) = (mutants.len(), format!("{}:{}", mutant.file, mutant.line));
        let by = outcome.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
        let took = format!("{seconds:.1} s + {:.1} s", start.elapsed().as_secs_f32());
        println!("{}/{of} {at} {}: {}{by} ({took})", count + 1, mutant.name, outcome.verdict.word());
        state.note(mutant, &outcome)?;
    }
    Ok(())
}

/// What mutants are tried with.
struct Trial {
    judge: Judge,
    original: Programs,
    unit: Tree,
    /// The results by programs: two mutants may have the same.
    known: BTreeMap<u64, Outcome>,
    /// The files whose unit tests pass without a mutant.
    sane: BTreeSet<String>,
    /// Only what takes a moment.
    quick: bool,
}

impl Trial {
    fn of(&mut self, mutant: &Mutant, programs: &Programs, selection: &[String; 2]) -> Result<Outcome> {
        if let Some(known) = self.known.get(&programs.hash) {
            return Ok(known.clone());
        }
        let [quick, all] = selection;
        let mut by = self.judge.first_failure(&programs.dir, &self.original.dir, quick)?;
        if by.is_none() {
            by = self.failed_unit_tests(mutant)?;
        }
        if by.is_none() && !self.quick {
            by = self.judge.first_failure(&programs.dir, &self.original.dir, all)?;
        }
        let outcome = by.map_or(Outcome::of(Verdict::Survived), Outcome::killed);
        self.known.insert(programs.hash, outcome.clone());
        Ok(outcome)
    }

    fn failed_unit_tests(&mut self, mutant: &Mutant) -> Result<Option<String>> {
        let failed = self.unit.with(&[mutant], |tree| tree.unit_tests(&mutant.file))?;
        if let Some(tests) = &failed
            && self.sane.insert(mutant.file.clone())
            && self.unit.unit_tests(&mutant.file)?.is_some()
        {
            return Err(format!("{tests} fail without a mutant"));
        }
        Ok(failed)
    }
}

/// The modules that inject failures.
const WHAT_FAILS: &str = "failing_calls faults";

fn modules_for(mutant: &Mutant, options: &Options) -> String {
    let full = options.full;
    // A mutant in error handling shows only if a call fails.
    if mutant.name.contains(points::IGNORED) && !full {
        return WHAT_FAILS.to_owned();
    }
    let listed = FILES.iter().find(|(name, _)| *name == module_of(&mutant.file) && !full);
    let mut modules = listed.map_or_else(all_modules, |(_, modules)| (*modules).to_owned());
    // The failing call can be an earlier one, whose failure is lost: `made.or_fail("make it")` becomes `Ok(())`.
    if mutant.name.contains("or_fail") && !full {
        modules = format!("{modules} {WHAT_FAILS}");
    }
    modules
}

/// The modules of the suite, those that cost much at the end.
fn all_modules() -> String {
    let (alone, others): (Vec<_>, Vec<_>) = PROPERTIES.iter().partition(|property| property.alone);
    let names = others.iter().chain(&alone).map(|property| property.name.replace('-', "_"));
    names.collect::<Vec<_>>().join(" ")
}

/// The tests for a mutant: the quick ones, and the others.
fn selection(mutant: &Mutant, options: &Options, state: &State, calls: &Calls) -> Result<[String; 2]> {
    if let Some(tests) = &options.by {
        return Ok([tests.clone(), String::new()]);
    }
    // These make all calls fail, which takes long.
    let killers = state.killers(mutant).into_iter().filter(|test| !test.starts_with(judge::FAILING));
    let killers = killers.collect::<Vec<_>>().join(",");
    let quick = format!("{killers} {SMOKE}");
    if !mutant.name.contains(points::IGNORED) {
        return Ok([quick, modules_for(mutant, options)]);
    }
    let text = fs::read_to_string(root().join(&mutant.file)).context(&mutant.file)?;
    let own: Vec<String> = calls.of(&mutant.file, mutant.replaced(&text)).into_iter().collect();
    if own.is_empty() || own.len() > MOST_CALLS {
        return Ok([quick, modules_for(mutant, options)]);
    }
    let rest = if options.full { all_modules() } else { "faults".to_owned() };
    Ok([format!("{quick} {}@{}", judge::FAILING, own.join("+")), rest])
}

/// With more calls, those of a mutant are too many to be tried first.
const MOST_CALLS: usize = 8;

/// Quick tests of all modes. They kill most.
const SMOKE: &str = "network,ipc,read_only_root";

fn report(chosen: &[Mutant], results: &Results, state: &State) -> Result {
    let (numbers, alive) = count(chosen, results, state);
    println!("mutants: {numbers}");
    for mutant in &alive {
        println!("alive: {}:{} {}", mutant.file, mutant.line, mutant.name);
    }
    if alive.is_empty() { Ok(()) } else { Err("a protection can be taken away unnoticed".into()) }
}

/// What is known of a mutant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Killed,
    Equal,
    Unviable,
    Alive,
    /// In `ci/mutants.txt`.
    Listed,
    /// In `ci/mutants.killed`.
    Done,
}

impl Known {
    fn word(self) -> &'static str {
        match self {
            Known::Killed => Verdict::Killed.word(),
            Known::Equal => Verdict::Equal.word(),
            Known::Unviable => Verdict::Unviable.word(),
            Known::Alive => Verdict::Survived.word(),
            Known::Listed => "listed",
            Known::Done => "done",
        }
    }
}

/// What the files of the repository say of mutants.
struct Results {
    exceptions: Exceptions,
    done: BTreeSet<String>,
}

impl Results {
    fn read() -> Result<Self> {
        let (exceptions, all) = (Exceptions::read()?, all()?);
        let done = Done::read()?.of(&all).into_iter().map(Mutant::key).collect();
        Ok(Results { exceptions, done })
    }

    /// What is known, first of all from runs here.
    fn of(&self, mutant: &Mutant, state: &State) -> Option<Known> {
        if self.exceptions.reason(mutant).is_some() {
            return Some(Known::Listed);
        }
        match state.of(mutant).map(|outcome| outcome.verdict) {
            Some(Verdict::Killed) => Some(Known::Killed),
            Some(Verdict::Equal) => Some(Known::Equal),
            Some(Verdict::Unviable) => Some(Known::Unviable),
            Some(Verdict::Survived) => Some(Known::Alive),
            None => self.done.contains(&mutant.key()).then_some(Known::Done),
        }
    }
}

/// The results of some mutants.
#[derive(Default)]
pub struct Numbers {
    pub killed: usize,
    pub equal: usize,
    pub listed: usize,
    pub alive: usize,
    pub untried: usize,
}

impl Display for Numbers {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Numbers { killed, equal, listed, alive, untried } = self;
        write!(f, "{killed} killed, {equal} equal, {listed} listed, {alive} alive, {untried} untried")
    }
}

/// Counts the results, and lists the survivors.
fn count<'m>(mutants: &'m [Mutant], results: &Results, state: &State) -> (Numbers, Vec<&'m Mutant>) {
    let (mut numbers, mut alive) = (Numbers::default(), Vec::new());
    for mutant in mutants {
        match results.of(mutant, state) {
            Some(Known::Killed | Known::Done) => numbers.killed += 1,
            Some(Known::Equal | Known::Unviable) => numbers.equal += 1,
            Some(Known::Listed) => numbers.listed += 1,
            Some(Known::Alive) => alive.push(mutant),
            None => numbers.untried += 1,
        }
    }
    numbers.alive = alive.len();
    (numbers, alive)
}

/// The results of all mutants, file by file, and of all together.
pub fn numbers() -> Result<Vec<(String, Numbers)>> {
    let (all, results, state) = (all()?, Results::read()?, State::read()?);
    let of = |mutants: &[Mutant]| count(mutants, &results, &state).0;
    let mut numbers: Vec<_> =
        all.chunk_by(|a, b| a.file == b.file).map(|part| (part[0].file.clone(), of(part))).collect();
    numbers.push(("all".into(), of(&all)));
    Ok(numbers)
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
