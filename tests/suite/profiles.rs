//! profiles: `@FILE` adds the options in a file, read as the caller, and the command line can replace them.

use crate::support::{Cmd, about, args, copy_program, scratch, selfdock};
use rstest::rstest;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A copy of selfdock, beside which no profiles are installed.
#[test]
fn without_profiles_there_is_a_message() {
    let dir = scratch();
    let copy = dir.path().join("selfdock");
    copy_program(selfdock(), &copy);
    copy_program(about(), dir.path().join("selfdock-about"));
    let ran = Cmd::program(args![copy, "profiles"]).env("HOME", "/none").output().exits(0);
    assert_eq!(ran.stdout, "");
    let words = "selfdock: no profiles found in '/none/.config/selfdock', '/etc/selfdock/profiles', '";
    assert!(ran.stderr.starts_with(words), "{}", ran.stderr);
}

/// A home with a profile in it.
fn home(name: &str, text: &str) -> TempDir {
    let home = scratch();
    let dir = home.path().join(".config/selfdock");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(name), text).unwrap();
    home
}

#[rstest]
#[case::before(&["@mine", "run"])]
#[case::after(&["run", "@mine"])]
#[case::beside_others(&["-C", "/", "@mine", "run", "-e", "B=2"])]
#[case::unprivileged(&["--unprivileged", "run", "@mine"])]
#[case::named_by_another(&["run", "@other"])]
fn a_file_holds_options(#[case] words: &[&str]) {
    let text = "# Mine.\n\n-e A='one  two' # as in a shell\n-m ~/'with space' \"$WHERE\"\n
                --bind-if-exists ${NONE:-/none}\n";
    let home = home("mine", text);
    fs::write(home.path().join(".config/selfdock/other"), "--new-session\n@mine\n").unwrap();
    fs::create_dir(home.path().join("with space")).unwrap();
    fs::write(home.path().join("with space/file"), "found").unwrap();
    let cmd = Cmd::new(words.iter().map(Into::into)).env("HOME", home.path()).env("WHERE", "/mnt/x");
    assert_eq!(cmd.sh("echo \"$A\"; cat /mnt/x/file").ok(), "one  two\nfound");
}

#[test]
fn a_file_is_found_by_its_path_or_in_directories_of_profiles() {
    let home = home("judge", "# My own judge.\n-e WHO=mine\n");
    fs::write(home.path().join("file"), "-e WHO=file\n").unwrap();
    let who = |word: &str, variables: &[(&str, &Path)]| {
        let cmd = Cmd::run(args![word]).env("HOME", home.path()).current_dir(home.path());
        let cmd = variables.iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value));
        cmd.sh("echo ${WHO-nobody}").ok()
    };
    assert_eq!(who("@./file", &[]), "file");
    assert_eq!(who("@judge", &[]), "mine");
    // A profile of the user is taken before one of the installation; without it, the installed one is.
    let config = home.path().join(".config");
    assert_eq!(who("@judge", &[("HOME", Path::new("/none"))]), "nobody");
    assert_eq!(who("@judge", &[("HOME", Path::new("/none")), ("XDG_CONFIG_HOME", &config)]), "mine");
    fs::create_dir(config.join("selfdock/directory")).unwrap();
    let listed = Cmd::new(args!["profiles"]).env("HOME", home.path()).ok();
    assert!(!listed.contains("@directory"), "{listed}");
    assert!(listed.contains("@judge       My own judge.\n"), "{listed}");
    for name in ["browser", "cargo", "go", "maven", "npm", "python", "x11"] {
        assert!(listed.contains(&format!("@{name} ")), "{listed}");
    }
    // A profile in another directory is not found.
    assert!(!Cmd::new(args!["profiles"]).env("HOME", "/none").ok().contains("My own"));
}

