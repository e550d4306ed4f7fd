//! The results of mutants, kept between runs.

use super::points::Mutant;
use crate::run::{Context, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Killed,
    Survived,
    /// Its program is the original's.
    Equal,
    /// The mutant does not compile.
    Unviable,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Killed => "killed",
            Verdict::Survived => "ALIVE",
            Verdict::Equal => "equal",
            Verdict::Unviable => "unviable",
        }
    }
}

#[derive(Clone)]
pub struct Outcome {
    pub verdict: Verdict,
    /// The test that failed.
    pub by: Option<String>,
}

impl Outcome {
    pub fn of(verdict: Verdict) -> Self {
        Outcome { verdict, by: None }
    }

    pub fn killed(by: String) -> Self {
        Outcome { verdict: Verdict::Killed, by: Some(by) }
    }
}

pub struct State(Map<String, Value>);

fn file() -> PathBuf {
    super::tree::dir().join("state.json")
}

impl State {
    pub fn read() -> Result<Self> {
        match fs::read_to_string(file()) {
            Ok(text) => serde_json::from_str(&text).context(file().display()).map(State),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State(Map::new())),
            Err(error) => Err(format!("{}: {error}", file().display())),
        }
    }

    /// The result of a mutant, if its function has not changed since.
    pub fn of(&self, mutant: &Mutant) -> Option<Outcome> {
        let known = self.0.get(&mutant.key())?;
        if known["around"].as_u64() != Some(mutant.around) {
            return None;
        }
        let verdicts = [Verdict::Killed, Verdict::Survived, Verdict::Equal, Verdict::Unviable];
        let verdict =
            verdicts.into_iter().find(|verdict| Some(verdict.word()) == known["verdict"].as_str())?;
        Some(Outcome { verdict, by: known["by"].as_str().map(str::to_owned) })
    }

    /// The tests that have killed other mutants of its function, and of its file. Those that killed most come first.
    pub fn killers(&self, mutant: &Mutant) -> Vec<&str> {
        const OF_FUNCTION: usize = 6;
        const OF_FILE: usize = 6;
        let (file, function) =
            (format!("{} ", mutant.file), format!("{} {}: ", mutant.file, mutant.function()));
        let most = |prefix: &str, count: usize| {
            let mut kills: BTreeMap<&str, usize> = BTreeMap::new();
            let near = self.0.iter().filter(|(key, _)| key.starts_with(prefix));
            for test in near.filter_map(|(_, known)| known["by"].as_str()).filter(|test| !test.contains(' '))
            {
                *kills.entry(test).or_default() += 1;
            }
            let mut kills: Vec<_> = kills.into_iter().collect();
            kills.sort_by_key(|(_, kills)| usize::MAX - kills);
            kills.into_iter().map(|(test, _)| test).take(count).collect::<Vec<_>>()
        };
        [most(&function, OF_FUNCTION), most(&file, OF_FILE)].concat()
    }

    /// Stores a result at once, since a run may end at any time.
    pub fn note(&mut self, mutant: &Mutant, outcome: &Outcome) -> Result {
        let value = json!({ "around": mutant.around, "verdict": outcome.verdict.word(), "by": outcome.by });
        self.0.insert(mutant.key(), value);
        let (new, text) =
            (file().with_extension("new"), serde_json::to_string_pretty(&self.0).context("state")?);
        fs::write(&new, text).context(new.display())?;
        fs::rename(&new, file()).context(file().display())
    }
}
