//! `cargo xtask audit`

use crate::cargo::{build_release, release};
use crate::run::{Context, Result, no_more, root, wants_help};
use crate::source::{files, lines, tests_below};
use crate::{documents, elf, mutants};
use std::fmt::Write;
use std::fs;
use std::path::Path;

const HELP: &str = "\
Count what must be trusted, and the tests that check it.

Usage: cargo xtask audit

Prints the table of SECURITY.md. `cargo xtask check` compares the table there with the counts.
";

/// All crates that are linked into the trusted binary.
pub const TRUSTED: [&str; 4] = ["selfdock", "rustix", "bitflags", "linux-raw-sys"];

/// The document with the table.
const FILE: &str = "SECURITY.md";
type Figure = (&'static str, usize);

pub fn main(mut args: pico_args::Arguments) -> Result {
    if wants_help(&mut args, HELP) {
        return Ok(());
    }
    no_more(args)?;
    build_release()?;
    print!("{}", table(&figures()?));
    println!("\nMutants, from ci/mutants.killed, ci/mutants.txt and target/mutants:");
    for (file, numbers) in mutants::numbers()? {
        println!("  {file:<24} {numbers}");
    }
    Ok(())
}

/// Checks that the figures of the document differ by at most a tenth from the counts.
pub fn check() -> Result {
    let text = fs::read_to_string(root().join(FILE)).context(FILE)?;
    let far = figures()?.into_iter().find(|(what, count)| !is_near(&text, what, *count));
    far.map_or(Ok(()), |(what, count)| {
        Err(format!("{FILE}: '{what}' is {count} now; `cargo xtask audit` prints the whole table"))
    })
}

fn is_near(text: &str, what: &str, count: usize) -> bool {
    let row = text.lines().find_map(|line| line.strip_prefix(&format!("| {what} | ")));
    let written = row.and_then(|row| row.trim_end_matches([' ', '|']).parse::<usize>().ok());
    written.is_some_and(|written| written.abs_diff(count) * 10 <= count)
}

fn table(figures: &[Figure]) -> String {
    let mut table = "| what | how many |\n|---|---|\n".to_owned();
    for (what, count) in figures {
        writeln!(table, "| {what} | {count} |").expect("a string");
    }
    table
}

fn figures() -> Result<Vec<Figure>> {
    let (mut code, mut blocks) = (0, 0);
    for file in trusted_files()? {
        let text = fs::read_to_string(&file).context(file.display())?;
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
        let lines = lines(&text);
        code += lines.iter().filter(|line| !line.code.trim().is_empty()).count();
        blocks += lines.iter().map(|line| line.code.matches("unsafe {").count()).sum::<usize>();
    }
    let mut program = fs::read(release("selfdock")).context("the set-uid program")?;
    elf::keep_what_is_loaded(&mut program).ok_or("the set-uid program is no ELF file")?;
    let [all, listed] = mutants::places()?;
    Ok(vec![
        ("lines of code in the set-uid program", code),
        ("unsafe blocks among them", blocks),
        ("crates that it links", TRUSTED.len() - 1),
        ("bytes that are loaded of it", program.len()),
        ("changes that `cargo xtask mutants` knows to make", all),
        ("of which no behaviour can show", listed),
        ("classes of mistakes with tests", documents::mistakes()?),
        ("tests of the suite, each once for all its cases", tests_below(Path::new("tests/suite"))?),
        ("unit tests", tests_below(Path::new("src"))? + tests_below(Path::new("xtask/src"))?),
    ])
}

/// The files of the set-uid program.
fn trusted_files() -> Result<Vec<std::path::PathBuf>> {
    let source = root().join("src");
    let second = [source.join("about"), source.join("about_main.rs")];
    let mut files = files()?;
    files.retain(|file| file.starts_with(&source) && !second.iter().any(|place| file.starts_with(place)));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_may_be_a_little_old() {
        let text = table(&[("a", 100), ("b", 7)]);
        assert!(is_near(&text, "a", 100) && is_near(&text, "a", 109) && is_near(&text, "b", 7));
        assert!(!is_near(&text, "a", 115) && !is_near(&text, "b", 8) && !is_near(&text, "c", 0));
    }

    #[test]
    fn the_second_program_is_not_trusted() {
        let files = trusted_files().unwrap();
        let has = |name: &str| files.iter().any(|file| file.ends_with(name));
        assert!(
            has("src/creds.rs")
                && has("src/sys/mod.rs")
                && !has("src/about/each.rs")
                && !has("src/about_main.rs")
        );
    }
}
