//! Options in files: `@FILE`, or `@NAME` for a profile of the caller, the machine or the installation. The files are
//! read with the caller's rights and without privilege.

use super::foreign::typed;
use crate::command::variable;
use crate::error::{Error, OrFail, Quoted, Result, on};
use crate::files;
use crate::handover::About;
use crate::installation::Installation;
use crate::quote::is_unprintable;
use crate::text::{Bytes, bound, decimal, join};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use rustix::fd::AsFd;
use rustix::fs::{CWD, Dir, FileType, OFlags};
use rustix::io::Errno;

/// The largest file that is read.
const MOST_BYTES: usize = 64 << 10;

bound! {
    /// The maximum depth of values inside values. Each level takes some hundred bytes of stack.
    DEEPEST = 16,
    TOO_DEEP = "more than ", " values are inside each other"
}

/// The lines of a file: the position of each, and its words.
pub type Lines = Vec<(Bytes, &'static [Bytes])>;

/// Finds a file and reads it. A name without a slash is searched for in the directories of profiles.
pub fn read(about: &About, name: &[u8]) -> Result<Lines> {
    let path = if name.contains(&b'/') { join(&[name]) } else { find(about, name)? };
    let failed = on("read the options in {}", path);
    let file = files::open(CWD, path, OFlags::RDONLY | OFlags::NOCTTY).or_fail(failed)?;
    let text = files::read(file.as_fd(), 1024, MOST_BYTES).or_fail(failed)?;
    let mut lines = Vec::new();
    for (number, line) in (1u32..).zip(text.split(|b| *b == b'\n')) {
        let place = join(&[path, b":", decimal(number)]);
        let words = words(about, line).map_err(|error| error.within(on("{}", place)))?;
        if words.iter().any(|word| word.contains(&0)) {
            return Err(Error::refused(on("{}", place), "a NUL byte is in it, which no word can have"));
        }
        if !words.is_empty() {
            lines.push((place, &*words.leak()));
        }
    }
    Ok(lines)
}

/// The words of a line.
pub fn words(about: &About, line: &[u8]) -> Result<Vec<Bytes>> {
    let mut reader = Reader::new(about, line, 0);
    reader.read().map(|()| reader.words)
}

/// The directories of profiles. The first one that has a name counts.
fn directories(about: &About) -> Vec<Bytes> {
    let is_path = |path: &&[u8]| path.starts_with(b"/");
    let own = variable(&about.environment, b"XDG_CONFIG_HOME")
        .filter(is_path)
        .map(|dir| join(&[dir, b"/selfdock"]));
    let of_home = || {
        let home = variable(&about.environment, b"HOME").filter(is_path)?;
        Some(join(&[home, b"/.config/selfdock"]))
    };
    let shared = Installation::around(about.program.to_bytes()).profiles();
    let mut all: Vec<Bytes> = own.or_else(of_home).into_iter().collect();
    all.extend([b"/etc/selfdock/profiles", shared]);
    all
}

fn find(about: &About, name: &[u8]) -> Result<Bytes> {
    let paths = directories(about).into_iter().map(|dir| join(&[dir, b"/", name]));
    paths.into_iter().find(|path| files::identity_of(path) != Err(Errno::NOENT)).ok_or_else(|| {
        Error::refused(on("profile {}", name), "no such profile")
            .hint("'selfdock profiles' lists all; for a file write @./FILE")
    })
}

/// The text of `selfdock profiles`: the name of each profile, its path, and its first comment.
pub fn list(about: &About) -> String {
    let mut found: Vec<(Bytes, Bytes)> = Vec::new();
    for dir in directories(about) {
        let mut names = names(dir).unwrap_or_default();
        names.sort_unstable();
        names.retain(|name| found.iter().all(|(other, _)| other != name));
        found.extend(names.into_iter().map(|name| (name, join(&[dir, b"/", name]))));
    }
    let mut out = String::new();
    for (name, path) in found {
        let (name, place) = (format!("@{}", typed(name)), typed(path));
        let _ = writeln!(out, "{name:<12} {}\n{:12} {place}", purpose(path), "");
    }
    out
}

/// The message if there are no profiles.
pub fn none(about: &About) -> String {
    let places: Vec<String> = directories(about).into_iter().map(|dir| format!("{}", Quoted(dir))).collect();
    format!("no profiles found in {}", places.join(", "))
}

fn names(dir: &[u8]) -> rustix::io::Result<Vec<Bytes>> {
    let fd = files::open(CWD, dir, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&fd)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        let is_file =
            matches!(entry.file_type(), FileType::RegularFile | FileType::Symlink | FileType::Unknown);
        // Hidden files and backups of editors are no profiles.
        if is_file && !name.starts_with(b".") && !name.ends_with(b"~") {
            names.push(join(&[name]));
        }
    }
    Ok(names)
}

