//! Completions for bash, zsh and fish, made from the table of options.

use crate::options::{CHANGES, Complete, EACH, ENTER, Id, OPTIONS, Opt, RUN, VERBS};
use std::fmt::Write as _;

/// The values of options that can stand without one. Such a value is in the same word: `--explain=all`.
const OPTIONAL: &[(Id, Complete)] =
    &[(Id::Explain, Complete::Words(&["all"])), (Id::Home, Complete::Directory)];

/// For bash: `complete -F`.
pub fn bash() -> String {
    let mut cases = String::new();
    for option in OPTIONS {
        for (place, (_, complete)) in option.values.iter().enumerate() {
            let pattern = spellings(option).map(|name| format!("{name}.{}", place + 1)).collect::<Vec<_>>();
            let _ = writeln!(cases, "        {}) {} ;;", pattern.join(" | "), bash_values(*complete));
        }
        if let Some(complete) = optional(option) {
            let _ = writeln!(cases, "        --{}.1) {} ;;", option.long, bash_values(complete));
        }
    }
    include_str!("completions/bash.in")
        .replace("@VERBS@", &verbs().join(" "))
        .replace("    @OPTIONS@\n", &options_by_verb("    "))
        .replace("@ONE_VALUE@", &with_values(1).join(" | "))
        .replace("@TWO_VALUES@", &with_values(2).join(" | "))
        .replace("@BOTH@", &format!("@({})", holding_both().join("|")))
        .replace("@DIRECTORY@", &bash_values(Complete::Directory))
        .replace("        @CASES@\n", &cases)
}

/// The cases that set `options` to the options of a command.
fn options_by_verb(indent: &str) -> String {
    let verbs = VERBS.iter().map(|verb| (verb.name, verb.bit)).chain([("*", u16::MAX)]);
    verbs.map(|(name, bit)| format!("{indent}{name}) options='{}' ;;\n", known_to(bit))).collect()
}

fn verbs() -> Vec<&'static str> {
    VERBS.iter().map(|verb| verb.name).collect()
}

/// `--vol` and `-v`.
fn spellings(option: &Opt) -> impl Iterator<Item = String> {
    let short = option.short.map(|letter| format!("-{letter}"));
    [format!("--{}", option.long)].into_iter().chain(short)
}

/// The options that these commands take. Options for no command are for all.
fn known_to(verbs: u16) -> String {
    let known = OPTIONS.iter().filter(|option| knows(verbs, option));
    known.flat_map(spellings).collect::<Vec<_>>().join(" ")
}

/// Whether an option can be used with these commands. `each` also takes those of `run`, and its own options after its
/// word.
fn knows(verbs: u16, option: &Opt) -> bool {
    let of_run = verbs == EACH && option.verbs & RUN != 0 && option.id != Id::Explain;
    option.verbs == 0 || of_run || (option.verbs & verbs != 0 && (verbs == EACH || option.verbs != EACH))
}

/// The options with this many values.
fn with_values(count: usize) -> Vec<String> {
    OPTIONS.iter().filter(|option| option.values.len() == count).flat_map(spellings).collect()
}

/// The options whose two values may be one word.
fn holding_both() -> Vec<String> {
    OPTIONS.iter().filter(|option| option.id == Id::Env).flat_map(spellings).collect()
}

/// The value of an option that can stand without one.
fn optional(option: &Opt) -> Option<Complete> {
    OPTIONAL.iter().find(|(id, _)| *id == option.id).map(|(_, complete)| *complete)
}

/// The beginnings of assignments to these names.
fn assignments(names: &[&str]) -> String {
    names.iter().map(|name| format!("{name}=")).collect::<Vec<_>>().join(" ")
}

