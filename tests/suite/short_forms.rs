//! short-forms: A short form does the same as the options that it stands for.

use crate::support::{Cmd, args, bin, copy_program, instance, nested, scratch, selfdock};
use rstest::rstest;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// Three ways to run: set-uid, unprivileged, and nested.
const HOW: [&[&str]; 3] = [&["run"], &["--unprivileged", "run"], &["run", "NESTED", "run"]];

/// `selfdock ... run`, with options for the innermost instance. All levels bind `shown`.
fn run(how: &[&str], shown: &Path, options: &[OsString]) -> Cmd {
    let (last, before) = how.split_last().expect("words");
    let mut words: Vec<OsString> = Vec::new();
    for word in before {
        match *word {
            "NESTED" => words.extend(args!["-v", shown, shown, selfdock()]),
            word => words.push(word.into()),
        }
    }
    words.extend(options.iter().cloned());
    words.push(last.into());
    Cmd::new(words)
}

#[rstest]
#[case::volume("-b", true)]
#[case::by_its_name("--bind", true)]
#[case::if_it_is_there("--bind-if-exists", true)]
#[case::map("-B", false)]
#[case::map_by_its_name("--bind-ro", false)]
#[case::map_if_it_is_there("--bind-ro-if-exists", false)]
fn a_path_is_bound_on_the_same_path(
    #[case] option: &str,
    #[case] writable: bool,
    #[values(HOW[0], HOW[1], HOW[2])] how: &[&str],
    #[values("", "sub/..")] relative: &str,
) {
    let dir = scratch();
    fs::create_dir(dir.path().join("sub")).unwrap();
    let path = if relative.is_empty() { dir.path().into() } else { OsString::from(relative) };
    let script = format!("test -d {0}/sub; touch {0}/new 2>/dev/null && echo written", dir.path().display());
    let cmd = run(how, dir.path(), &args![option, path]).current_dir(dir.path());
    let seen = cmd.sh(script + "; true").ok();
    assert_eq!((seen == "written", dir.path().join("new").exists()), (writable, writable));
}

#[test]
fn a_missing_path_is_an_error_unless_allowed() {
    Cmd::run(args!["-b", "/no/such", "true"]).refused("open '/no/such'");
    Cmd::run(args!["-B", "no-such", "true"]).refused("option --bind-ro: open 'no-such'");
    Cmd::run(args!["--bind-if-exists", "/no/such", "--bind-ro-if-exists", "no-such", "true"]).ok();
    Cmd::run(args!["-b", "/usr", "/mnt", "true"])
        .refused("'/mnt' is a directory, not CMD: the option takes one PATH");
    Cmd::new(args!["-b", "/usr", "/mnt", "run", "true"]).refused("-v SRC DST");
}

#[rstest]
fn a_home_is_empty_and_gone_afterwards_or_kept(#[values(HOW[0], HOW[1], HOW[2])] how: &[&str]) {
    let dir = scratch();
    let (home, kept) = (dir.path().join("home"), dir.path().join("kept"));
    for path in [&home, &kept] {
        fs::create_dir(path).unwrap();
        fs::write(path.join("old"), "").unwrap();
    }
    let script = "cd && ls && touch new && stat -c '%a %u' . && id -u";
    let seen = run(how, dir.path(), &args!["--home"]).env("HOME", &home).sh(script).ok();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[0], format!("700 {}", lines[1]), "{seen}");
    assert!(!home.join("new").exists());
    for option in [&args![format!("--home={}", kept.display())][..], &args!["--home", &kept]] {
        let _ = fs::remove_file(kept.join("new"));
        let seen = run(how, dir.path(), option).env("HOME", &home).sh("cd && ls && touch new").ok();
        assert!(seen == "old" && kept.join("new").exists() && !home.join("new").exists());
    }
}

#[test]
fn a_home_needs_a_valid_path() {
    Cmd::run(args!["--home", "true"]).env("HOME", "").refused("option --home: HOME is not set to a path");
    Cmd::run(args!["--home=/no/such", "true"]).refused("open '/no/such'");
    // The next word is CMD, unless it is a directory.
    Cmd::run(args!["--home", "/usr/bin/true"]).ok();
}

