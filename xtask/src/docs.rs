//! `cargo xtask docs`

use crate::place::items;
use crate::replace::Source;
use crate::run::{Context, Result, no_more, wants_help};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const HELP: &str = "\
Make the man page and the completions from the table of options, as `install` does.

Usage: cargo xtask docs DIR
       cargo xtask docs --check

  DIR       the directory for them, as below a prefix: DIR/share/man/man1/selfdock.1 and so on
  --check   check them with the programs that read them; programs that are not installed are skipped
";

/// The programs that read a document, by the end of its name. Any output of them is a fault.
const READERS: &[(&str, &[&str])] = &[
    ("selfdock.1", &["man", "--warnings", "--encoding=UTF-8", "--local-file"]),
    ("selfdock.1", &["mandoc", "-T", "lint", "-W", "warning"]),
    ("completions/selfdock", &["bash", "-n"]),
    ("_selfdock", &["zsh", "-n"]),
    ("selfdock.fish", &["fish", "--no-execute"]),
];

pub fn main(mut args: pico_args::Arguments) -> Result {
    if wants_help(&mut args, HELP) {
        return Ok(());
    }
    if args.contains("--check") {
        no_more(args)?;
        return check();
    }
    let dir = args.free_from_os_str(|dir| Ok::<_, String>(PathBuf::from(dir))).context("DIR")?;
    no_more(args)?;
    for path in write(&dir)? {
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Lets the programs read each document.
pub fn check() -> Result {
    let dir = tempfile::tempdir().context("make a directory")?;
    let documents = write(dir.path())?;
    let mut faults = Vec::new();
    for (end, reader) in READERS {
        for document in documents.iter().filter(|path| path.to_string_lossy().ends_with(end)) {
            faults.extend(read_by(reader, document)?);
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n  ")) }
}

fn write(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for item in items() {
        let Source::Bytes(text) = item.source else { continue };
        let path = dir.join(item.dest);
        let parent = path.parent().expect("a document has a directory");
        fs::create_dir_all(parent).context(format_args!("make directory '{}'", parent.display()))?;
        fs::write(&path, text).context(format_args!("write '{}'", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

/// The faults that a program reports.
fn read_by(reader: &[&str], document: &Path) -> Result<Option<String>> {
    let mut command = Command::new(reader[0]);
    command.args(&reader[1..]).arg(document).env("MANWIDTH", "80").stdin(Stdio::null());
    let out = match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("check: {} is not installed, so it did not check {}", reader[0], document.display());
            return Ok(None);
        }
        other => other.context(reader[0])?,
    };
    // man prints the page itself on standard output.
    let said = if reader[0] == "man" { out.stderr } else { [out.stdout, out.stderr].concat() };
    let fault = !out.status.success() || !said.is_empty();
    Ok(fault.then(|| format!("{}: {}", reader[0], String::from_utf8_lossy(&said).trim())))
}
