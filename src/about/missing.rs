//! Says why a command was not found in its instance, and what to do. It searches outside, with the caller's rights.

use super::foreign::{ONE_WORD, hint, of_image, typed};
use super::front::{Line, is_program, program, program_in};
use super::overlay::real_path;
use super::presets;
use crate::cli::Command;
use crate::command::{NOT_IN_PATH, change, variable};
use crate::error::{Error, NOT_FOUND, on};
use crate::files;
use crate::handover::About;
use crate::host::SHOWN;
use crate::options::Id;
use crate::plan::components;
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
    let advice = match swallowed(about, &line).or_else(|| written_for_another(name)) {
        Some(advice) => Some(advice),
        None if name.is_empty() => {
            Some("the name of the command is empty; is a variable of a script not set?")
        }
        None if name.contains(&b'/') => hidden(&line, name).or_else(|| of_path(&line, name)),
        None => change::<Error>(&about.environment, &request.env)
            .ok()
            .and_then(|environment| program_in(&environment, name))
            .map(|file| hidden(&line, file).unwrap_or_else(|| how_to_show(&line, file))),
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
    Some(hint(&[b"-e took ", typed(value).as_bytes(), b" as VALUE; ", ONE_WORD.as_bytes()]))
}

/// Advice for a line of shell as one word, for a variable before the command, and for an image of Docker.
fn written_for_another(name: &[u8]) -> Option<&'static str> {
    if files::lstat(CWD, name).is_ok() {
        return None;
    }
    if let Some(at) = name.iter().position(|b| *b == b'=') {
        let is_of_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        let is_name = at > 0 && name[..at].iter().all(is_of_name) && !name[0].is_ascii_digit();
        if is_name {
            return Some(hint(&[b"to set a variable write -e ", typed(name).as_bytes()]));
        }
    }
    if !name.contains(&b' ') {
        return of_image(name);
    }
    let is_plain = !name.iter().any(|b| matches!(b, b'\'' | b'\\') || b.is_ascii_control());
    let script = if is_plain { typed(name) } else { "LINE".into() };
    Some(hint(&[b"for a line of shell write sh -c ", script.as_bytes()]))
}

/// Advice for a command that is a path.
fn of_path(line: &Line<'_>, name: &[u8]) -> Option<&'static str> {
    if !is_program(name) {
        return files::lstat(CWD, name).is_err().then_some("it does not exist outside either");
    }
    if name.starts_with(b"/") {
        return Some(how_to_show(line, name));
    }
    if line.has(Id::Here) || name.starts_with(b"../") {
        return real_path(name).map(|file| how_to_show(line, file));
    }
    Some("it exists only outside; -H adds the current directory")
}

/// Advice if an option hides a program that exists outside.
fn hidden(line: &Line<'_>, file: &[u8]) -> Option<&'static str> {
    if !file.starts_with(b"/") || !is_program(file) || !line.is_of_host() {
        return None;
    }
    let by = line.hides(file).or_else(|| line.hides(real_path(file)?))?;
    let (verb, place) = match by.opt.id {
        Id::Mask | Id::MaskIfExists => (&b" hides "[..], by.values[0]),
        _ => (&b" has something else on "[..], by.values[1]),
    };
    let (file, place, option) = (typed(file), typed(place), by.opt.long.as_bytes());
    Some(hint(&[file.as_bytes(), b" exists only outside: --", option, verb, place.as_bytes()]))
}

/// Advice for a program that exists outside only. In another root filesystem a program of the host's would lack its
/// libraries.
fn how_to_show(line: &Line<'_>, file: &[u8]) -> &'static str {
    let [(_, of_system), ..] = SHOWN else { return NOT_IN_PATH };
    let is_of_system = |dir: &[u8]| of_system.split(' ').any(|name| name.as_bytes() == dir);
    if !line.is_of_host() && components(file).next().is_some_and(is_of_system) {
        return hint(&[
            typed(file).as_bytes(),
            b" exists only outside; the root filesystem needs one of its own",
        ]);
    }
    let (file, dir) = (typed(file), typed(files::parent(file)));
    let dir = dir.as_bytes();
    hint(&[file.as_bytes(), b" exists only outside; add it with -m ", dir, b" ", dir])
}
