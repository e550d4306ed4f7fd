//! recipes: The command lines in the documents do what the documents say.

use crate::support::machine::Machine;
use crate::support::{Cmd, args, fixture, kernel, make_program, scratch, second, selfdock};
use rstest::rstest;
use std::fs;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;
use tempfile::TempDir;

const RECIPES: &str = include_str!("../../docs/recipes.md");
const README: &str = include_str!("../../README.md");
/// The text of this file, to check that it names every recipe.
const SELF: &str = include_str!("recipes.rs");

/// The scripts of `examples/`.
const EXAMPLES: [(&str, &str); 4] = [
    ("judge", include_str!("../../examples/judge")),
    ("build", include_str!("../../examples/build")),
    ("service", include_str!("../../examples/service")),
    ("proxy", include_str!("../../examples/proxy")),
];

/// Sections of README whose commands are not recipes, and where they are tested.
const NOT_RUN: [&str; 3] = [
    // `cargo xtask install-test` does this for each run of the suite.
    "Install",
    // They need a terminal or a long time. Tests of `listing` and `entering` do the same.
    "See what runs, and join it",
    "Show more of the host to everyone",
];

/// A section of a document: its heading, and its code blocks.
#[derive(Default)]
struct Part<'t> {
    heading: &'t str,
    /// The `sh` blocks, in order.
    commands: String,
    /// The `text` blocks, which show the output.
    shown: String,
}

fn parts(document: &str) -> Vec<Part<'_>> {
    let mut parts = vec![Part::default()];
    let mut block = None;
    for line in document.lines() {
        if let Some(language) = line.strip_prefix("```") {
            block = if block.is_none() { Some(language) } else { None };
            continue;
        }
        if block.is_none() && line.starts_with('#') {
            parts.push(Part { heading: line.trim_start_matches('#').trim(), ..Part::default() });
        }
        let part = parts.last_mut().expect("there is one from the start");
        match block {
            Some("sh") => part.commands.extend([line, "\n"]),
            Some("text") => part.shown.extend([line, "\n"]),
            _ => {}
        }
    }
    parts
}

fn part<'t>(document: &'t str, heading: &str) -> Part<'t> {
    let found = parts(document).into_iter().find(|part| part.heading == heading);
    let part = found.unwrap_or_else(|| panic!("no part is headed '{heading}'"));
    assert!(!part.commands.is_empty(), "'{heading}' has no commands");
    part
}

/// Whether a text matches a pattern, in which `…` stands for any text.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut last = "";
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = part;
    }
    rest.is_empty() || (pattern.contains('…') && text.ends_with(last))
}

/// The place of a reader: a HOME with the directory of a project, and selfdock and cargo in PATH.
struct Reader {
    home: TempDir,
}

impl Reader {
    fn new() -> Self {
        let home = TempDir::new_in(std::env::var_os("HOME").expect("a home")).expect("make a home");
        let project = home.path().join("project");
        for dir in [&project, &project.join("examples"), &home.path().join(".cargo/bin")] {
            fs::create_dir_all(dir).unwrap();
        }
        for (name, text) in EXAMPLES {
            make_program(text, project.join("examples").join(name));
        }
        Self { home }
    }

    /// Runs the commands of a section, after those that it presupposes.
    fn follows(&self, part: &Part<'_>, before: &str, program: &[std::ffi::OsString]) {
        let script = format!("exec 2>&1\n{before}\necho the recipe begins\n{}", part.commands);
        let words = program.iter().cloned().chain(args!["sh", "-e", "-c", script]);
        let bin = selfdock().parent().unwrap().display().to_string();
        let cargo = self.home.path().join(".cargo/bin").display().to_string();
        let mut run = Cmd::program(words)
            .env("HOME", self.home.path())
            .env("PATH", format!("{bin}:{cargo}:/usr/sbin:/usr/bin:/sbin:/bin"))
            .env("RUST", fixture("rust"))
            .env("DEBIAN", fixture("debian"))
            .current_dir(self.home.path().join("project"))
            .within(Duration::from_secs(300));
        if part.commands.contains("examples/judge") {
            run = run.env("LIMIT", second().to_string());
        }
        let said = run.output().exits(0).stdout;
        let (_, said) = said.split_once("the recipe begins\n").expect("what was to be prepared is");
        if !part.shown.is_empty() {
            assert!(is_like(said, &part.shown), "the document shows:\n{}\nand it says:\n{said}", part.shown);
        }
    }
}