#[rstest]
#[case::absent("-H\n", "@none", "profile 'none': no such profile; 'selfdock profiles' lists all")]
#[case::absent_file("-H\n", "@/no/such", "read the options in '/no/such': no such file")]
#[case::a_command("-H\nsh\n", "@mine", "mine:2': 'sh': not an option")]
#[case::the_end_of_options("--\n", "@mine", "mine:1': '--': not an option")]
#[case::unknown("\n--ro-bind /a /b", "@mine", "mine:2': option --ro-bind: unknown; use '-m SRC DST'")]
#[case::half_an_option("-v /a\n/b\n", "@mine", "mine:1': option --vol: needs SRC DST; DST is missing")]
#[case::unset("-b $NO_SUCH_VARIABLE", "@mine", "mine:1': variable 'NO_SUCH_VARIABLE': not set")]
#[case::unclosed("-e A='", "@mine", "mine:1': a quote or a brace is not closed")]
#[case::continued("-e A \\\n1", "@mine", "mine:1': a backslash at its end does not continue the line")]
#[case::nul("-H\n-e A=\0b", "@mine", "mine:2': a NUL byte is in it")]
#[case::of_explain("--explain=no", "@mine", "takes no value; the only one is --explain=all")]
#[case::itself("@mine", "@mine", "it includes itself")]
#[case::wrong_value("--net some", "@mine", "option --net 'some': not 'none'")]
#[case::control_characters("-\u{1b}[31m", "@mine", "unknown")]
fn an_error_in_a_file_is_reported_with_its_line(#[case] text: &str, #[case] word: &str, #[case] why: &str) {
    let home = home("mine", text);
    Cmd::run(args![word, "true"]).env("HOME", home.path()).refused(why);
}

/// Even a small stack is enough for a hostile file.
#[test]
fn values_inside_values_have_a_bound() {
    let home = home("mine", &format!("-e A={}x{}", "${Q:-".repeat(5000), "}".repeat(5000)));
    let script = "ulimit -s 1024; exec $SELFDOCK run @mine true";
    let run = Cmd::program(args!["sh", "-c", script]).env("HOME", home.path());
    run.refused("mine:1': variables: more than 16 values are inside each other");
}

/// A hostile file does not take the processor for long.
#[rstest]
#[case::many_options(&"-eA=b ".repeat(10_000), "more than 4096 options are in files")]
#[case::many_options_in_a_word(&format!("-{}", "H".repeat(5000)), "more than 4096 options are in files")]
#[case::many_options_in_all(&format!("{}\n@two @two\n", "-eA=b ".repeat(2000)), "'two': more than 4096 options")]
#[case::many_files("@0 @0", "more than 256 files are included in all")]
fn what_a_file_may_cost_is_bounded(#[case] text: &str, #[case] why: &str) {
    let home = home("mine", text);
    let write =
        |name: &str, text: &str| fs::write(home.path().join(".config/selfdock").join(name), text).unwrap();
    write("two", &"-eA=b ".repeat(1500));
    for level in 0..10 {
        write(&level.to_string(), &format!("@{0} @{0}", level + 1));
    }
    write("10", "-H");
    Cmd::run(args!["@mine", "true"]).env("HOME", home.path()).refused(why);
}

/// As many as there may be are taken.
#[test]
fn a_file_can_have_many_options() {
    let home = home("mine", &format!("{}-e B=last", "-eA=b ".repeat(4095)));
    assert_eq!(Cmd::run(args!["@mine"]).env("HOME", home.path()).sh("echo $A $B").ok(), "b last");
}

/// C7: unprivileged features in the set-uid program.
#[test]
fn what_others_may_not_read_is_not_read() {
    let home = home("mine", "-H");
    let file = home.path().join(".config/selfdock/mine");
    Cmd::program(args!["chmod", "000", &file]).ok();
    Cmd::run(args!["@mine", "true"]).env("HOME", home.path()).refused("(EACCES)");
    let large = home.path().join("large");
    fs::write(&large, "#".repeat(70_000)).unwrap();
    Cmd::run(args![format!("@{}", large.display()), "true"]).refused("(EFBIG)");
}