#[rstest]
#[case::pattern(&["-E", "AWS_*"], "GH_TOKEN OTHER")]
#[case::one_letter(&["-E", "AWS_KE?"], "AWS_REGION GH_TOKEN OTHER")]
#[case::nothing_of_the_kind(&["-E", "NONE_*"], "AWS_KEY AWS_REGION GH_TOKEN OTHER")]
#[case::but_for_one(&["-E", "AWS_*", "--pass", "AWS_REGION"], "AWS_REGION GH_TOKEN OTHER")]
#[case::all_but_some(&["--clear-env", "--pass", "PATH", "--pass", "AWS_*"], "AWS_KEY AWS_REGION")]
#[case::all_but_some_and_one_more(&["-e", "A=b", "--clear-env", "--pass", "PATH", "-e", "OTHER=1"], "OTHER")]
#[case::no_secrets(&["--no-secrets"], "AWS_KEY AWS_REGION OTHER")]
#[case::no_secrets_but_one(&["--no-secrets", "--pass", "GH_*"], "AWS_KEY AWS_REGION GH_TOKEN OTHER")]
#[case::in_order(&["-e", "AWS_NEW=1", "-E", "AWS_*", "-e", "AWS_LAST=1"], "AWS_LAST GH_TOKEN OTHER")]
fn variables_are_removed_by_patterns(
    #[case] options: &[&str],
    #[case] left: &str,
    #[values(false, true)] joins: bool,
) {
    let instance = instance([]);
    let words =
        if joins { args!["enter", instance.pid().to_string()].to_vec() } else { args!["run"].to_vec() };
    let words = options.iter().map(Into::into).chain(words);
    let cmd =
        Cmd::new(words).env("AWS_KEY", "1").env("AWS_REGION", "1").env("GH_TOKEN", "1").env("OTHER", "1");
    let script = "env | sed -n 's/^\\(A\\|AWS_[A-Z]*\\|GH_TOKEN\\|OTHER\\)=.*/\\1/p' | sort | tr '\\n' ' '";
    assert_eq!(cmd.sh(script).ok(), left);
}

/// C7: unprivileged features in the set-uid program. Everyone can read the command line of selfdock.
#[test]
fn no_value_of_a_variable_gets_into_the_command_line() {
    let words = args!["run", "--clear-env", "--pass", "PATH", "--pass", "SECRET", "cat"];
    let instance = Cmd::new(words).env("SECRET", "do-not-show").spawn().that_repeats();
    let line = fs::read(format!("/proc/{}/cmdline", instance.pid())).unwrap();
    let line = String::from_utf8_lossy(&line);
    assert!(
        line.contains("--unset-env") && !line.contains("do-not-show") && !line.contains("--pass"),
        "{line}"
    );
}

/// A server that sends a word to each client.
const SERVER: &str = include_str!("../programs/serve_socket.py");

/// A client that prints it.
const CLIENT: &str = include_str!("../programs/ask_socket.py");

#[rstest]
#[case::wayland("--wayland", "wayland-0", &[("XDG_RUNTIME_DIR", "DIR")])]
#[case::wayland_elsewhere("--wayland", "screen", &[("WAYLAND_DISPLAY", "DIR/screen")])]
#[case::bus("--dbus", "bus", &[("DBUS_SESSION_BUS_ADDRESS", "unix:path=DIR/bus,guid=1")])]
#[case::bus_by_default("--dbus", "bus", &[("XDG_RUNTIME_DIR", "DIR")])]
#[case::sound("--pulse", "pipewire-0", &[("XDG_RUNTIME_DIR", "DIR")])]
#[case::sound_elsewhere("--pulse", "native", &[("PULSE_SERVER", "unix:DIR/native")])]
#[case::agent("--ssh-agent", "agent", &[("SSH_AUTH_SOCK", "DIR/agent")])]
fn a_preset_shows_a_socket(
    #[case] option: &str,
    #[case] name: &str,
    #[case] variables: &[(&str, &str)],
    #[values(HOW[0], HOW[1], HOW[2])] how: &[&str],
) {
    let dir = scratch();
    let socket = dir.path().join(name);
    let server = Cmd::program(args!["python3", "-c", SERVER, &socket]).spawn();
    assert_eq!(server.line(), "up");
    let with = |mut cmd: Cmd| {
        for (name, value) in variables {
            cmd = cmd.env(name, value.replace("DIR", dir.path().to_str().unwrap()));
        }
        cmd.arg("python3").arg("-c").arg(CLIENT).arg(&socket)
    };
    assert_eq!(with(run(how, dir.path(), &args![option])).ok(), "served");
    // Without the option it is hidden.
    let without = with(Cmd::run(args!["-t", "-", dir.path()])).output();
    assert!(!without.status.success());
}

