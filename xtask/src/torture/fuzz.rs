//! `cargo xtask torture fuzz`

use crate::cargo::{cargo, host};
use crate::run::{Context, Result, no_more, root, run, wants_help};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const HELP: &str = "\
Give random input to each subject of fuzz/subjects, and check its invariants.

Usage: cargo xtask torture fuzz [SUBJECT] [OPTION...]

  SUBJECT         only this subject: a file of fuzz/subjects
  --minutes N     for N minutes (default 60), all subjects in turns
  --input FILE    try this input of SUBJECT once

A run begins with fuzz/seeds, and with the inputs that earlier runs have kept in fuzz/target/corpus. A failing input is
made smaller, and a line says how to repeat it. When the fault is mended, add the input to fuzz/seeds: unit tests try it
from then on.
";

/// The flags for the coverage that libFuzzer needs. A stable rustc takes them. `cargo fuzz` uses the same flags and a
/// sanitizer; that needs an unstable rustc, and finds nothing in safe code.
const FLAGS: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg",
    "fuzzing",
];

/// The time slice of a subject. Its memory is never freed, as in the program itself, so the slice must be short.
const SLICE: Duration = Duration::from_secs(10);
/// A limit that no slice reaches.
const MOST_MEGABYTES: u32 = 4096;
/// The number of tries of a subject in `cargo xtask check`.
const BRIEFLY: u32 = 10_000;

pub fn main(mut args: pico_args::Arguments) -> Result {
    if wants_help(&mut args, HELP) {
        return Ok(());
    }
    let minutes: u64 = args.opt_value_from_str("--minutes").context("--minutes")?.unwrap_or(60);
    let input = |text: &std::ffi::OsStr| Ok::<_, String>(PathBuf::from(text));
    let input = args.opt_value_from_os_str("--input", input).context("--input")?;
    let only: Option<String> = args.opt_free_from_str().context("SUBJECT")?;
    no_more(args)?;
    let subjects = match &only {
        Some(name) => subjects()?.into_iter().filter(|subject| subject == name).collect(),
        None => subjects()?,
    };
    let [first, ..] = &subjects[..] else {
        return Err("there is no such subject in fuzz/fuzz_targets".into());
    };
    let dir = build()?;
    match input {
        Some(file) if only.is_some() => run(Command::new(dir.join(first)).arg(file)),
        Some(_) => Err("--input needs SUBJECT".into()),
        None => at_length(&dir, &subjects, Duration::from_secs(minutes * 60)),
    }
}

/// Runs all subjects in turns, again and again, until the time is over.
fn at_length(dir: &Path, subjects: &[String], time: Duration) -> Result {
    let start = Instant::now();
    let slice = SLICE.min(time / subjects.len().try_into().unwrap_or(1)).as_secs().max(1);
    loop {
        for subject in subjects {
            let corpus = root().join("fuzz/target/corpus").join(subject);
            fs::create_dir_all(&corpus).context(corpus.display())?;
            try_subject(dir, subject, &corpus, &[format!("-max_total_time={slice}")])?;
            if start.elapsed() >= time {
                println!("fuzz: nothing found in {} minutes", start.elapsed().as_secs() / 60);
                return Ok(());
            }
        }
    }
}

/// Runs the same inputs each time: the seeds, and a number of inputs made from them.
pub fn briefly() -> Result {
    let dir = build()?;
    for subject in subjects()? {
        let corpus = tempfile::tempdir().context("a directory for inputs")?;
        let options = [format!("-runs={BRIEFLY}"), "-seed=1".into()];
        try_subject(&dir, &subject, corpus.path(), &options)?;
    }
    Ok(())
}

fn subjects() -> Result<Vec<String>> {
    let dir = root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).context(dir.display())? {
        let path = entry.context(dir.display())?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Builds all subjects, and returns their directory. With an explicit target the flags do not affect programs that
/// run at build time.
fn build() -> Result<PathBuf> {
    let host = host()?;
    let mut command = cargo("build");
    command.args(["--quiet", "--release", "--locked", "--manifest-path", "fuzz/Cargo.toml"]);
    command.args(["--target-dir", "fuzz/target", "--target", &host]);
    run(command.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f")))?;
    Ok(root().join("fuzz/target").join(host).join("release"))
}

/// Runs libFuzzer on a subject. Its output is printed if it finds something.
fn try_subject(dir: &Path, subject: &str, corpus: &Path, options: &[String]) -> Result {
    let found = root().join("fuzz/target/found");
    fs::create_dir_all(&found).context(found.display())?;
    let artifact = found.join(subject);
    let _ = fs::remove_file(&artifact);
    let mut command = Command::new(dir.join(subject));
    command
        .args(options)
        .arg(format!("-rss_limit_mb={MOST_MEGABYTES}"))
        .args(["-timeout=20", "-max_len=1024"]);
    command.arg(format!("-exact_artifact_path={}", artifact.display()));
    command.arg(corpus).arg(root().join("fuzz/seeds").join(subject));
    let done = command.stdin(Stdio::null()).output().context(subject)?;
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.success() {
        let tries = said.lines().rev().find_map(|line| line.strip_prefix("Done ")).unwrap_or_default();
        println!("fuzz: {subject:<12} {tries}");
        return Ok(());
    }
    eprintln!("{said}");
    make_small(dir, subject, &artifact);
    Err(format!(
        "fuzz: {subject} fails; `cargo xtask torture fuzz {subject} --input {}` repeats it",
        artifact.display()
    ))
}

/// Tries to make the input smaller for some seconds.
fn make_small(dir: &Path, subject: &str, artifact: &Path) {
    let small = artifact.with_extension("small");
    let _ = fs::remove_file(&small);
    let mut command = Command::new(dir.join(subject));
    command.args(["-minimize_crash=1", "-max_total_time=20"]).arg(artifact);
    command.arg(format!("-exact_artifact_path={}", small.display()));
    let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if small.exists() {
        let _ = fs::rename(&small, artifact);
    }
}
