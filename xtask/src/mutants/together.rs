//! Tries many mutants in one program. That finds in one run of the tests that none of them is noticed.

use super::points::Mutant;
use super::state::{Outcome, State, Verdict};
use super::tree::{Programs, Tree};
use super::{Options, Trial, modules_for};
use crate::run::Result;
use crate::stop::Stop;
use std::collections::BTreeMap;

/// How many are tried at once.
const AT_ONCE: usize = 12;

/// Those of one file that are tried with the same modules.
struct Group<'m> {
    mutants: Vec<&'m Mutant>,
    modules: Vec<String>,
}

pub fn try_all(
    trial: &mut Trial,
    tree: &Tree,
    mutants: &[Mutant],
    options: &Options,
    state: &mut State,
    stop: &Stop,
) -> Result {
    let mut groups = groups(mutants, options);
    while let Some(group) = groups.pop() {
        if stop.requested() {
            break;
        }
        let Some(programs) = build(tree, &group.mutants)? else {
            match group.mutants[..] {
                [mutant] => note(mutant, &Outcome::of(Verdict::Unviable), state)?,
                _ => groups.extend(halves(group)),
            }
            continue;
        };
        let failed =
            trial.judge.first_failure(&programs.dir, &trial.original.dir, &group.modules.join(" "))?;
        if stop.requested() {
            break;
        }
        let Some(test) = failed else {
            for mutant in group.mutants {
                note(mutant, &Outcome::of(Verdict::Survived), state)?;
            }
            continue;
        };
        let mut left = Vec::new();
        for mutant in &group.mutants {
            // A name with a space is no test: the suite did not come to its end.
            let fails = match build(tree, &[mutant])? {
                Some(alone) if group.mutants.len() > 1 && !test.contains(' ') => {
                    trial.judge.first_failure(&alone.dir, &trial.original.dir, &test)?
                }
                _ => (group.mutants.len() == 1).then(|| test.clone()),
            };
            match fails {
                Some(test) => note(mutant, &Outcome::killed(test), state)?,
                None => left.push(*mutant),
            }
        }
        let rest = Group { modules: from(&group.modules, &test), mutants: left };
        // Only several at once fail it.
        if rest.mutants.len() == group.mutants.len() {
            groups.extend(halves(rest));
        } else if !rest.mutants.is_empty() {
            groups.push(rest);
        }
    }
    Ok(())
}

fn groups<'m>(mutants: &'m [Mutant], options: &Options) -> Vec<Group<'m>> {
    let mut groups: BTreeMap<(&str, String), Vec<Group<'m>>> = BTreeMap::new();
    for mutant in mutants {
        let modules = modules_for(mutant, options);
        let same = groups.entry((&mutant.file, modules.clone())).or_default();
        let fits = |group: &&mut Group<'_>| {
            group.mutants.len() < AT_ONCE && group.mutants.iter().all(|other| mutant.is_apart_from(other))
        };
        if let Some(group) = same.iter_mut().find(fits) {
            group.mutants.push(mutant);
        } else {
            let modules = modules.split_whitespace().map(str::to_owned).collect();
            same.push(Group { mutants: vec![mutant], modules });
        }
    }
    groups.into_values().flatten().collect()
}

fn halves(mut group: Group<'_>) -> Vec<Group<'_>> {
    let other = group.mutants.split_off(group.mutants.len() / 2);
    let other = Group { mutants: other, modules: group.modules.clone() };
    [group, other].into_iter().filter(|group| !group.mutants.is_empty()).collect()
}

/// The modules from the one of this test on.
fn from(modules: &[String], test: &str) -> Vec<String> {
    let at = modules.iter().position(|module| test.starts_with(&format!("{module}::"))).unwrap_or(0);
    modules[at..].to_vec()
}

fn build(tree: &Tree, mutants: &[&Mutant]) -> Result<Option<Programs>> {
    tree.with(mutants, |tree| tree.build("even"))
}

fn note(mutant: &Mutant, outcome: &Outcome, state: &mut State) -> Result {
    let by = outcome.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
    println!("{}:{} {}: {}{by}", mutant.file, mutant.line, mutant.name, outcome.verdict.word());
    state.note(mutant, outcome)
}