#[rstest]
#[case::private_home("A private HOME", "")]
#[case::same_place("The same place inside", "")]
#[case::subdirectory(
    "From a subdirectory",
    r"git init -q; mkdir sub; printf 'all:\n\t@echo built in $$PWD\n' > rules.mk
       cd sub; echo include ../rules.mk > Makefile"
)]
#[case::profile("Options that you use again", "")]
#[case::secrets("Without your secrets", "")]
#[case::hide("Hide one more file", "")]
#[case::configuration("Another configuration file", "")]
#[case::copy("Try it in a copy", "rm -r examples; touch run-tests; chmod 755 run-tests")]
#[case::changes("Apply changes", "rm -r examples; mkdir dir; touch gone dir/x")]
#[case::make("Make", r"printf 'all: a b\na b:\n\techo $@ > $@\n' > Makefile")]
#[case::cargo(
    "Cargo",
    r#"mkdir ~/.rustup; ln -s "$RUST"/bin/* ~/.cargo/bin; cargo init --quiet --vcs none --name hello"#
)]
#[case::go(
    "Go",
    r#"printf 'module hello\ngo 1.18\n' > go.mod
       printf 'package main\nfunc main() { println("built by go") }\n' > hello.go"#
)]
#[case::npm(
    "npm",
    r#"mkdir dep; echo '{"name":"dep","version":"1.0.0"}' > dep/package.json
       echo '{"name":"hello","version":"1.0.0","dependencies":{"dep":"file:dep"},
              "scripts":{"test":"test -d node_modules/dep"}}' > package.json"#
)]
#[case::maven(
    "Maven",
    // Java searches for a home in passwd(5), where the user of the tests has none.
    r#"export MAVEN_OPTS=-Duser.home="$HOME"
       echo '<project><modelVersion>4.0.0</modelVersion><groupId>a</groupId><artifactId>a</artifactId>
             <version>1</version><packaging>pom</packaging></project>' > pom.xml"#
)]
#[case::python(
    "Python",
    r"printf 'import unittest\nclass A(unittest.TestCase):\n  def test(self):\n    pass\n' > test_a.py"
)]
#[case::git(
    "Git with your identity",
    "git config --global user.name 'A U Thor'; git config --global user.email author@example.org
     git init -q; echo hello > file; git add file"
)]
#[case::ssh_agent(
    "An ssh-agent",
    r#"eval "$(ssh-agent)"; trap 'kill "$SSH_AGENT_PID"' EXIT
       ssh-keygen -q -t ed25519 -N '' -f key; ssh-add key"#
)]
#[case::postgresql("PostgreSQL", "PATH=$PATH:$(echo /usr/lib/postgresql/*/bin)")]
#[case::judge(
    "A judge",
    r#"mkdir tests; for n in 1 2 3 4 5 6 7; do echo $n > tests/$n.in; echo right > tests/$n.out; done
       printf '#!/bin/sh\nread n\ncase $n in 1) echo right;; 2) echo no;; 3) sleep 1000;; 4) kill -SEGV $$;;
               5) yes & exec yes;; 6) (trap "" TERM; sleep 1000) & exit 3;; 7) while :; do :; done;; esac\n' > solution
       chmod 755 solution
       # It says in the end that one is not right.
       judge() { command examples/judge "$@" || test $? -eq 1; }; alias examples/judge=judge"#
)]
#[case::room("A directory with a limit", "")]
#[case::xargs("Xargs", "")]
#[case::proxy("Some domains and no others", "")]
#[case::build("A build that cannot change its sources", "echo hello > hello.txt")]
#[case::from_nothing("From nothing", "")]
#[case::debian("A Debian", "")]
#[case::layers("Layers", r#"ln -s "$DEBIAN" debian"#)]
fn a_recipe_works(#[case] heading: &str, #[case] before: &str) {
    Reader::new().follows(&part(RECIPES, heading), before, &[]);
}

#[rstest]
#[case::first_steps("First steps", "")]
#[case::more(
    "More command lines",
    r#"mkdir ~/data ~/src; ln -s "$DEBIAN" ~/debian; echo 'all:' > Makefile
       echo '#!/bin/sh' > untrusted; chmod 755 untrusted"#
)]
#[case::limits("Limits of the whole instance", "")]
#[case::judge("For CI and judges", "echo '#!/bin/sh' > solution; chmod 755 solution")]
#[case::batch(
    "A batch",
    "mkdir tests; touch tests/a tests/b; echo '#!/bin/sh' > run-test; chmod 755 run-test"
)]
fn the_command_lines_of_readme_work(#[case] heading: &str, #[case] before: &str) {
    Reader::new().follows(&part(README, heading), before, &[]);
}

/// How each ends. Without control groups all processes together may have more memory than one. Then the clock ends it.
const HOSTILE: [(&str, &[&str]); 13] = [
    ("fork_bomb", &["time limit"]),
    ("memory", &["out of memory", "time limit"]),
    ("disk", &["ended with status 1", "ended by signal 9"]),
    ("descriptors", &["ended with status 1"]),
    ("flood", &["printed too much"]),
    ("stop", &["time limit"]),
    ("kill_all", &["ended by signal 9"]),
    ("daemon", &["right"]),
    ("ignore", &["time limit"]),
    ("busy", &["time limit"]),
    ("busy_together", &["time limit"]),
    ("patient", &["right"]),
    ("copier", &["ended with status 1"]),
];