fn purpose(path: &[u8]) -> String {
    let read = || {
        let file = files::open(CWD, path, OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK)?;
        files::read(file.as_fd(), 1024, MOST_BYTES)
    };
    let text = read().unwrap_or_default();
    let line = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let said = line.strip_prefix(b"#").map(<[u8]>::trim_ascii).unwrap_or_default();
    core::str::from_utf8(said).unwrap_or_default().chars().filter(|c| !is_unprintable(*c)).collect()
}

/// Splits a line into words as a shell does, but never splits the value of a variable.
struct Reader<'r> {
    about: &'r About,
    rest: &'r [u8],
    word: Vec<u8>,
    is_word: bool,
    words: Vec<Bytes>,
    /// How many values this text is inside of.
    depth: usize,
}

impl<'r> Reader<'r> {
    fn new(about: &'r About, rest: &'r [u8], depth: usize) -> Self {
        Reader { about, rest, word: Vec::new(), is_word: false, words: Vec::new(), depth }
    }

    fn next(&mut self) -> Option<u8> {
        self.rest.split_off_first().copied()
    }

    fn push(&mut self, bytes: &[u8]) {
        self.word.extend_from_slice(bytes);
        self.is_word |= !bytes.is_empty();
    }

    fn end_word(&mut self) {
        if core::mem::take(&mut self.is_word) {
            self.words.push(core::mem::take(&mut self.word).leak());
        }
    }

    fn read(&mut self) -> Result<()> {
        while let Some(byte) = self.next() {
            match byte {
                b' ' | b'\t' | b'\r' => self.end_word(),
                b'#' if !self.is_word => break,
                b'\'' => {
                    let end = self.rest.iter().position(|b| *b == b'\'').ok_or_else(unclosed)?;
                    let text = &self.rest[..end];
                    self.rest = &self.rest[end + 1..];
                    self.push(text);
                    self.is_word = true;
                }
                b'"' => self.quoted()?,
                b'\\' => {
                    let goes_on = || Error::plain("a backslash at its end does not continue the line");
                    let byte = self.next().ok_or_else(goes_on)?;
                    self.push(&[byte]);
                }
                b'$' => self.variable()?,
                b'~' if !self.is_word || self.word.last() == Some(&b'=') => self.home()?,
                byte => self.push(&[byte]),
            }
        }
        self.end_word();
        Ok(())
    }

    fn quoted(&mut self) -> Result<()> {
        self.is_word = true;
        loop {
            match self.next().ok_or_else(unclosed)? {
                b'"' => return Ok(()),
                b'$' => self.variable()?,
                b'\\' if self.rest.first().is_some_and(|b| b"\"$\\`".contains(b)) => {
                    let byte = self.next().unwrap_or_default();
                    self.push(&[byte]);
                }
                byte => self.push(&[byte]),
            }
        }
    }

    /// Expands `~` if it stands alone or before a slash.
    fn home(&mut self) -> Result<()> {
        if !matches!(self.rest.first(), None | Some(b'/' | b' ' | b'\t')) {
            self.push(b"~");
            return Ok(());
        }
        let home = self.value(b"HOME").ok_or_else(|| unset(b"HOME"))?;
        self.push(home);
        Ok(())
    }

    fn value(&self, name: &[u8]) -> Option<Bytes> {
        variable(&self.about.environment, name).map(|value| join(&[value]))
    }

