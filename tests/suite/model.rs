//! model: To any depth, what can be seen, read, written and executed at each path is what a plain model says.

mod case;
mod view;
mod world;

use crate::support::{Cmd, args, bin, command_of, selfdock};
use case::Case;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::cell::Cell;
use std::ffi::OsString;
use std::fmt::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use view::{Stop, View};
use world::World;

/// How many cases a run of the suite compares.
const BRIEFLY: u64 = 300;
/// How many times a failing case is made smaller.
const MOST_STEPS: u32 = 400;

/// `cargo xtask torture model` sets `SELFDOCK_MODEL_SEED`, for one case, or `SELFDOCK_MODEL_MINUTES`, for as many as
/// fit into that time. Without these variables the cases are always the same.
#[test]
fn random_instances_are_as_it_says() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let mut tally = Tally::default();
    if let Some(seed) = number("SELFDOCK_MODEL_SEED") {
        try_seed(seed, &mut tally);
    } else if let Some(minutes) = number("SELFDOCK_MODEL_MINUTES") {
        let (start, time) = (Instant::now(), Duration::from_secs(60 * minutes));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time");
        (now.as_secs() << 20..)
            .take_while(|_| start.elapsed() < time)
            .for_each(|seed| try_seed(seed, &mut tally));
    } else {
        (0..BRIEFLY).for_each(|seed| try_seed(seed, &mut tally));
        // If most cases were refused or unknown, little would be compared.
        assert!(tally.compared * 3 > BRIEFLY && tally.refused * 10 > BRIEFLY, "{tally:?}");
    }
    println!("{tally:?}");
}

/// The numbers of results.
#[derive(Debug, Default)]
struct Tally {
    compared: u64,
    refused: u64,
    unknown: u64,
}

/// The result of one case.
#[derive(Clone, Copy)]
enum Outcome {
    Compared,
    Refused,
    /// The case depends on something of the host that the model does not know.
    Unknown,
}

/// Compares the case of a seed. A failing case is made as small as possible.
fn try_seed(seed: u64, tally: &mut Tally) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config =
        Config { cases: 1, max_shrink_iters: MOST_STEPS, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let outcome = Cell::new(Outcome::Unknown);
    let done = runner.run(&case::any_case(), |case| {
        outcome.set(compare(&case).map_err(TestCaseError::fail)?);
        Ok(())
    });
    let repeat = format!("repeat it: cargo xtask torture model --seed {seed}");
    match done {
        Ok(()) => match outcome.get() {
            Outcome::Compared => tally.compared += 1,
            Outcome::Refused => tally.refused += 1,
            Outcome::Unknown => tally.unknown += 1,
        },
        Err(TestError::Fail(why, case)) => panic!("{why}\n\nfrom {case:#?}\n\n{repeat}"),
        Err(TestError::Abort(why)) => panic!("{why}\n\n{repeat}"),
    }
}

/// The command lines of a whole chain, with a command at its end, and what the model says of the last instance.
struct Chain {
    /// The words of each level.
    words: Vec<Vec<OsString>>,
    /// The command lines, as text for people.
    lines: String,
    comes: std::result::Result<View, Stop>,
}

impl Chain {
    fn of(case: &Case, world: &World) -> Self {
        let mut chain =
            Chain { words: Vec::new(), lines: String::new(), comes: Ok(View::of_host(world, &case.trees)) };
        for level in &case.levels {
            let Ok(view) = &chain.comes else { break };
            if !chain.words.is_empty() && !view.can_execute(&selfdock()) {
                break;
            }
            let request = level.request(view, world);
            let words = request.words();
            let shown: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
            writeln!(chain.lines, "selfdock {}", shown.join(" ")).expect("a string");
            let end = args!["--keep-fd", "9", "--"];
            chain.words.push([args![selfdock()].to_vec(), words, end.to_vec()].concat());
            chain.comes = view.instance(&request);
        }
        chain
    }

    /// Starts the probe in the instance of this level.
    fn with_probe(&self, levels: usize, word: &str) -> Cmd {
        with_probe(self.words[..levels].iter().flatten().cloned(), word)
    }
}

/// The probe is open as descriptor 9, so no root filesystem needs to have it.
fn with_probe(words: impl IntoIterator<Item = OsString>, word: &str) -> Cmd {
    let launcher = args!["sh", "-c", "exec 9< \"$PROBE\"; exec \"$@\"", "sh"];
    let words = launcher.into_iter().chain(words).chain(args!["/proc/self/fd/9", word]);
    Cmd::program(words).env("PROBE", bin("probe"))
}

/// Starts the instances of a case, and compares them with the model.
fn compare(case: &Case) -> std::result::Result<Outcome, String> {
    let world = World::make(&case.trees);
    let chain = Chain::of(case, &world);
    let (lines, depth) = (&chain.lines, chain.words.len());
    let view = match &chain.comes {
        Ok(view) => view,
        Err(Stop::Unknown) => return Ok(Outcome::Unknown),
        Err(Stop::Refused(why, _)) => {
            println!("{lines}refused: {why}");
            let ran = chain.with_probe(depth, "look").output();
            let is_a_line = ran.stderr.starts_with("selfdock: ") && ran.stderr.lines().count() == 1;
            if ran.status.code() == Some(125) && is_a_line && ran.stdout.is_empty() {
                return Ok(Outcome::Refused);
            }
            return Err(format!("{lines}to be refused: {why}; but {}\n{}", ran.status, ran.stderr));
        }
    };
    let (paths, wanted) = view.told();
    println!("{lines}{} paths", wanted.lines().count());
    let seen = if let Some(which) = case.enter {
        let held_levels = 1 + usize::from(which) % depth;
        let mut held = chain.with_probe(held_levels, "hold").spawn();
        if held.line() != "up" {
            return Err(format!("{lines}it does not start"));
        }
        let inner = (1..held_levels).fold(held.pid(), |pid, _| command_of(pid));
        let enter = args![selfdock(), "enter", "--keep-fd", "9", inner.to_string()].to_vec();
        let words = [enter, chain.words[held_levels..].concat()].concat();
        let ran = with_probe(words, "look").stdin(&paths).output();
        held.close();
        held.wait();
        held.leaves_nothing();
        ran
    } else {
        chain.with_probe(depth, "look").stdin(&paths).output()
    };
    if !seen.status.success() || !seen.stderr.is_empty() {
        return Err(format!("{lines}{}\n{}", seen.status, seen.stderr));
    }
    let mut faults = String::new();
    for (is, should) in seen.stdout.lines().zip(wanted.lines()).filter(|(is, should)| is != should) {
        writeln!(faults, "is:        {is}\nshould be: {should}").expect("a string");
    }
    if seen.stdout.lines().count() != wanted.lines().count() {
        writeln!(faults, "not a line for each path").expect("a string");
    }
    if faults.is_empty() { Ok(Outcome::Compared) } else { Err(format!("{lines}{faults}")) }
}