#[test]
fn the_command_line_replaces_options_of_a_file() {
    let home =
        home("mine", "-C /usr\n--hostname of-file\n--rlimit nofile=64\n--rlimit core=0\n--timeout 1000\n");
    let seen = |words: &[&str]| {
        let words = words.iter().map(Into::into);
        Cmd::new(words).env("HOME", home.path()).sh("pwd; uname -n; ulimit -n; ulimit -c").ok()
    };
    assert_eq!(seen(&["run", "@mine"]), "/usr\nof-file\n64\n0");
    let said = ["@mine", "-C", "/etc", "run", "--hostname", "said", "--rlimit", "nofile=65"];
    assert_eq!(seen(&said), "/etc\nsaid\n65\n0");
    let (dir, place) = (scratch(), scratch());
    let kept = place.path().join("kept");
    let words = args!["@other", "--changes", &kept, "-o", dir.path(), "/mnt/w", "run", "true"];
    fs::write(home.path().join(".config/selfdock/other"), "--changes /no/such/place\n").unwrap();
    Cmd::new(words).env("HOME", home.path()).ok();
    assert!(kept.exists());
}

/// The file's name stands behind the option that replaces it, so the last one of all would be the file's.
#[rstest]
#[case::network("--net host", "--net none", "tail -n +3 /proc/net/dev | wc -l", "1")]
#[case::directory("-C /usr", "-C /etc", "pwd", "/etc")]
#[case::host_name("--hostname of-file", "--hostname said", "uname -n", "said")]
#[case::filter("--seccomp default", "--seccomp none", "sed -n 's/^Seccomp:.//p' /proc/self/status", "0")]
#[case::soft_limit("--rlimit nofile=50", "--rlimit nofile=20", "ulimit -n", "20")]
#[case::another_limit(
    "--rlimit core=0\n--rlimit nofile=50",
    "--rlimit nofile=20",
    "ulimit -c; ulimit -n",
    "0\n20"
)]
#[case::variable("-e A=of-file", "-e A=said", "echo $A", "said")]
#[case::removed_variable("-e A=of-file", "-E A", "echo ${A-none}", "none")]
#[case::secret("--no-secrets", "-e MY_TOKEN=said", "echo $MY_TOKEN", "said")]
#[case::clear("--clear-env\n-e B=file", "-e A=said", "echo $A $B", "said file")]
#[case::clear_before("-e B=file", "--clear-env", "echo $B", "file")]
#[case::an_included_file(
    "-e B=outer\n-C /usr\n@./inner",
    "-e A=b",
    "pwd; uname -n; echo $B",
    "/usr\ninner\nouter"
)]
fn the_command_line_wins_also_before_the_file(
    #[case] file: &str,
    #[case] option: &str,
    #[case] look: &str,
    #[case] seen: &str,
    #[values(false, true)] is_unprivileged: bool,
) {
    let dir = scratch();
    fs::write(dir.path().join("file"), format!("{file}\n")).unwrap();
    fs::write(dir.path().join("inner"), "-C /etc\n--hostname inner\n-e B=inner\n").unwrap();
    let words = option.split(' ').map(Into::into).chain(args!["@./file"]);
    let words = words.chain(is_unprivileged.then(|| "--unprivileged".into()));
    assert_eq!(Cmd::run(words).current_dir(dir.path()).sh(look).ok(), seen);
}