fn bash_values(complete: Complete) -> String {
    match complete {
        Complete::Nothing => ":".into(),
        Complete::File => "compopt -o filenames; _selfdock_offer -f".into(),
        Complete::Directory => "compopt -o filenames; _selfdock_offer -d".into(),
        Complete::Words(words) => format!("compopt -o nospace; _selfdock_offer -W '{}'", words.join(" ")),
        Complete::Assignments(names) => {
            format!("compopt -o nospace; _selfdock_offer -W '{}'", assignments(names))
        }
    }
}

/// For zsh: `_arguments`.
pub fn zsh() -> String {
    let mut options = String::new();
    for option in OPTIONS {
        let mut values = String::new();
        for (place, (name, complete)) in option.values.iter().enumerate() {
            let colon = if place > 0 && option.id == Id::Env { "::" } else { ":" };
            let _ = write!(values, "{colon}{name}:{}", zsh_values(*complete));
        }
        let help = quoted(option.help, "'\\''").replace(['[', ']'], "").replace(':', "\\:");
        // An option with values may be repeated.
        let repeat = if option.values.is_empty() { "" } else { "*" };
        if let Some(complete) = optional(option) {
            let values = zsh_values(complete);
            let _ = writeln!(options, "        '--{}=-[{help}]:: :{values}'", option.long);
            continue;
        }
        for name in spellings(option) {
            // The value of a long option can follow in the same word.
            let sign = if option.values.is_empty() || !name.starts_with("--") { "" } else { "=" };
            let _ = writeln!(options, "        '{repeat}{name}{sign}[{help}]{values}'");
        }
    }
    let mut verbs = String::new();
    for verb in VERBS {
        let _ = writeln!(verbs, "        '{}:{}'", verb.name, quoted(verb.help, "'\\''"));
    }
    include_str!("completions/zsh.in")
        .replace("        @SPECS@\n", &options)
        .replace("        @OPTIONS@\n", &options_by_verb("        "))
        .replace("        @VERBS@\n", &verbs)
}

/// For a text in single quotes.
fn quoted(text: &str, quote: &str) -> String {
    text.replace('\'', quote)
}

fn zsh_values(complete: Complete) -> String {
    match complete {
        Complete::Nothing => " ".into(),
        Complete::File => "_files".into(),
        Complete::Directory => "_files -/".into(),
        Complete::Words(words) => format!("({})", words.join(" ")),
        Complete::Assignments(names) => format!("({})", assignments(names)),
    }
}

/// For fish: `complete -c`.
pub fn fish() -> String {
    let mut out = String::from("# Completions of selfdock for fish.\ncomplete -c selfdock -f\n");
    for verb in VERBS {
        let help = quoted(verb.help, "\\'");
        let _ = writeln!(out, "complete -c selfdock -n '__selfdock_at verb' -a {} -d '{help}'", verb.name);
    }
    let verbs = verbs().join(" ");
    let _ = writeln!(out, "complete -c selfdock -n '__selfdock_at \"options help\"' -a '{verbs}'");
    for verb in VERBS.iter().filter(|verb| verb.bit == CHANGES) {
        let dir = fish_values(Complete::Directory).replace(" -x", "");
        let _ = writeln!(out, "complete -c selfdock -n '__selfdock_at \"options {}\"'{dir}", verb.name);
    }
    for option in OPTIONS {
        let short = option.short.map_or(String::new(), |c| format!(" -s {c}"));
        let values = option.values.first().map_or(String::new(), |(_, first)| fish_values(*first));
        // The value of an option that can stand without one is only offered behind `=`.
        let values = optional(option).map_or(values, |complete| fish_values(complete).replace(" -x", ""));
        let help = quoted(option.help, "\\'");
        let before = format!("-n '__selfdock_at \"({})\"'", fish_places(option));
        let _ = writeln!(out, "complete -c selfdock {before}{short} -l {}{values} -d '{help}'", option.long);
        if let Some((_, second)) = option.values.get(1) {
            for name in spellings(option) {
                let second = fish_values(*second).replace(" -r", "").replace(" -x", "");
                let _ = writeln!(out, "complete -c selfdock -n '__selfdock_at second {name}'{second}");
            }
        }
    }
    out + &include_str!("completions/fish.in")
        .replace("@ONE_VALUE@", &with_values(1).join(" "))
        .replace("@TWO_VALUES@", &with_values(2).join(" "))
        .replace("@BOTH@", &holding_both().join(" "))
}

