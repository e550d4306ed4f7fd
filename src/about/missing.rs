//! Says why a command was not found in its instance, and what to do. It searches outside, with the caller's rights.

use super::foreign::{hint, typed};
use super::front::{Line, is_program, program};
use super::presets;
use crate::cli::Command;
use crate::command::{NOT_IN_PATH, variable};
use crate::error::{Error, NOT_FOUND, on};
use crate::files;
use crate::handover::About;
use crate::options::Id;
use rustix::fs::CWD;
use rustix::io::Errno;

/// The error for a command that was not found, with advice.
pub fn why(about: &About, line: &Line<'_>) -> Error {
    let line = match presets::expanded(line.clone(), about) {
        Ok(line) => line,
        Err(error) => return error,
    };
    let request = match line.verb().and_then(|verb| line.request(verb)) {
        Ok(Command::Run(request)) => request,
        Ok(_) => return Error::refused("start", "no instance is known"),
        Err(error) => return error,
    };
    let shell = variable(&about.environment, b"SHELL").unwrap_or(b"sh");
    let name = request.command.first().copied().unwrap_or(shell);
    let error = Error::of(on("run {}", name), Errno::NOENT).status(NOT_FOUND);
    let advice = match swallowed(about, &line) {
        Some(advice) => Some(advice),
        None if name.is_empty() => {
            Some("the name of the command is empty; is a variable of a script not set?")
        }
        None if name.contains(&b'/') => of_path(name),
        None => of_name(about, name),
    };
    match advice {
        Some(advice) => error.hint(advice),
        None if name.contains(&b'/') => error,
        None => error.hint(NOT_IN_PATH),
    }
}

/// Advice if an option took the program as its value.
fn swallowed(about: &About, line: &Line<'_>) -> Option<&'static str> {
    let said = line.options.last()?;
    let [_, value] = said.values;
    if said.opt.id != Id::Env || value.is_empty() || program(about, value).is_none() {
        return None;
    }
    Some(hint(&[b"-e took ", typed(value).as_bytes(), b" as VALUE; write -e NAME=VALUE as one word"]))
}

/// Advice for a command that is a path.
fn of_path(name: &[u8]) -> Option<&'static str> {
    if !is_program(name) {
        return files::lstat(CWD, name).is_err().then_some("it does not exist outside either");
    }
    if !name.starts_with(b"/") {
        return Some("it exists only outside; -H adds the current directory");
    }
    Some(how_to_show(name))
}

/// Advice for a command that is searched for in `PATH`.
fn of_name(about: &About, name: &[u8]) -> Option<&'static str> {
    program(about, name).map(how_to_show)
}

fn how_to_show(file: &[u8]) -> &'static str {
    let (file, dir) = (typed(file), typed(files::parent(file)));
    let dir = dir.as_bytes();
    hint(&[file.as_bytes(), b" exists only outside; add it with -m ", dir, b" ", dir])
}
