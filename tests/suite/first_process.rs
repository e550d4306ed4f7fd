use crate::support::{Dock, args, command_of, keeper_of, nested, selfdock, wait_until};
use rstest::rstest;

#[rstest]
#[case::set_uid(&[])]
#[case::unprivileged(&["--unprivileged"])]
#[case::build(&["build", "--root", "/"])]
fn the_command_has_the_pid_that_selfdock_has(#[case] options: &[&str]) {
    for script in ["exec \"$@\"", "exec \"$@\" \"$SELFDOCK\" run"] {
        let mut words: Vec<String> = options.iter().map(|word| (*word).to_owned()).collect();
        if !options.contains(&"build") {
            words.push("run".into());
        }
        let outer = Dock::program(args![
            "sh",
            "-c",
            format!("echo $$; {script} sh -c 'echo $$ $PPID'"),
            "sh",
            selfdock()
        ]);
        let seen = words.iter().fold(outer, |dock, word| dock.arg(word)).env("SELFDOCK", selfdock()).ok();
        let (outside, inside) = seen.split_once('\n').unwrap();
        assert_eq!(inside, format!("{outside} 0"));
    }
}

/// As in a container.
#[test]
fn where_selfdock_itself_is_pid_1_the_command_has_another() {
    let own = args!["unshare", "-Urpf", "--mount-proc", "--kill-child"];
    let seen = Dock::program(own.into_iter().chain(args![selfdock(), "run", "sh", "-c", "echo $$"])).ok();
    assert_eq!(seen, "2");
}

#[rstest]
fn no_zombie_stays(#[values(0, 1)] depth: usize) {
    let script = "(sleep 0 & exec true) ; (sh -c 'sleep 0.05 &') ; n=0; \
                  while ps -o stat= -A | grep -q Z && [ $n -lt 200 ]; do n=$((n + 1)); sleep 0.02; done; \
                  ps -o stat= -A | grep -c Z";
    assert_eq!(Dock::run(nested(depth, [])).sh(script).output().stdout, "0\n");
}

#[test]
fn the_rest_ends_with_the_command() {
    // `output` looks for processes that are left.
    Dock::run([])
        .sh("setsid sleep 1000 >/dev/null 2>&1 & sleep 1000 >/dev/null 2>&1 & exit 3")
        .output()
        .exits(3);
}

/// I5.
#[test]
fn a_killed_supervisor_takes_keeper_and_command_with_it() {
    let mut instance = Dock::run(args!["cat"]).spawn().that_repeats();
    let others = [keeper_of(instance.pid()), command_of(instance.pid())];
    instance.signal(nix::sys::signal::Signal::SIGKILL);
    instance.wait();
    wait_until("both are gone", || !others.iter().any(|pid| crate::support::is_alive(*pid)));
}
