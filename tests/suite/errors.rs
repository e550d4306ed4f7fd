use crate::support::{Dock, args, scratch};
use rstest::rstest;

#[rstest]
#[case::unknown_option(&["run", "--no-such-option"], "--no-such-option")]
#[case::unknown_short_option(&["run", "-Z"], "-Z")]
#[case::unknown_word(&["walk"], "walk")]
#[case::no_word(&[], "")]
#[case::missing_value(&["run", "-v", "/etc"], "")]
#[case::missing_values(&["run", "--root"], "--root")]
#[case::value_for_a_flag(&["run", "--here=yes"], "--here")]
#[case::absent_root(&["run", "--root", "/no/such/root", "true"], "'/no/such/root'")]
#[case::root_is_a_file(&["run", "--root", "/etc/passwd", "true"], "'/etc/passwd'")]
fn a_wrong_command_line_names_what_is_wrong(#[case] words: &[&str], #[case] object: &str) {
    Dock::new(words.iter().map(Into::into)).refused(object);
}

#[rstest]
#[case::volume(&["-v", "/no/such", "/mnt"])]
#[case::map(&["-m", "/no/such", "/mnt"])]
#[case::root(&["--root", "/no/such"])]
#[case::start(&["-C", "/no/such"])]
#[case::device(&["--dev", "/dev/no-such"])]
fn a_message_names_object_and_errno(#[case] options: &[&str]) {
    let ran = Dock::run(options.iter().map(Into::into).chain(args!["true"])).refused("(ENOENT)");
    assert!(ran.stderr.contains("'/no/such'") || ran.stderr.contains("'/dev/no-such'"), "{}", ran.stderr);
    assert!(ran.stderr.contains(": no such file or directory (ENOENT)"), "{}", ran.stderr);
}

/// I8.
#[rstest]
fn control_characters_are_escaped(
    #[values("\x1b[31mred", "two\nlines", "bell\x07", "tab\t", "\u{9b}31m", "del\x7f")] name: &str,
) {
    // `refused` sees to it that the message is one printable line.
    Dock::run(args!["-v", format!("/{name}"), "/mnt", "true"]).refused("(ENOENT)");
    Dock::run(args![format!("--{name}")]).refused("");
    Dock::new(args![name]).refused("");
    Dock::run(args!["-v", "/etc", name, "true"]).refused("");
    let ran = Dock::run(args![format!("/no-such-{name}")]).output().exits(127);
    assert!(!ran.stderr.trim_end_matches('\n').chars().any(char::is_control), "{:?}", ran.stderr);
}

#[test]
fn a_very_long_path_is_an_error_and_not_a_crash() {
    let long = format!("/{}", "x".repeat(5000));
    Dock::run(args!["-v", &long, "/mnt", "true"]).refused("(ENAMETOOLONG)");
    Dock::run(args!["-v", "/etc", &long, "true"]).refused("");
}

#[test]
fn very_many_options_are_an_error_or_work() {
    let dir = scratch();
    let volumes = (0..3000).flat_map(|n| args!["-m", dir.path(), format!("/mnt/{n}")]);
    Dock::run(volumes.chain(args!["true"])).output().refused_or(|ran| {
        ran.ok();
    });
}

#[test]
fn a_full_standard_error_is_no_crash() {
    let script = format!("{} run -v /no/such /mnt true 2>/dev/full", crate::support::selfdock().display());
    Dock::program(args!["sh", "-c", script]).output().exits(125);
}
