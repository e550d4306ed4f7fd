//! A command line. If the set-uid program understands a line, it means the same to the second program. If the second
//! program rewrites a line, the set-uid program understands the result. In the input, words end with NUL. Two NUL bytes
//! end the line, and the text of each `@FILE` follows.

use super::{about, is_one_line, shown};
use crate::about::front::{self, Line};
use crate::about::{presets, profiles};
use crate::cli::{self, Command};
use crate::command;
use crate::error::{Error, Result, Unsaid, on};
use crate::options::{BUILD, ENTER, Id, RUN};
use crate::text::{Bytes, join};
use alloc::format;
use alloc::vec::Vec;

/// Short forms whose meaning depends on what runs on the machine.
const OF_THE_MACHINE: [Id; 6] = [Id::X11, Id::Wayland, Id::Dbus, Id::Pulse, Id::SshAgent, Id::Gpu];

/// Parses the line in both programs.
pub fn check(data: &[u8]) {
    let end = data.windows(2).position(|two| two == b"\0\0").unwrap_or(data.len());
    let text: Bytes = join(&[data.get(end + 2..).unwrap_or_default()]);
    let words: Vec<&[u8]> = data[..end].split(|byte| *byte == 0).collect();
    let files = |name: &[u8]| file(name, text);
    let read = Line::read(&words, &files);
    if let Ok(plain) = cli::parse(&words) {
        means_the_same(&plain, &read, &words);
    }
    if let Err(error) = read.and_then(|line| goes_back_once(line, &words)) {
        is_one_line(&error);
    }
}

fn file(name: &[u8], text: &[u8]) -> Result<profiles::Lines> {
    if name == b"none" {
        return Err(Error::refused(on("profile {}", name), "there is none"));
    }
    let mut lines = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let words = profiles::words(&about(), line)?;
        if !words.is_empty() {
            lines.push((b"here" as Bytes, &*words.leak()));
        }
    }
    Ok(lines)
}

/// The set-uid program would do what the second program explains.
fn means_the_same(plain: &Command<'_>, read: &Result<Line<'_>>, words: &[&[u8]]) {
    let about = about();
    let Command::Run(request) = plain else { return };
    if command::check::<Unsaid>(request, &about.environment, Some(b"/w")).is_err() {
        return;
    }
    let words = shown(words.iter().copied());
    let line = read.as_ref().unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let verb = line.verb().unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let here = line.request(verb).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    assert_eq!(format!("{plain:?}"), format!("{here:?}"), "{words:?}");
}

/// The second program turns short forms into words that the set-uid program understands.
fn goes_back_once(line: Line<'_>, words: &[&[u8]]) -> Result<()> {
    let about = about();
    if line.has(Id::Help) || line.has(Id::Version) {
        return Ok(());
    }
    let verb = line.verb()?;
    line.check_the_last(&about)?;
    if verb.bit & (RUN | BUILD | ENTER) == 0 || OF_THE_MACHINE.iter().any(|id| line.has(*id)) {
        return Ok(());
    }
    let line = presets::expanded(line, &about)?;
    let asked = line.check(verb, &about)?;
    if line.has(Id::Explain) {
        return Ok(());
    }
    let (plain, around) = line.around()?;
    let verb = if around.copies_root { front::by_name(b"build")? } else { verb };
    let plain = plain.words(verb);
    let again = cli::parse(&plain);
    let (words, plain) = (shown(words.iter().copied()), shown(plain.iter().copied()));
    let again = again.unwrap_or_else(|_| panic!("{words:?} became {plain:?}, which is not understood"));
    assert_eq!(format!("{asked:?}"), format!("{again:?}"), "{words:?} became {plain:?}");
    Ok(())
}
