//! The files of the project; and Rust source, split into code without comments and strings, and comments.

use crate::run::{Context, Result, root};
use std::fs;
use std::path::{Path, PathBuf};

/// All files of the project that are written by hand.
pub fn files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut dirs = vec![root()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).context(dir.display())? {
            let path = entry.context(dir.display())?.path();
            let name = path.file_name().unwrap_or_default();
            if path.is_dir() && name != "target" && name != ".git" {
                dirs.push(path);
            } else if path.is_file() && name != "Cargo.lock" {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// One line of a file.
#[derive(Default)]
pub struct Line {
    /// The code, without the contents of strings.
    pub code: String,
    pub comment: String,
}

impl Line {
    /// Whether the code of the line has `word` in it, as a word.
    pub fn has_word(&self, word: &str) -> bool {
        self.code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
    }
}

enum State {
    Code,
    LineComment,
    /// The nesting depth of block comments.
    BlockComment(usize),
    /// The end of the string, and whether backslashes escape.
    String {
        end: String,
        escapes: bool,
    },
}

/// Splits a file into lines of code and comment.
pub fn lines(text: &str) -> Vec<Line> {
    let mut lines = vec![Line::default()];
    let mut state = State::Code;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        let line = lines.last_mut().expect("there is always a line");
        if c == '\n' {
            if matches!(state, State::LineComment) {
                state = State::Code;
            }
            lines.push(Line::default());
            rest = &rest[1..];
            continue;
        }
        match &mut state {
            State::Code => {
                if let Some((next, length)) = opening(rest, line.code.chars().next_back()) {
                    state = next;
                    taken = length;
                } else {
                    taken = character(rest).unwrap_or(taken);
                    line.code.push(c);
                }
            }
            State::LineComment => line.comment.push(c),
            State::BlockComment(depth) => {
                if rest.starts_with("*/") {
                    *depth -= 1;
                    taken = 2;
                } else if rest.starts_with("/*") {
                    *depth += 1;
                    taken = 2;
                } else {
                    line.comment.push(c);
                }
                if *depth == 0 {
                    state = State::Code;
                }
            }
            State::String { end, escapes } => {
                if *escapes && c == '\\' {
                    // The newline after a backslash is counted later.
                    taken += rest[1..].chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
                } else if rest.starts_with(end.as_str()) {
                    taken = end.len();
                    state = State::Code;
                }
            }
        }
        rest = &rest[taken..];
    }
    lines
}

/// The kind of comment or string that begins here, and the length of its opening.
fn opening(rest: &str, before: Option<char>) -> Option<(State, usize)> {
    if rest.starts_with("//") {
        return Some((State::LineComment, 2));
    }
    if rest.starts_with("/*") {
        return Some((State::BlockComment(1), 2));
    }
    if rest.starts_with('"') {
        return Some((State::String { end: "\"".into(), escapes: true }, 1));
    }
    // It is a raw string, unless the `r` is the end of a name.
    let raw = rest.strip_prefix('r').filter(|_| !before.is_some_and(|c| c.is_alphanumeric() && c != 'b'))?;
    let hashes = raw.bytes().take_while(|b| *b == b'#').count();
    let quoted = raw[hashes..].starts_with('"');
    quoted.then(|| (State::String { end: format!("\"{}", "#".repeat(hashes)), escapes: false }, hashes + 2))
}

/// The length of a character literal such as `'"'`; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    if let Some(escaped) = inner.strip_prefix('\\') {
        let skip = escaped.chars().next()?.len_utf8();
        return Some(escaped[skip..].find('\'')? + skip + 3);
    }
    let c = inner.chars().next()?;
    inner[c.len_utf8()..].starts_with('\'').then_some(c.len_utf8() + 2)
}

/// `module::test` is in tests/suite/module.rs, or in the unit tests of src/module.rs or xtask/src/module.rs.
pub fn test_exists(name: &str) -> bool {
    let parts: Vec<&str> = name.split("::").collect();
    let (module, test) = (parts[0], parts[parts.len() - 1]);
    let holds = |dir: &str| {
        let file: PathBuf = root().join(Path::new(dir).join(format!("{module}.rs")));
        fs::read_to_string(file).is_ok_and(|text| tests_in(&text).iter().any(|found| found == test))
    };
    ["tests/suite", "src", "src/about", "xtask/src"].into_iter().any(holds)
}

/// The number of tests in the files of a directory.
pub fn tests_below(dir: &Path) -> Result<usize> {
    let mut count = 0;
    for file in files()?.into_iter().filter(|file| file.starts_with(root().join(dir))) {
        count += tests_in(&fs::read_to_string(&file).unwrap_or_default()).len();
    }
    Ok(count)
}

/// The functions of a file that are tests: those after `#[test]` or `#[rstest]`.
pub fn tests_in(text: &str) -> Vec<String> {
    tests_with_comments(text).into_iter().map(|(name, _)| name).collect()
}

/// The tests of a file, each with its documentation.
pub fn tests_with_comments(text: &str) -> Vec<(String, String)> {
    let mut tests = Vec::new();
    let mut marked = false;
    let mut comment = String::new();
    for line in lines(text) {
        let code = line.code.trim();
        comment.extend(line.comment.strip_prefix("/ ").map(|words| format!("{words} ")));
        marked |= code == "#[test]" || code.starts_with("#[rstest");
        if let Some((_, rest)) = code.split_once("fn ").filter(|_| marked) {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            tests.push((name.to_owned(), std::mem::take(&mut comment)));
            marked = false;
        } else if !marked && !code.is_empty() && !code.starts_with("#[") {
            comment.clear();
        }
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(text: &str, word: &str) -> bool {
        lines(text).iter().any(|line| line.has_word(word))
    }

    #[test]
    fn only_code_counts() {
        assert!(has("x = unsafe { y() };", "unsafe"));
        for text in [
            "// unsafe",
            "/* a /* b */ unsafe */",
            "\"unsafe\"",
            "r#\"\" unsafe\"#",
            "#![forbid(unsafe_code)]",
        ] {
            assert!(!has(text, "unsafe"), "{text}");
        }
    }

    #[test]
    fn literals_end_where_they_end() {
        for text in ["'\"' unsafe", "'\\'' unsafe", "b'\\\\' unsafe", "\"\\\"\" unsafe", "&'a str; unsafe"] {
            assert!(has(text, "unsafe"), "{text}");
        }
    }

    #[test]
    fn lines_keep_their_numbers() {
        assert_eq!(lines("a\n\"b\\\nc\"\nd").len(), 4);
    }

    #[test]
    fn tests_are_found() {
        let text = "#[rstest]\n#[case(1)]\nfn one(#[case] n: u8) {}\nfn helper() {}\n#[test]\nfn two() {}";
        assert_eq!(tests_in(text), ["one", "two"]);
        let text = "/// A.\nfn helper() {}\n/// B.\n/// C.\n#[rstest]\n#[case(\n)]\nfn one() {}\n#[test]\nfn two() {}";
        assert_eq!(
            tests_with_comments(text),
            [("one".into(), "B. C. ".into()), ("two".into(), String::new())]
        );
    }
}
