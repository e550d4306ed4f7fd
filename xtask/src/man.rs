//! The man page, made from the table of options.

use crate::options::{EXAMPLES, GROUPS, OPTIONS, Opt, VERBS};

/// selfdock(1), in roff.
pub fn page() -> String {
    let mut out =
        String::from(".TH SELFDOCK 1\n.SH NAME\nselfdock \\- run a command in isolation, as yourself\n");
    out.push_str(".SH SYNOPSIS\n");
    for verb in VERBS {
        out.push_str(&format!(
            ".B selfdock\n[\\fIOPTION\\fR...] \\fB{}\\fR {}\n.br\n",
            verb.name,
            escape(verb.usage)
        ));
    }
    out.push_str(include_str!("man/description.roff"));
    out.push_str(".SH COMMANDS\n");
    for verb in VERBS {
        out.push_str(&format!(
            ".TP\n\\fB{}\\fR {}\n{}.\n",
            verb.name,
            escape(verb.usage),
            sentence(verb.help)
        ));
    }
    out.push_str(".SH OPTIONS\nOptions stand before or after the command word, up to CMD or \\-\\-.\n");
    for (group, heading) in GROUPS {
        out.push_str(&format!(".SS {heading}\n"));
        for option in OPTIONS.iter().filter(|option| option.group == *group) {
            out.push_str(&format!(".TP\n{}\n{}.\n", names(option), sentence(option.help)));
        }
    }
    out.push_str(include_str!("man/details.roff"));
    out.push_str(".SH EXAMPLES\n");
    for (line, what) in EXAMPLES {
        out.push_str(&format!(".TP\n\\fB{}\\fR\n{}.\n", escape(line), sentence(what)));
    }
    out.push_str(include_str!("man/end.roff"));
    out
}

fn names(option: &Opt) -> String {
    let short = option.short.map_or(String::new(), |c| format!("\\fB\\-{c}\\fR, "));
    let values: String = option.values.iter().map(|(name, _)| format!(" \\fI{}\\fR", escape(name))).collect();
    format!("{short}\\fB\\-\\-{}\\fR{values}", escape(option.long))
}

/// As text of a man page: a dash is a minus, and nothing else is special.
fn escape(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq")
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    escape(&(first + letters.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_and_command_is_on_the_page() {
        let page = page();
        for option in OPTIONS {
            assert!(page.contains(&names(option)), "--{}", option.long);
        }
        for verb in VERBS {
            assert!(page.contains(&format!("\\fB{}\\fR", verb.name)), "{}", verb.name);
        }
    }

    #[test]
    fn no_line_begins_with_what_roff_would_take_for_a_request_of_its_own() {
        let known = [
            ".I", ".IR", ".BR", ".TH", ".SH", ".SS", ".TP", ".B", ".br", ".PP", ".IP", ".nf", ".fi", ".RS",
            ".RE",
        ];
        for line in page().lines().filter(|line| line.starts_with(['.', '\''])) {
            assert!(known.contains(&line.split(' ').next().unwrap_or_default()), "{line}");
        }
    }
}
