use crate::support::{Dock, args};
use rstest::rstest;

#[rstest]
#[case(&["--help"])]
#[case(&["-h"])]
#[case(&["run", "--help"])]
fn help_is_on_stdout_and_fits_a_screen(#[case] words: &[&str]) {
    let help = Dock::new(words.iter().map(Into::into)).ok();
    assert!(help.lines().count() <= 50, "{} lines", help.lines().count());
    for line in help.lines() {
        assert!(line.chars().count() <= 80, "wider than 80: {line}");
    }
}

#[test]
fn help_names_every_option() {
    let help = Dock::new(args!["--help"]).ok();
    for option in [
        "--root",
        "--vol",
        "--map",
        "--tmpfs",
        "--here",
        "--dev",
        "--mask",
        "--chdir",
        "--env",
        "--unset-env",
        "--clear-env",
        "--net",
        "--hostname",
        "--no-nest",
        "--keep-fd",
        "--version",
    ] {
        assert!(help.contains(option), "{option} is missing");
    }
}

#[test]
fn help_shows_examples() {
    let help = Dock::new(args!["--help"]).ok();
    assert!(help.contains("selfdock run sh"), "{help}");
}

#[test]
fn the_version_is_a_line() {
    let version = Dock::new(args!["--version"]).ok();
    let number = version.strip_prefix("selfdock ").unwrap();
    assert!(number.split('.').count() == 3 && number.starts_with(|c: char| c.is_ascii_digit()), "{version}");
}

#[rstest]
#[case(&["run"])]
#[case(&["run", "--"])]
fn options_after_the_command_belong_to_the_command(#[case] words: &[&str]) {
    let run = Dock::new(words.iter().map(Into::into)).sh("echo $0 $1").arg("--help").arg("-v");
    assert_eq!(run.ok(), "--help -v");
}