/// The judge's example tells how each program ended, and nothing of them is left. Only what would never end by itself,
/// and uses no processor time, is ended by the clock.
#[rstest]
fn a_judge_bounds_hostile_programs(
    #[values("", "--unprivileged", "run $KEEP -b $HOME $OWN")] way: &str,
    #[values(
        "fork_bomb",
        "memory",
        "disk",
        "descriptors",
        "flood",
        "stop",
        "kill_all",
        "daemon",
        "ignore",
        "busy",
        "busy_together",
        "patient",
        "copier"
    )]
    what: &str,
) {
    // The limit of processes is for a user: a fork bomb takes what another judge of the same user would need.
    static ALONE: RwLock<()> = RwLock::new(());
    let bomb = (what == "fork_bomb").then(|| ALONE.write().unwrap_or_else(PoisonError::into_inner));
    let _other = bomb.is_none().then(|| ALONE.read().unwrap_or_else(PoisonError::into_inner));
    let reader = Reader::new();
    let home = reader.home.path();
    // As in the recipe, the tests are beside the program.
    fs::create_dir_all(home.join("tests")).unwrap();
    fs::write(home.join("tests/1.in"), format!("{what}\n")).unwrap();
    fs::write(home.join("tests/1.out"), "right\n").unwrap();
    let solution = home.join("solution");
    make_program(include_str!("../programs/hostile.py"), &solution);
    // The judge starts selfdock in this way. An outer instance passes the descriptor of the report on.
    let keep = "if { : >&3; } 2>/dev/null; then KEEP='--keep-fd 3'; fi";
    let program = format!("#!/bin/sh\nKEEP=; {keep}\nexec $OWN {way} \"$@\"\n");
    make_program(&program, home.join("selfdock"));
    let clock = if ["fork_bomb", "memory", "stop", "ignore"].contains(&what) { "3" } else { "1000" };
    let ran = Cmd::program(args![home.join("project/examples/judge"), &solution, home.join("tests")])
        .env("HOME", home)
        .env("OWN", selfdock())
        .env("CLOCK", clock)
        .env("LIMIT", if what.starts_with("busy") { 1 } else { second() }.to_string())
        .env("PATH", format!("{}:/usr/bin:/bin", home.display()))
        .within(Duration::from_secs(300))
        .output();
    let (_, wanted) = HOSTILE.iter().find(|(name, _)| *name == what).unwrap();
    let verdict = ran.stdout.lines().next().unwrap_or_default();
    let is_it = wanted.iter().any(|wanted| verdict == format!("1: {wanted}"));
    assert!(is_it, "{what}: {} {}", ran.stdout, ran.stderr);
}

#[test]
fn an_example_says_how_it_is_used() {
    let reader = Reader::new();
    for (name, _) in EXAMPLES {
        for words in [&[][..], &["/no/such/dir/a", "/no/such/dir/b", "c"][..]] {
            let program = reader.home.path().join("project/examples").join(name);
            let ran = Cmd::program(args![program].into_iter().chain(words.iter().map(Into::into))).output();
            assert_eq!(ran.status.code(), Some(2), "{name} {words:?}: {}", ran.stderr);
            assert!(ran.stderr.starts_with(&format!("usage: {name} ")), "{name}: {}", ran.stderr);
            assert_eq!(ran.stderr.lines().count(), 1, "{name}: {}", ran.stderr);
        }
    }
}

#[rstest]
#[case::proxy_at_a_file("proxy", ["taken", "a.org"], "proxy: make the socket 'taken': Address already in use")]
#[case::judge_without_tests("judge", ["taken", "."], "judge: '.' has no *.in")]
fn an_example_says_what_it_cannot_do_and_leaves_files_alone(
    #[case] name: &str,
    #[case] words: [&str; 2],
    #[case] said: &str,
) {
    let reader = Reader::new();
    let project = reader.home.path().join("project");
    std::fs::write(project.join("taken"), "text").unwrap();
    let program = project.join("examples").join(name);
    let ran = Cmd::program(args![program, words[0], words[1]]).current_dir(&project).output();
    assert_eq!(ran.stderr.trim_end(), said);
    assert!(!ran.status.success());
    assert_eq!(std::fs::read_to_string(project.join("taken")).unwrap(), "text");
}