#[test]
fn a_display_is_a_socket_or_an_abstract_one() {
    let name = format!("@/tmp/.X11-unix/X{}", std::process::id());
    let server = Cmd::program(args!["python3", "-c", SERVER, &name]).spawn();
    assert_eq!(server.line(), "up");
    let display = format!(":{}.0", std::process::id());
    let client = args!["python3", "-c", CLIENT, &name];
    let with =
        |option: &str| Cmd::run(args![option].into_iter().chain(client.clone())).env("DISPLAY", &display);
    assert_eq!(with("--x11").ok(), "served");
    // From Linux 6.12 on it is unreachable without the option.
    let doctor = Cmd::new(args!["doctor"]).ok();
    let kept_inside = doctor.contains("Landlock keeps signals and abstract sockets inside");
    assert_eq!(with("--new-session").output().status.success(), !kept_inside);
    let dir = scratch();
    fs::write(dir.path().join("cookies"), "").unwrap();
    let explained = Cmd::new(args!["--explain", "run", "--x11", "true"]).env("DISPLAY", &display);
    let explained = explained.env("XAUTHORITY", dir.path().join("cookies")).ok();
    assert!(explained.contains(&format!("map\t'{}/cookies'\t", dir.path().display())), "{explained}");
    let script = "mount -t tmpfs none /tmp && mkdir /tmp/.X11-unix && touch /tmp/.X11-unix/X7 && \
                  DISPLAY=unix:7 XAUTHORITY= HOME= $0 --explain run --x11 true";
    let explained = Cmd::program(args!["unshare", "-Urm", "sh", "-c", script, selfdock()]).ok();
    assert!(explained.contains("map\t'/tmp/.X11-unix/X7'\t'/tmp/.X11-unix/X7'\tro,"), "{explained}");
}

#[rstest]
#[case("--x11", "DISPLAY is not set")]
#[case("--wayland", "XDG_RUNTIME_DIR is not set")]
#[case("--dbus", "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set")]
#[case("--pulse", "XDG_RUNTIME_DIR is not set")]
#[case("--ssh-agent", "SSH_AUTH_SOCK is not set")]
fn a_preset_says_what_it_lacks(#[case] option: &str, #[case] why: &str) {
    Cmd::run(args![option, "true"]).refused(&format!("option {option}: {why}"));
}

#[test]
fn a_preset_says_what_is_not_there() {
    Cmd::run(args!["--ssh-agent", "true"]).env("SSH_AUTH_SOCK", "/no/such").refused("find '/no/such'");
    let odd = "tcp:host=localhost";
    let said = Cmd::run(args!["--dbus", "true"]).env("DBUS_SESSION_BUS_ADDRESS", odd);
    said.refused("DBUS_SESSION_BUS_ADDRESS names no socket");
    let gone = "unix:abstract=/no/such/bus,guid=1";
    let said = Cmd::run(args!["--dbus", "true"]).env("DBUS_SESSION_BUS_ADDRESS", gone);
    said.refused("DBUS_SESSION_BUS_ADDRESS names no socket that exists");
    for display in [":4711", ":4711.0", "unix:4711", ":"] {
        let said = Cmd::run(args!["--x11", "true"]).env("DISPLAY", display);
        said.refused(&format!(
            "option --x11: find the display '{display}': it has no socket in /tmp/.X11-unix, and"
        ));
    }
    Cmd::run(args!["--x11", "true"]).env("DISPLAY", "bad").refused("'bad': not of the form HOST:NUMBER");
    // That of another machine, as ssh has it.
    Cmd::run(args!["--x11", "true"]).env("DISPLAY", "localhost:10.0").ok();
    Cmd::run(args!["--home", "true"])
        .env("HOME", "/etc/passwd")
        .refused("use '/etc/passwd' as the home: HOME names a");
}