    /// Expands `$NAME`, `${NAME}`, `${NAME:-VALUE}` and `${NAME:+VALUE}`.
    fn variable(&mut self) -> Result<()> {
        let is_letter = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        let (is_open, text) = match self.rest {
            [b'{', text @ ..] => (true, text),
            text => (false, text),
        };
        let end = text.iter().position(|b| !is_letter(b)).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        if !is_open {
            self.rest = rest;
            if name.is_empty() {
                self.push(b"$");
                return Ok(());
            }
            let value = self.value(name).ok_or_else(|| unset(name))?;
            self.push(value);
            return Ok(());
        }
        let end = closing(rest).ok_or_else(unclosed)?;
        self.rest = &rest[end + 1..];
        let value = self.value(name);
        let is_there = value.is_some_and(|value| !value.is_empty());
        match &rest[..end] {
            [] => self.push(value.ok_or_else(|| unset(name))?),
            [b':', b'-', other @ ..] if !is_there => self.push(self.text(other)?),
            [b':', b'+', other @ ..] if is_there => self.push(self.text(other)?),
            [b':', b'-', ..] => self.push(value.unwrap_or_default()),
            [b':', b'+', ..] => {}
            _ => {
                return Err(Error::refused(
                    on("variable {}", text),
                    "profiles know $NAME, ${NAME}, ${NAME:-VALUE} and ${NAME:+VALUE} only",
                ));
            }
        }
        Ok(())
    }

    /// Expands the text inside braces, as one word or none.
    fn text(&self, text: &[u8]) -> Result<Bytes> {
        if self.depth == DEEPEST {
            return Err(Error::refused("variables", TOO_DEEP));
        }
        let mut inner = Reader::new(self.about, text, self.depth + 1);
        inner.read()?;
        Ok(inner.words.join(&b' ').leak())
    }
}

/// The position of the closing brace.
fn closing(text: &[u8]) -> Option<usize> {
    let mut depth = 0;
    text.iter().position(|byte| {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return true,
            b'}' => depth -= 1,
            _ => {}
        }
        false
    })
}

fn unclosed() -> Error {
    Error::plain("a quote or a brace is not closed")
}

fn unset(name: &[u8]) -> Error {
    Error::refused(on("variable {}", name), "not set")
        .hint("set it, or give it a default in the file: ${NAME:-VALUE}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::creds::Caller;
    use crate::handover::Mode;

    fn words(line: &str) -> core::result::Result<Vec<String>, String> {
        let about = About {
            caller: Caller { uid: 1, gid: 1 },
            mode: Mode::SetUid,
            program: c"/usr/bin/selfdock",
            name: c"selfdock",
            environment: alloc::vec![c"HOME=/home/me", c"A=one two", c"EMPTY="],
        };
        let words = super::words(&about, line.as_bytes()).map_err(|error| format!("{error}"))?;
        Ok(words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect())
    }

    #[test]
    fn words_are_those_of_a_shell() {
        for (line, expected) in [
            ("", &[][..]),
            ("  # all of it", &[]),
            ("-v a#b c # d", &["-v", "a#b", "c"]),
            (
                "-b ~ ~/x a~ ~you --home=~/y",
                &["-b", "/home/me", "/home/me/x", "a~", "~you", "--home=/home/me/y"],
            ),
            ("'a b' \"c  d\" e\\ f ''", &["a b", "c  d", "e f", ""]),
            ("$A \"$A\" '$A' \\$A x${A}y", &["one two", "one two", "$A", "$A", "xone twoy"]),
            ("${NONE:-~/z} ${EMPTY:-b} ${A:-b} ${NONE:-${NONE:-c}}", &["/home/me/z", "b", "one two", "c"]),
            ("${A:+--x} ${NONE:+--y} ${EMPTY:+--z} $EMPTY \"$EMPTY\"", &["--x", ""]),
            ("\"a \\\" \\x\" 5$ \r", &["a \" \\x", "5$"]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn what_is_not_closed_or_not_set_is_an_error() {
        for line in ["'a", "\"a", "${A", "${A:-{}"] {
            assert!(words(line).unwrap_err().contains("not closed"), "{line}");
        }
        assert!(words("a\\").unwrap_err().contains("does not continue the line"));
        assert!(words("$NONE").unwrap_err().contains("'NONE': not set"));
        assert!(words("${A%x}").unwrap_err().contains("profiles know"));
    }

    #[test]
    fn values_inside_values_have_a_bound() {
        let nested = |depth: usize| words(&format!("{}c{}", "${NONE:-".repeat(depth), "}".repeat(depth)));
        assert_eq!(nested(DEEPEST).unwrap(), ["c"]);
        assert!(nested(DEEPEST + 1).unwrap_err().contains(TOO_DEEP));
    }
}
