//! Rust source, split into code without comments and strings, and comments.

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
}