/// As `-b`, `-v` and `-C` have it.
#[test]
fn a_mask_may_be_relative() {
    let dir = scratch();
    fs::write(dir.path().join("hidden"), "1").unwrap();
    for option in ["--mask", "--mask-if-exists"] {
        for name in ["hidden", "./hidden"] {
            let cmd = Cmd::run(args!["-H", option, name, "cat", "hidden"]).current_dir(dir.path());
            assert_eq!(cmd.ok(), "");
        }
    }
    assert_eq!(Cmd::run(args!["-H", "cat", "hidden"]).current_dir(dir.path()).ok(), "1");
    let plan = Cmd::run(args!["--explain", "-H", "--mask", "hidden", "true"]).current_dir(dir.path()).ok();
    assert!(plan.contains(&format!("'{}/hidden'", dir.path().display())), "{plan}");
    Cmd::run(args!["-H", "--mask", "none", "true"]).current_dir(dir.path()).refused("(ENOENT)");
    Cmd::run(args!["-H", "--mask", "../x", "true"]).current_dir(dir.path()).refused("contains '..'");
}

#[test]
fn graphics_cards_are_shown_where_there_are_some() {
    let explained = Cmd::new(args!["--explain", "run", "--gpu", "true"]);
    if ["dri", "kfd", "dxg", "nvidiactl"].iter().any(|name| Path::new("/dev").join(name).exists()) {
        let plan = explained.ok();
        assert!(plan.contains("device\t") && plan.contains("map\t'/sys/devices'\t"), "{plan}");
        Cmd::run(args!["--gpu", "true"]).ok();
    } else {
        explained.refused("option --gpu: there is no graphics card in /dev");
    }
}

#[test]
fn each_takes_short_forms_too() {
    let dir = scratch();
    fs::create_dir(dir.path().join("home")).unwrap();
    let words = args!["-B", dir.path(), "each", "--home", "-E", "SOME_*", "sh", "-c"];
    let script = format!("cd && touch new-{{}} && ls; env | grep -c SOME_; ls {}", dir.path().display());
    let cmd = Cmd::new(words).arg(script).env("HOME", "/home/me").env("SOME_A", "1").stdin("1\n2\n");
    assert_eq!(cmd.ok(), "new-1\n0\nhome\nnew-2\n0\nhome");
    Cmd::new(args!["each", "--x11", "true"]).stdin("1\n").refused("DISPLAY is not set");
}

#[test]
fn the_plan_shows_the_expanded_options() {
    let plan = Cmd::new(args!["--explain", "run", "--home", "-b", "/usr/share", "true"])
        .env("HOME", "/home/me")
        .ok();
    assert!(
        plan.contains("tmpfs\t-\t'/home/me'\t") && plan.contains("volume\t'/usr/share'\t'/usr/share'\t"),
        "{plan}"
    );
}

#[test]
fn advice_for_a_missing_command_knows_short_forms() {
    let dir = scratch();
    copy_program(bin("nothing"), dir.path().join("my-program"));
    let words = args!["--home", "-t", "-", dir.path()].into_iter().chain(nested(0, args!["my-program"]));
    let ran = Cmd::run(words).env("PATH", dir.path()).env("HOME", "/home/me").output().exits(127);
    assert!(ran.stderr.contains("exists only outside: --tmpfs has"), "{}", ran.stderr);
}

/// The destination is the path as it is written, also if its last name is a link.
#[rstest]
#[case::by_its_name("link", "link")]
#[case::by_its_directory("./link", "link")]
#[case::by_a_parent("dir/../link", "link")]
#[case::all_of_it("$D/link", "link")]
#[case::what_it_names("link/.", "dir")]
fn a_link_is_bound_where_it_lies(
    #[case] path: &str,
    #[case] place: &str,
    #[values("", "--explain")] how: &str,
) {
    // No part of it is shown inside.
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let look = if how.is_empty() { "sh -c \"ls $D; cat $D/*/file\"" } else { "true" };
    let script = "mkdir dir; echo found > dir/file; ln -s dir link; D=$PWD";
    let script = format!("{script}; $SELFDOCK {how} -b {path} run {look}");
    let seen = Cmd::program(args!["sh", "-c", script]).current_dir(dir.path()).ok();
    if how.is_empty() {
        assert_eq!(seen, format!("{place}\nfound"));
    } else {
        let place = format!("\t'{}'\t", dir.path().canonicalize().unwrap().join(place).display());
        assert!(seen.lines().any(|line| line.starts_with("volume") && line.contains(&place)), "{seen}");
    }
}
