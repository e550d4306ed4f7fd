//! The functions of which nothing is left to try, kept with the code: a fresh checkout knows what has been tried.

use super::points::{Mutant, hash};
use crate::run::{Context, Result, root};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

pub const FILE: &str = "ci/mutants.killed";

const HEAD: &str = "\
# Functions of which each mutant is killed, equal or in mutants.txt: the hash of their text and mutants, and how many.
# `cargo xtask mutants --write` writes it.
";

/// The hash and the number of mutants, by file and function.
pub struct Done(BTreeMap<String, (String, usize)>);

impl Done {
    pub fn read() -> Result<Self> {
        parse(&fs::read_to_string(root().join(FILE)).context(FILE)?)
    }

    /// The mutants that it knows of, by their keys, and what has changed since is not among them.
    pub fn of<'m>(&self, all: &'m [Mutant]) -> Vec<&'m Mutant> {
        let groups = by_function(all).into_iter();
        groups
            .filter(|(name, mutants)| self.0.get(name) == Some(&mark(mutants)))
            .flat_map(|(_, m)| m)
            .collect()
    }
}

fn parse(text: &str) -> Result<Done> {
    let mut all = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let [count, hash, name @ ..] = &words[..] else { return Err(format!("{FILE}: {line}")) };
        all.insert(name.join(" "), ((*hash).to_owned(), count.parse().context(line)?));
    }
    Ok(Done(all))
}

/// Writes those of which each is done.
pub fn write(all: &[Mutant], is_done: impl Fn(&Mutant) -> bool) -> Result {
    let mut text = HEAD.to_owned();
    for (name, mutants) in by_function(all) {
        if mutants.iter().all(|mutant| is_done(mutant)) {
            let (hash, count) = mark(&mutants);
            writeln!(text, "{count} {hash} {name}").context(FILE)?;
        }
    }
    fs::write(root().join(FILE), text).context(FILE)
}

fn by_function(all: &[Mutant]) -> BTreeMap<String, Vec<&Mutant>> {
    let mut groups: BTreeMap<String, Vec<&Mutant>> = BTreeMap::new();
    for mutant in all {
        groups.entry(format!("{} {}", mutant.file, mutant.function())).or_default().push(mutant);
    }
    groups
}

fn mark(mutants: &[&Mutant]) -> (String, usize) {
    let text: String = mutants.iter().map(|mutant| format!("{} {}\n", mutant.around, mutant.name)).collect();
    (format!("{:016x}", hash(text.as_bytes())), mutants.len())
}

#[cfg(test)]
mod tests {
    use super::super::points::find;
    use super::*;

    #[test]
    fn a_function_that_has_changed_is_not_done() {
        let text = "fn f() { a(); b(); } fn g() { c(); }";
        let all = find("x.rs", text).unwrap();
        let mut lines = String::new();
        for (name, mutants) in by_function(&all) {
            let (hash, count) = mark(&mutants);
            writeln!(lines, "{count} {hash} {name}").unwrap();
        }
        let done = parse(&lines).unwrap();
        assert_eq!(done.of(&all).len(), all.len());
        let changed = find("x.rs", &text.replace("b()", "d()")).unwrap();
        assert!(done.of(&changed).iter().all(|mutant| mutant.function() == "g"));
        assert!(!done.of(&changed).is_empty());
    }
}
