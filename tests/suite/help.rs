//! help: `--help` names every command and option and fits a screen, and `--version` is one line.

use crate::support::{Cmd, Terminal, about, args, prefix, scratch, selfdock};
use rstest::rstest;
use std::collections::BTreeSet;
use std::path::Path;

/// The table of options that the program uses.
#[path = "../../src/options.rs"]
#[allow(dead_code)]
mod options;

use options::{OPTIONS, VERBS};

#[rstest]
#[case(&["--help"])]
#[case(&["-h"])]
fn help_is_on_stdout_and_fits_a_screen(#[case] words: &[&str]) {
    let help = Cmd::new(words.iter().map(Into::into)).ok();
    assert!(help.lines().count() <= 60, "{} lines", help.lines().count());
    for line in help.lines() {
        assert!(line.chars().count() <= 80, "wider than 80: {line}");
    }
}

#[test]
fn help_names_every_option_and_command() {
    let help = Cmd::new(args!["--help"]).ok();
    for option in OPTIONS {
        assert!(help.contains(&format!("--{}", option.long)), "--{} is missing", option.long);
        let verb = VERBS.iter().find(|verb| option.verbs & verb.bit != 0 || option.verbs == 0).unwrap();
        let about = Cmd::new(args!["help", verb.name]).ok();
        assert!(about.contains(option.help), "'{}' is missing", option.help);
    }
    for verb in VERBS {
        assert!(help.contains(&format!("  {} {}", verb.name, verb.usage)), "{} is missing", verb.name);
    }
}

#[test]
fn every_option_that_help_names_is_understood_with_its_values() {
    for option in OPTIONS.iter().filter(|option| option.verbs != 0) {
        let verb = VERBS.iter().find(|verb| verb.bit & option.verbs != 0).unwrap();
        for name in
            option.short.map(|letter| format!("-{letter}")).into_iter().chain([format!("--{}", option.long)])
        {
            // Its use of the values does not matter here, only their number.
            let values = option.values.iter().map(|_| "--help".into());
            let words = [verb.name.into(), name.clone().into()].into_iter().chain(values);
            let said = Cmd::new(words.chain(args!["--no-such-option"])).output().stderr;
            assert!(!said.contains("needs") && !said.contains(&format!("option {name}: unknown")), "{said}");
        }
    }
}

/// What a shell offers for each command line, with the completions that are installed.
fn offers(shell: &str, lines: &[String]) -> Vec<BTreeSet<String>> {
    offers_in(scratch().path(), shell, lines)
}

/// The same with this directory as `HOME` and as the current one.
fn offers_in(dir: &Path, shell: &str, lines: &[String]) -> Vec<BTreeSet<String>> {
    let (program, place) = match shell {
        "bash" => (include_str!("../programs/offers.bash"), "share/bash-completion/completions"),
        "zsh" => (include_str!("../programs/offers.zsh"), "share/zsh/site-functions"),
        _ => (include_str!("../programs/offers.fish"), "share/fish/vendor_completions.d"),
    };
    let file = dir.join("program");
    std::fs::write(&file, program).unwrap();
    let words = args![shell, &file, prefix().join(place)].into_iter().chain(lines.iter().map(Into::into));
    let path = format!("{}:/usr/bin:/bin", selfdock().parent().unwrap().display());
    let seen = Cmd::program(words).env("PATH", path).env("HOME", dir).current_dir(dir).ok();
    let of_line = |part: &str| {
        let words = part.lines().filter(|word| !word.is_empty());
        words.map(|word| word.trim_end_matches('/').to_owned()).collect()
    };
    let mut all: Vec<BTreeSet<String>> = seen.split("==").map(of_line).collect();
    all.truncate(lines.len());
    all
}

/// A command inside can make such profiles, if their directory is a volume.
#[rstest]
fn a_shell_runs_nothing_of_the_names_of_profiles(#[values("bash", "zsh", "fish")] shell: &str) {
    let home = scratch();
    let profiles = home.path().join(".config/selfdock");
    std::fs::create_dir_all(&profiles).unwrap();
    for name in ["plain", "a b", "z$(id>pwned)", "it's"] {
        std::fs::write(profiles.join(name), "").unwrap();
    }
    let all = offers_in(home.path(), shell, &["selfdock run @".into()]).remove(0);
    assert!(all.contains("@plain"), "{all:?}");
    assert!(
        all.iter().all(|word| !word.contains(['\'', '$']) && !["@a", "a", "@z", "z"].contains(&&**word)),
        "{all:?}"
    );
    assert!(!home.path().join("pwned").exists());
}

/// The help of a command is what the shells are held against.
#[rstest]
fn shells_offer_what_the_help_lists(#[values("bash", "zsh", "fish")] shell: &str) {
    let mut wanted: Vec<BTreeSet<String>> = VERBS
        .iter()
        .map(|verb| {
            let help = Cmd::new(args!["help", verb.name]).ok();
            let (_, options) = help.split_once("Usage: ").unwrap();
            let names = options.lines().skip(1).filter_map(|line| line.split_once("--")?.1.split(' ').next());
            names.map(|name| format!("--{name}")).collect()
        })
        .collect();
    let mut lines: Vec<String> = VERBS.iter().map(|verb| format!("selfdock {} --", verb.name)).collect();
    let help = Cmd::new(args!["--help"]).ok();
    let verbs = help.lines().skip(3).take_while(|line| !line.is_empty());
    wanted.push(verbs.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect());
    lines.push("selfdock ".into());
    for ((line, wanted), offered) in lines.iter().zip(&wanted).zip(offers(shell, &lines)) {
        // fish also offers the profiles there, and an option together with the sign that a value may follow.
        let words = offered.iter().filter(|word| !word.starts_with('@'));
        let offered: BTreeSet<String> = words.map(|word| word.trim_end_matches('=').to_owned()).collect();
        assert!(!wanted.is_empty() && *wanted == offered, "{line}: {wanted:?} and {offered:?}");
    }
}

