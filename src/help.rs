//! The text of `--help`, made from the table of options.

use crate::options::{Complete, EXAMPLES, GROUPS, OPTIONS, VERBS};
use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

/// All of it.
pub fn text() -> String {
    let mut out = String::from(
        "selfdock: run a command in isolation, as yourself\n\n\
         Usage: selfdock [OPTION...] COMMAND [OPTION...] [--] ...\n",
    );
    for verb in VERBS {
        let left = format!("{} {}", verb.name, verb.usage);
        let _ = writeln!(out, "  {left:<27} {}", verb.help);
    }
    for (group, heading) in GROUPS {
        let _ = writeln!(out, "\n{heading}:");
        for opt in OPTIONS.iter().filter(|opt| opt.group == *group) {
            let short = opt.short.map_or(String::from("    "), |c| format!("-{c}, "));
            let left = format!("{short}--{} {}", opt.long, Values(opt.values));
            let _ = writeln!(out, "  {left:<27} {}", opt.help);
        }
    }
    out.push_str("\nExamples:\n");
    for (line, what) in EXAMPLES {
        let _ = writeln!(out, "  {line:<39} {what}");
    }
    out
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
