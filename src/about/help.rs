//! The text of `--help`, made from the table of options.

use super::front::{by_name, has_option, option_by_name};
use crate::error::Result;
use crate::options::{CHANGES, Complete, EXAMPLES, GROUPS, Group, OPTIONS, Opt, VERBS};
use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

/// The general help, which fits a screen.
pub fn text() -> String {
    let mut out = String::from(
        "selfdock: run a command in isolation, as yourself\n\n\
         Usage: selfdock [OPTION...] and one of these; options may follow its first word:\n",
    );
    for verb in VERBS {
        let left = format!("{} {}", verb.name, verb.usage);
        let _ = writeln!(out, "  {left:<27} {}", verb.help);
    }
    options(&mut out, |opt| !matches!(opt.group, Group::Limits | Group::More | Group::Batch));
    for (groups, command) in [(&[Group::Limits, Group::More][..], "run"), (&[Group::Batch], "each")] {
        names(&mut out, groups, command);
    }
    out.push('\n');
    out.push('\n');
    for (line, what) in EXAMPLES {
        let _ = writeln!(out, "  {line:<39} {what}");
    }
    out
}

/// The text of `selfdock help`, or of `selfdock help WORD`.
pub fn about(words: &[&[u8]]) -> Result<String> {
    let Some(word) = words.first() else { return Ok(text()) };
    let verb = match by_name(word) {
        Ok(verb) => verb,
        Err(unknown) => {
            let is_option = matches!(word, [b'-', _, ..]);
            let opt = option_by_name(word).map_err(|error| if is_option { error } else { unknown })?;
            return Ok(about_option(opt));
        }
    };
    let usage = format!("selfdock [OPTION...] {} [OPTION...] {}", verb.name, verb.usage);
    let mut out = format!("selfdock {}: {}\n\nUsage: {}\n", verb.name, verb.help, usage.trim_end());
    options(&mut out, |opt| has_option(verb, opt));
    if verb.bit == CHANGES {
        out.push_str(MARKS);
    }
    out.push_str(MORE);
    Ok(out)
}

/// The part of the help that is about an option.
fn about_option(opt: &Opt) -> String {
    let mut out = String::new();
    options(&mut out, |other| other.id == opt.id);
    out.push_str(MORE);
    out.trim_start().into()
}

/// The end of the help of a command, or of an option.
const MORE: &str = "\n'man selfdock' says more.\n";

/// The marks of `selfdock changes`.
const MARKS: &str = "
Each path has a line with a mark:
  A  added
  M  changed, or a directory with other permissions
  D  removed
  ?  cannot be listed
";

/// Lists only the names of the options of some groups.
fn names(out: &mut String, groups: &[Group], command: &str) {
    let mut line = format!("\nMore, see 'selfdock help {command}':");
    for opt in OPTIONS.iter().filter(|opt| groups.contains(&opt.group)) {
        let name = format!(" --{}", opt.long);
        if line.len() + name.len() > 80 {
            out.push_str(&line);
            line = String::from("\n ");
        }
        line.push_str(&name);
    }
    out.push_str(&line);
}

/// Lists the chosen options, by groups.
fn options(out: &mut String, is_wanted: impl Fn(&Opt) -> bool) {
    for (group, heading) in GROUPS {
        let mut all = OPTIONS.iter().filter(|opt| opt.group == *group && is_wanted(opt)).peekable();
        if all.peek().is_some() {
            let _ = writeln!(out, "\n{heading}:");
        }
        for opt in all {
            let short = opt.short.map_or(String::from("    "), |c| format!("-{c}, "));
            let left = format!("{short}--{} {}", opt.long, Values(opt.values));
            let _ = writeln!(out, "  {left:<27} {}", opt.help);
        }
    }
}

/// `SRC DST`, as `--help` shows the values of an option.
struct Values(&'static [(&'static str, Complete)]);

impl core::fmt::Display for Values {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (i, (name, _)) in self.0.iter().enumerate() {
            write!(f, "{}{name}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_a_screen_and_names_every_option() {
        let text = text();
        assert!(text.lines().count() <= 60 && text.lines().all(|l| l.chars().count() <= 80), "{text}");
        assert!(OPTIONS.iter().all(|opt| text.contains(&format!("--{}", opt.long))));
    }
}