/// They use a port or a display, so each has its own network and /tmp: those of an outer instance.
#[rstest]
#[case::x11(
    "X11",
    r#"mkdir -m 1777 /tmp/.X11-unix; Xvfb -displayfd 3 3> number 2> log & trap "kill $!" EXIT
       until test -s number; do sleep 0.1; done; export DISPLAY=:$(cat number)"#
)]
#[case::service("A service", "echo hello > hello.txt")]
#[case::bus(
    "A session bus",
    r#"dbus-daemon --session --fork --print-address=3 --print-pid=4 3> address 4> pid; trap 'kill $(cat pid)' EXIT
       export DBUS_SESSION_BUS_ADDRESS="$(cat address)""#
)]
fn a_recipe_that_takes_a_name_of_the_host_works(#[case] heading: &str, #[case] before: &str) {
    let reader = Reader::new();
    let home = reader.home.path();
    let outer = args![selfdock(), "run", "-v", home, home, "-n", "none"];
    reader.follows(&part(RECIPES, heading), before, &outer);
}

/// They take subordinate ids.
#[rstest]
#[case::apt("Try apt install", "")]
#[case::debian("A Debian with packages", "")]
#[case::network("A network of its own", "")]
fn a_recipe_of_root_works(#[case] heading: &str, #[case] before: &str) {
    let machine = Machine::new();
    let mut recipe = part(RECIPES, heading);
    // What the document says of such kernels.
    if kernel() < (6, 6) {
        recipe.commands =
            recipe.commands.replace("-o / / --fake-root", "-o / / --changes ~/changes --fake-root");
    }
    Reader::new().follows(&recipe, before, &machine.launcher());
}

/// Their programs are too large for CI. The machine has a root filesystem with them, which `cargo xtask recipes` makes.
/// After the recipe come commands that say if it did its job.
#[rstest]
#[case::chromium("Chromium", "", "", "")]
#[case::libreoffice(
    "LibreOffice",
    "",
    "echo hello > letter.txt; HOME=/tmp soffice --headless --convert-to odt letter.txt",
    "head -c 5 letter.pdf | grep -q '^%PDF-'; tail -n 1 letter.pdf | grep -q '^%%EOF'"
)]
#[case::slurm(
    "Slurm",
    include_str!("../programs/slurm.sh"),
    r#"printf '#!/bin/sh\necho $SLURM_JOB_NAME > done\n' > step; chmod 755 step"#,
    "grep -qx selfdock done"
)]
#[ignore = "`cargo xtask recipes` runs it"]
fn a_recipe_of_a_large_program_works(
    #[case] heading: &str,
    #[case] change: &str,
    #[case] before: &str,
    #[case] after: &str,
) {
    let root = std::env::var_os("SELFDOCK_RECIPES").expect("started by `cargo xtask recipes`");
    let reader = Reader::new();
    let dir = scratch();
    let (uid, gid) = (nix::unistd::getuid().to_string(), nix::unistd::getgid().to_string());
    let own = args!["unshare", "--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "bash", "-c"];
    let words = args![include_str!("../programs/recipes.sh"), root, dir.path(), uid, gid, change];
    let machine: Vec<_> =
        args![fixture("setuid/probe"), "as-root"].into_iter().chain(own).chain(words).collect();
    let mut part = part(RECIPES, heading);
    part.commands.push_str(after);
    reader.follows(&part, before, &machine);
}

#[test]
fn every_recipe_is_run() {
    let known = |part: &Part<'_>| SELF.contains(&format!("\"{}\",", part.heading));
    let recipes = parts(RECIPES);
    assert!(recipes.len() > 20);
    for part in recipes.iter().filter(|part| !part.commands.is_empty()) {
        assert!(known(part), "no test runs '{}'", part.heading);
    }
    for part in parts(README).iter().filter(|part| !part.commands.is_empty()) {
        assert!(NOT_RUN.contains(&part.heading) || known(part), "no test runs '{}' of README", part.heading);
    }
}

#[test]
fn three_dots_stand_for_anything() {
    assert!(
        is_like("a\nb\n", "a\nb\n") && is_like("a12b", "a…b") && is_like("ab", "a…b") && is_like("a1", "a…")
    );
    assert!(
        !is_like("a\nb\n", "a\n") && !is_like("a12", "a…b") && !is_like("a1b2", "a…b") && !is_like("", "a")
    );
    assert!(is_like("a1b2b", "a…b"));
}

#[test]
fn the_examples_are_where_a_reader_looks_for_them() {
    for (name, _) in EXAMPLES {
        assert!(RECIPES.contains(&format!("(../examples/{name})")), "{name}");
    }
}

#[test]
fn readme_names_each_recipe() {
    let titles = RECIPES.lines().filter_map(|line| line.strip_prefix("### "));
    for title in titles {
        let heading = title.to_lowercase().replace(' ', "-");
        assert!(README.contains(&format!("(docs/recipes.md#{heading})")), "{title}");
    }
}