/// `--explain` shows what came of it.
#[rstest]
#[case("--timeout 60", "--timeout 5", "timeout\tSIGTERM after 5 s, SIGKILL 5 s later")]
#[case("--output-limit 7M", "--output-limit 3", "limit all\toutput=3")]
#[case("--memory 7M", "--memory 3M", "limit all\tmemory=3145728")]
#[case("--pids 7", "--pids 3", "limit all\tpids=3")]
#[case("--cpus 7", "--cpus 3", "limit all\tcpus=3")]
#[case("--report /tmp/a", "--report /tmp/b", "report\tto '/tmp/b'")]
#[case("--home=/etc", "--home", "tmpfs\t-")]
fn the_plan_has_the_value_of_the_command_line(#[case] file: &str, #[case] option: &str, #[case] line: &str) {
    let dir = scratch();
    fs::write(dir.path().join("file"), file).unwrap();
    let kind = line.split('\t').next().unwrap();
    for before in [false, true] {
        let mut words: Vec<OsString> = option.split(' ').map(Into::into).collect();
        words.insert(if before { words.len() } else { 0 }, "@./file".into());
        let words = args!["--explain"].into_iter().chain(words).chain(args!["run", "true"]);
        let plan = Cmd::new(words).env("HOME", "/mnt/home").current_dir(dir.path()).ok();
        let told: Vec<&str> = plan.lines().filter(|told| told.split('\t').next() == Some(kind)).collect();
        assert!(matches!(*told, [one] if one.starts_with(line)), "{plan}");
    }
}

#[rstest]
#[case(&["-C", "/etc", "-C", "/usr"], "/usr")]
#[case(&["--hostname", "a", "--hostname", "b"], "b")]
#[case(&["--rlimit", "nofile=20", "--rlimit", "nofile=50"], "50")]
#[case(&["--rlimit", "nofile=50", "--rlimit", "nofile=20"], "20")]
#[case(&["--seccomp", "/none", "--seccomp", "none"], "0")]
#[case(&["--net", "host", "--net", "none"], "1")]
#[case(&["--home=/none", "--home"], "0")]
fn of_several_values_the_last_counts(#[case] options: &[&str], #[case] last: &str) {
    let look = match options[0] {
        "-C" => "pwd",
        "--hostname" => "uname -n",
        "--rlimit" => "ulimit -n",
        "--net" => "tail -n +3 /proc/net/dev | wc -l",
        "--seccomp" => "sed -n 's/^Seccomp:.//p' /proc/self/status",
        _ => "ls ~ | wc -l",
    };
    for mode in [&[][..], &["--unprivileged"]] {
        let words = mode.iter().chain(options).map(Into::into);
        assert_eq!(Cmd::run(words).env("HOME", "/mnt/home").sh(look).ok(), last, "{options:?}");
    }
}

#[test]
fn a_home_and_the_current_directory_cannot_be_one() {
    let home = scratch();
    let cmd = Cmd::run(args!["@python", "true"]).env("HOME", home.path()).current_dir(home.path());
    cmd.refused("the current directory is your home");
}

#[test]
fn a_name_after_the_end_of_options_is_a_command() {
    let dir = scratch();
    fs::write(dir.path().join("@program"), "#!/bin/sh\necho ran").unwrap();
    Cmd::program(args!["chmod", "755", dir.path().join("@program")]).ok();
    assert_eq!(Cmd::run(args!["--", "@program"]).env("PATH", dir.path()).ok(), "ran");
}

#[test]
fn each_and_enter_take_profiles_too() {
    let home = home("mine", "-e A=of-file\n");
    let each = Cmd::new(args!["each", "@mine", "sh", "-c", "echo $A {}"]).env("HOME", home.path());
    assert_eq!(each.stdin("1\n").ok(), "of-file 1");
    let instance = crate::support::instance([]);
    let pid = instance.pid().to_string();
    for words in [args!["enter", "@mine", &pid], args!["enter", &pid, "@mine"]] {
        assert_eq!(Cmd::new(words).env("HOME", home.path()).sh("echo $A").ok(), "of-file");
    }
}