/// The positions of an option: before the command word, and after the commands that take it.
fn fish_places(option: &Opt) -> String {
    let mut places = Vec::new();
    if knows(u16::MAX, option) {
        places.push("verb".to_owned());
    }
    for verb in VERBS.iter().filter(|verb| knows(verb.bit, option)) {
        places.push(if verb.bit == ENTER { "pid".into() } else { format!("options {}", verb.name) });
    }
    places.join("|")
}

fn fish_values(complete: Complete) -> String {
    match complete {
        Complete::Nothing => " -x".into(),
        Complete::File => " -r -F".into(),
        Complete::Directory => " -x -a '(__fish_complete_directories)'".into(),
        Complete::Words(words) => format!(" -x -a '{}'", words.join(" ")),
        Complete::Assignments(names) => format!(" -x -a '{}'", assignments(names)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_option_and_command_is_completed() {
        for (shell, text) in [("bash", bash()), ("zsh", zsh()), ("fish", fish())] {
            for option in OPTIONS {
                let name = if shell == "fish" {
                    format!("-l {}", option.long)
                } else {
                    format!("--{}", option.long)
                };
                assert!(text.contains(&name), "{shell}: --{}", option.long);
            }
            for verb in VERBS {
                assert!(text.contains(verb.name), "{shell}: {}", verb.name);
            }
            for place in ["VERB", "OPTION", "VALUE", "FLAGS", "CASES"] {
                assert!(!text.contains(&format!("@{place}")), "{shell}: a place was not filled");
            }
        }
    }

    /// The words of a line, as bash splits them for completion. The last one is to be completed.
    fn split(line: &str) -> Vec<String> {
        let spaced = line.replace('=', " = ").replace(':', " : ");
        let mut words: Vec<String> = spaced.split_whitespace().map(str::to_owned).collect();
        if line.ends_with(' ') {
            words.push(String::new());
        }
        words
    }

    /// The completions of bash for a command line.
    fn bash_offers(line: &str) -> Vec<String> {
        bash_offers_in(Path::new("."), line)
    }

    fn bash_offers_in(dir: &Path, line: &str) -> Vec<String> {
        let words: Vec<String> = split(line).iter().map(|word| format!("'{word}'")).collect();
        let script = format!(
            "{}\nselfdock() {{ printf '%s\\n' '   PID COMMAND' '   812 813' @cargo @judge; }}; \
             compopt() {{ :; }}; COMP_LINE='{line}'; COMP_WORDS=({}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _selfdock selfdock \"${{COMP_WORDS[COMP_CWORD]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            bash(),
            words.join(" ")
        );
        let mut bash = std::process::Command::new("bash");
        let out = bash.args(["--norc", "-c", &script]).current_dir(dir).output().expect("start bash");
        assert!(out.stderr.is_empty(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
    }

    /// Each line, with a word that must be offered and one that must not.
    const OFFERS: &[(&str, &str, &str)] = &[
        ("selfdock ", "run", "--root"),
        ("selfdock r", "run", "ps"),
        ("selfdock --ro", "--root", "run"),
        ("selfdock run --", "--root", "--json"),
        ("selfdock ps --", "--json", "--root"),
        ("selfdock enter --", "--chdir", "--root"),
        ("selfdock --net n", "none", "host"),
        ("selfdock --net=", "none", "run"),
        ("selfdock run --explain=", "all", "run"),
        ("selfdock --explain=a", "all", "run"),
        ("selfdock --explain ", "run", "all"),
        ("selfdock --home=/et", "/etc", "run"),
        ("selfdock --home ru", "run", "/etc"),
        ("selfdock changes /et", "/etc", "run"),
        ("selfdock --root=/et", "/etc", "run"),
        ("selfdock -v /et", "/etc", "run"),
        ("selfdock -v /etc /us", "/usr", "run"),
        ("selfdock -v /etc /usr ", "run", "/usr"),
        ("selfdock --vol=/etc /us", "/usr", "run"),
        ("selfdock -e A=1 ", "run", "1"),
        ("selfdock -e A 1 ", "run", "A"),
        ("selfdock -t size=1G /us", "/usr", "run"),
        ("selfdock run --rlimit nof", "nofile=", "run"),
        ("selfdock run bas", "bash", "run"),
        ("selfdock run -- bas", "bash", "run"),
        ("selfdock run ls /et", "/etc", "run"),
        ("selfdock run ls --ro", "", "--root"),
        ("selfdock run -- ls /et", "/etc", "run"),
        ("selfdock enter ", "812", "813"),
        ("selfdock run @ju", "@judge", "@cargo"),
        ("selfdock @cargo ru", "run", "cargo"),
        ("selfdock run @cargo bas", "bash", "run"),
        ("selfdock help ru", "run", "bash"),
        ("selfdock enter 812 bas", "bash", "812"),
        ("selfdock enter 812 ls /et", "/etc", "812"),
        ("selfdock enter -- 812 -- ls /et", "/etc", "812"),
    ];

    #[test]
    fn bash_completes_commands_options_values_and_programs() {
        for (line, offered, not) in OFFERS {
            let offers = bash_offers(line);
            assert!(offers.iter().any(|offer| offer == offered), "{line}: {offered} not in {offers:?}");
            assert!(!offers.iter().any(|offer| offer == not), "{line}: {not} in {offers:?}");
        }
    }

    #[test]
    fn bash_offers_a_name_with_a_space_as_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sp ace")).unwrap();
        for line in
            ["-b sp", "--bind=sp", "-v sp", "-v /etc sp", "-C sp", "--home=sp", "--report sp", "ls sp"]
        {
            assert_eq!(bash_offers_in(dir.path(), &format!("selfdock run {line}")), ["sp ace"], "{line}");
        }
        assert_eq!(bash_offers_in(dir.path(), "selfdock changes sp"), ["sp ace"]);
    }

    /// The completions of fish for each line.
    fn fish_offers(lines: &[&str]) -> Vec<Vec<String>> {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("selfdock.fish");
        std::fs::write(&file, fish()).unwrap();
        let mut script = format!(
            "source {}; function selfdock; printf '   PID COMMAND\\n   812 813\\n@cargo\\n@judge\\n'; end\n",
            file.display()
        );
        for line in lines {
            let _ = writeln!(script, "complete -C '{line}'; echo ==");
        }
        let mut fish = std::process::Command::new("fish");
        let out =
            fish.args(["--private", "-c", &script]).env("HOME", home.path()).env("USER", "user").output();
        let out = out.expect("start fish, which ci/setup.sh installs");
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let word = |line: &str| line.split('\t').next().unwrap_or_default().trim_end_matches('/').to_owned();
        text.split("==\n").map(|part| part.lines().map(word).collect()).collect()
    }

    #[test]
    fn fish_completes_the_same() {
        let lines: Vec<&str> = OFFERS.iter().map(|(line, ..)| *line).collect();
        for ((line, offered, not), offers) in OFFERS.iter().zip(fish_offers(&lines)) {
            // fish prints a value together with its option.
            let glued =
                line.rsplit(' ').next().and_then(|word| word.split_once('=')).map(|(option, _)| option);
            let offered = glued.map_or((*offered).to_owned(), |option| format!("{option}={offered}"));
            assert!(offered.is_empty() || offers.contains(&offered), "{line}: {offered} not in {offers:?}");
            assert!(!offers.iter().any(|offer| offer == not), "{line}: {not} in {offers:?}");
        }
    }
}
