use crate::support::{Dock, args, scratch, selfdock};
use rstest::rstest;

#[rstest]
#[case::unknown_option(&["run", "--no-such-option"], "--no-such-option")]
#[case::unknown_short_option(&["run", "-Z"], "-Z")]
#[case::unknown_word(&["walk"], "walk")]
#[case::no_word(&[], "no command given")]
#[case::missing_value(&["run", "-v", "/etc"], "--vol: wants SRC DST")]
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
    Dock::run(args![format!("--{name}")]).refused("unknown");
    Dock::new(args![name]).refused("unknown");
    Dock::run(args!["-v", "/etc", name, "true"]).refused("not an absolute path");
    let ran = Dock::run(args![format!("/no-such-{name}")]).output().exits(127);
    assert!(!ran.stderr.trim_end_matches('\n').chars().any(char::is_control), "{:?}", ran.stderr);
}

#[test]
fn a_very_long_path_is_an_error_and_not_a_crash() {
    let long = format!("/{}", "x".repeat(5000));
    Dock::run(args!["-v", &long, "/mnt", "true"]).refused("(ENAMETOOLONG)");
    Dock::run(args!["-v", "/etc", &long, "true"]).refused("(ENAMETOOLONG)");
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

/// How deep instances can nest is not the only limit of its kind.
#[rstest]
#[case("pid")]
#[case("mnt")]
#[case("ipc")]
fn a_limit_of_namespaces_is_named(#[case] kind: &str) {
    let script = format!("echo 0 > /proc/sys/user/max_{kind}_namespaces; exec $SELFDOCK run true");
    let ran =
        Dock::program(args!["unshare", "-Urm", "sh", "-c", script]).env("SELFDOCK", selfdock()).output();
    let ran = ran.exits(125);
    assert!(ran.stderr.contains(&format!("max_{kind}_namespaces")), "{}", ran.stderr);
}

/// Under a policy for files the kernel lets nobody mount.
#[test]
fn a_policy_that_forbids_mounting_is_thought_of() {
    const LANDLOCKED: &str = "import ctypes, os, struct, sys
call = ctypes.CDLL(None).syscall
rules = call(444, struct.pack('Q', 2), 8, 0)
root = os.open('/', os.O_PATH)
call(445, rules, 1, struct.pack('=Qi', 2, root), 0)
call(446, rules, 0) and sys.exit('no Landlock')
os.execv(sys.argv[1], sys.argv[1:])";
    // Root of its own user namespace needs no no_new_privs for it.
    let words = args!["unshare", "-Ur", "python3", "-c", LANDLOCKED, selfdock(), "run", "true"];
    let ran = Dock::program(words).output().exits(125);
    assert!(ran.stderr.contains("(EPERM); a policy (Landlock"), "{}", ran.stderr);
}

#[test]
fn a_descriptor_as_a_source_is_told_from_a_file() {
    let script = "$SELFDOCK -m <(echo x) /mnt run true";
    let ran = Dock::program(args!["bash", "-c", script]).env("SELFDOCK", selfdock()).output().exits(125);
    assert!(ran.stderr.contains("--keep-fd"), "{}", ran.stderr);
}
