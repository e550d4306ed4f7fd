//! `cargo xtask recipes`: the recipes of programs that are too large for CI.

use crate::install_test::with_installation;
use crate::kernels::{make_root, mirror};
use crate::run::{Result, root};
use crate::suite::Verdict;
use std::path::Path;
use std::time::Instant;

const HELP: &str = "\
Run the recipes of programs that are too large for CI: Chromium, LibreOffice and Slurm.

Usage: cargo xtask recipes [FILTER...] [--anew]

  FILTER          only recipes whose test has this in its name: chromium, libreoffice, slurm
  --anew          make the root filesystem again

The first run makes a Debian of this machine's release with these programs, in target/recipes: 200 MB to download, and
1 GB on disk. The recipes are those of docs/recipes.md, word by word. They run without privilege, like the tests of
`install-test`, on a copy of this root filesystem.
";

const PACKAGES: [&str; 6] =
    ["chromium", "iproute2", "libreoffice-writer-nogui", "munge", "slurmctld", "slurmd"];

/// A program of each recipe.
const PROGRAMS: [&str; 3] = ["chromium", "soffice", "srun"];

pub fn main(args: pico_args::Arguments) -> Result {
    with_installation(&["recipes"], HELP, args, |mut suite, mut words, stop| {
        let before = words.len();
        words.retain(|word| word != "--anew");
        let anew = words.len() < before;
        let filters: Vec<String> = words.into_iter().map(|word| word.to_string_lossy().into()).collect();
        let mut tests = suite.list_ignored(&filters)?;
        tests.retain(|test| test.starts_with("recipes::"));
        if tests.is_empty() {
            return Err("no recipe has such a name; see --help".into());
        }
        let debian = root().join("target/recipes/root");
        if anew || !missing(&debian).is_empty() {
            let (mirror, release) = mirror()?;
            make_root(&debian, &mirror, &release, &PACKAGES, |_| Ok(()))?;
        }
        if let Some(program) = missing(&debian).first() {
            return Err(format!("there is no {program} in '{}'", debian.display()));
        }
        suite.env.push(("SELFDOCK_RECIPES", debian));
        let start = Instant::now();
        let outcomes = suite.one_by_one(tests, stop)?;
        let failed = outcomes.iter().filter(|outcome| outcome.verdict != Verdict::Passed).count();
        println!("recipes: {} run in {} s, {failed} failed", outcomes.len(), start.elapsed().as_secs());
        if failed == 0 { Ok(()) } else { Err(format!("{failed} recipes failed")) }
    })
}

/// The programs that a root filesystem lacks.
fn missing(debian: &Path) -> Vec<&'static str> {
    let is_there = |program: &&str| debian.join("usr/bin").join(program).symlink_metadata().is_ok();
    PROGRAMS.into_iter().filter(|program| !is_there(program)).collect()
}
