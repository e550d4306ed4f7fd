//! The mutants that change no behaviour, each with the reason.

use super::points::Mutant;
use crate::run::{Context, Result, root};
use std::collections::BTreeMap;
use std::fs;

pub const FILE: &str = "ci/mutants.txt";

/// By [`Mutant::key`].
pub struct Exceptions(BTreeMap<String, String>);

impl Exceptions {
    pub fn read() -> Result<Self> {
        parse(&fs::read_to_string(root().join(FILE)).context(FILE)?)
    }

    pub fn reason(&self, mutant: &Mutant) -> Option<&str> {
        self.0.get(&mutant.key()).map(String::as_str)
    }

    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

/// A mutant on each line, and below, indented, one reason for all lines right above.
fn parse(text: &str) -> Result<Exceptions> {
    let mut all = BTreeMap::new();
    let (mut above, mut had_reason): (Vec<String>, bool) = (Vec::new(), false);
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        if line.starts_with(' ') {
            if above.is_empty() {
                return Err(format!("{FILE}: a reason for nothing: {}", line.trim()));
            }
            for key in &above {
                let reason: &mut String = all.entry(key.clone()).or_default();
                reason.push_str(line.trim());
            }
            had_reason = true;
            continue;
        }
        if had_reason {
            above.clear();
            had_reason = false;
        }
        above.push(line.trim().to_owned());
    }
    match above.first().filter(|_| !had_reason) {
        Some(key) => Err(format!("{FILE}: a reason is missing for {key}")),
        None => Ok(Exceptions(all)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reason_stands_for_all_above_it() {
        let all = parse("# words\na b\nc d\n    because\n    of it\n\ne f\n    else\n").unwrap().0;
        assert_eq!(all.len(), 3);
        assert!(all["a b"] == all["c d"] && all["e f"] == "else");
        assert!(parse("a b\n").is_err());
        assert!(parse("  because\n").is_err());
    }
}