#[rstest]
fn shells_offer_values(
    #[values("bash", "zsh", "fish")] shell: &str,
    #[values(
        ("selfdock run --explain=", "all"),
        ("selfdock --home=/us", "/usr"),
        ("selfdock changes /us", "/usr"),
        ("selfdock --changes /us", "/usr"),
        ("selfdock --net=n", "none"),
        ("selfdock run --seccomp ", "default")
    )]
    case: (&str, &str),
) {
    let offered = &offers(shell, &[case.0.into()])[0];
    // Some shells offer the option together with its value, and zsh only the last part of a path.
    let is_it = |word: &String| word.ends_with(case.1.trim_start_matches('/'));
    assert!(offered.iter().any(is_it), "{}: {offered:?}", case.0);
}

/// Whether bash replaces the whole word or what is behind the '@' depends on its settings.
#[rstest]
fn bash_completes_the_name_of_a_profile_behind_its_sign(
    #[values("shopt -s hostcomplete", "shopt -u hostcomplete", "COMP_WORDBREAKS=' ='")] setting: &str,
) {
    let mut shell = Terminal::start(&["bash", "--norc", "--noprofile", "-i"]);
    let file = prefix().join("share/bash-completion/completions/selfdock");
    let dir = scratch();
    shell.send(&format!("source {}; {setting}; PATH=${{SELFDOCK%/*}}:$PATH\n", file.display()));
    shell.send(&format!("cd {}; echo re''ady\n", dir.path().display()));
    shell.expect("ready");
    shell.send("selfdock --explain run @pyt\ttrue | grep ^command\n");
    shell.expect("command\t'true'");
}

/// C7: unprivileged features in the set-uid program.
#[test]
fn the_set_uid_program_holds_no_text_of_the_help() {
    let (trusted, second) = (std::fs::read(selfdock()).unwrap(), std::fs::read(about()).unwrap());
    let holds = |program: &[u8], text: &str| program.windows(text.len()).any(|part| part == text.as_bytes());
    for text in OPTIONS.iter().map(|option| option.help).chain(VERBS.iter().map(|verb| verb.help)) {
        assert!(!holds(&trusted, text), "'{text}' is in the set-uid program");
        assert!(holds(&second, text), "'{text}' is not in the second program");
    }
    // The messages for a wrong command line are not in it either.
    for text in [
        "unknown",
        ": needs",
        "given twice",
        "no PID is given",
        "two different mounts are requested",
        "not an absolute path",
    ] {
        assert!(!holds(&trusted, text), "'{text}' is in the set-uid program");
        assert!(holds(&second, text), "'{text}' is not in the second program");
    }
}

#[test]
fn help_shows_examples() {
    let help = Cmd::new(args!["--help"]).ok();
    assert!(help.contains("selfdock run sh"), "{help}");
}

#[test]
fn the_version_is_a_line() {
    let version = Cmd::new(args!["--version"]).ok();
    let number = version.strip_prefix("selfdock ").unwrap();
    assert!(number.split('.').count() == 3 && number.starts_with(|c: char| c.is_ascii_digit()), "{version}");
}

#[test]
fn help_and_version_are_commands_too() {
    assert_eq!(Cmd::new(args!["help"]).ok(), Cmd::new(args!["--help"]).ok());
    for words in [&["run", "--help"][..], &["-H", "run", "-h"], &["run", "--help", "ls"]] {
        let help = Cmd::new(words.iter().map(Into::into)).ok();
        assert_eq!(help, Cmd::new(args!["help", "run"]).ok());
    }
    assert_eq!(Cmd::new(args!["version"]).ok(), Cmd::new(args!["--version"]).ok());
    let of = |verb: &str| Cmd::new(args!["help", verb]).ok();
    for verb in VERBS {
        let help = of(verb.name);
        assert!(help.contains(verb.help) && help.lines().all(|line| line.chars().count() <= 80), "{help}");
        for option in OPTIONS.iter().filter(|option| option.verbs & verb.bit != 0) {
            assert!(help.contains(&format!("--{}", option.long)), "--{}: {help}", option.long);
        }
    }
    assert!(of("run").contains("--vol") && !of("run").contains("--json") && !of("ps").contains("--vol"));
    Cmd::new(args!["help", "run", "build"]).refused("takes at most one command");
}

#[rstest]
#[case("--timeout", "timeout")]
#[case("timeout", "timeout")]
#[case("-v", "vol")]
#[case("--changes", "changes")]
fn help_for_an_option_is_its_part_of_the_help(#[case] word: &str, #[case] name: &str) {
    let help = Cmd::new(args!["help", word]).ok();
    let option = OPTIONS.iter().find(|option| option.long == name).unwrap();
    let line = format!(" --{name} ");
    assert!(help.lines().any(|said| said.contains(&line) && said.ends_with(option.help)), "{help}");
    assert_eq!(help.matches("--").count(), 1 + option.help.matches("--").count(), "{help}");
}

#[rstest]
#[case(&["run"])]
#[case(&["run", "--"])]
fn options_after_the_command_belong_to_the_command(#[case] words: &[&str]) {
    let run = Cmd::new(words.iter().map(Into::into)).sh("echo $0 $1").arg("--help").arg("-v");
    assert_eq!(run.ok(), "--help -v");
}