/// The installed profiles, with a home as their programs create it.
#[rstest]
fn a_ready_profile_works(
    #[values("browser", "cargo", "go", "judge", "maven", "npm", "python", "x11")] name: &str,
    #[values(&[][..], &["--unprivileged"])] how: &[&str],
    #[values(false, true)] nested: bool,
) {
    let home = scratch();
    let kept = [
        ".cargo/registry",
        ".cargo/git",
        ".rustup",
        ".npm",
        "go",
        ".m2/repository",
        ".cache/pip",
        ".local/lib",
    ];
    for dir in kept {
        fs::create_dir_all(home.path().join(dir)).unwrap();
    }
    fs::write(home.path().join(".cargo/credentials.toml"), "secret").unwrap();
    fs::write(home.path().join(".private"), "secret").unwrap();
    let project = home.path().join("project");
    fs::create_dir(&project).unwrap();
    let mut words: Vec<OsString> = Vec::new();
    if nested {
        words.extend(args!["-b", home.path(), "run", selfdock()]);
    }
    words.extend(how.iter().map(Into::into));
    words.extend(args!["run", format!("@{name}"), "sh", "-c"]);
    let look = "ls -A ~ 2>/dev/null; cat ~/.private ~/.cargo/credentials.toml 2>/dev/null
                echo ${SOME_TOKEN-none}; pwd; touch ~/.cargo/registry/new ~/new new 2>/dev/null; true";
    let cmd =
        Cmd::new(words).arg(look).env("HOME", home.path()).env("SOME_TOKEN", "secret").current_dir(&project);
    let seen = cmd.ok();
    assert!(!seen.contains("secret") && seen.contains("none"), "{seen}");
    let builds = matches!(name, "cargo" | "go" | "maven" | "npm" | "python");
    assert_eq!((project.join("new").exists(), home.path().join("new").exists()), (builds, false), "{seen}");
    assert_eq!(home.path().join(".cargo/registry/new").exists(), name == "cargo");
}

/// Whether this machine has a program.
fn has(program: &str) -> bool {
    Path::new("/usr/bin").join(program).exists()
}

/// Tests profiles with their programs, if this machine has them.
#[rstest]
#[case::python("@python", &["python3", "-c", "print(6 * 7)"], "42")]
#[case::judge("@judge", &["python3", "-c", "print(6 * 7)"], "42")]
#[case::go("@go", &["go", "run", "main.go"], "42")]
#[case::npm("@npm", &["npm", "--offline", "init", "-y"], "\"name\": \"project\"")]
#[case::maven("@maven", &["mvn", "-q", "-version"], "3.")]
#[case::cargo("@cargo", &["cargo", "new", "--vcs", "none", "made"], "")]
#[case::browser("@browser", &["chromium", "--headless", "--disable-gpu", "--dump-dom", "data:text/html,42"], "42")]
fn a_ready_profile_runs_its_program(#[case] name: &str, #[case] words: &[&str], #[case] said: &str) {
    if !has(words[0]) {
        eprintln!("{} is not installed here, and so has not been run", words[0]);
        return;
    }
    let home = scratch();
    let project = home.path().join("project");
    fs::create_dir(&project).unwrap();
    fs::write(project.join("main.go"), "package main\nfunc main() { println(6 * 7) }\n").unwrap();
    let words = args![name].into_iter().chain(words.iter().map(Into::into));
    let ran = Cmd::run(words).env("HOME", home.path()).current_dir(&project).output().exits(0);
    assert!(ran.stdout.contains(said) || ran.stderr.contains(said), "{} {}", ran.stdout, ran.stderr);
    // Nothing is left in the home.
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

/// A real display, which clients reach by its abstract socket, as usual.
#[test]
fn a_program_with_windows_reaches_a_real_display() {
    if !has("Xvfb") || !has("xdpyinfo") {
        eprintln!("Xvfb or xdpyinfo is not installed here, and so has not been run");
        return;
    }
    let server =
        Cmd::program(args!["Xvfb", "-nolisten", "unix", "-nolisten", "tcp", "-displayfd", "1"]).spawn();
    let display = format!(":{}", server.line());
    for how in [&["run"][..], &["--unprivileged", "run"]] {
        let words = how.iter().map(Into::into).chain(args!["@x11", "xdpyinfo"]);
        let seen = Cmd::new(words).env("DISPLAY", &display).env("HOME", "/home/of-a-test").ok();
        assert!(seen.contains(&format!("name of display:    {display}")), "{seen}");
    }
}
