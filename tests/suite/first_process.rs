use crate::support::{Dock, args, children, wait_until};
use rstest::rstest;

#[test]
fn with_init_the_command_is_the_second() {
    assert_eq!(Dock::run(args!["--init"]).sh("echo $$ $PPID").ok(), "2 1");
    assert_eq!(Dock::run([]).sh("echo $$ $PPID").ok(), "1 0");
}

#[test]
fn with_init_no_zombie_stays() {
    let script = "(sleep 0 & exec true) ; (sh -c 'sleep 0.05 &') ; n=0; \
                  while ps -o stat= -A | grep -q Z && [ $n -lt 200 ]; do n=$((n + 1)); sleep 0.02; done; \
                  ps -o stat= -A | grep -c Z";
    assert_eq!(Dock::run(args!["--init"]).sh(script).output().stdout, "0\n");
}

#[rstest]
fn the_status_passes_through_init(#[values(0, 1, 77, 143, 255)] code: i32) {
    Dock::run(args!["--init"]).sh(format!("exit {code}")).output().exits(code);
}

#[rstest]
fn a_signal_of_its_own_ends_the_command_under_init(#[values(1, 2, 6, 9, 10, 11, 15)] signal: i32) {
    Dock::run(args!["--init"]).sh(format!("kill -{signal} $$; sleep 5")).output().dies_by(signal);
}

#[test]
fn a_command_that_cannot_start_says_so_under_init() {
    let ran = Dock::run(args!["--init", "nowhere"]).output().exits(127);
    assert!(ran.stderr.contains("nowhere"));
    Dock::run(args!["--init", "/etc/passwd"]).output().exits(126);
}

#[test]
fn the_rest_ends_with_the_command_under_init() {
    // `output` looks for processes that are left.
    Dock::run(args!["--init"])
        .sh("setsid sleep 1000 >/dev/null 2>&1 & sleep 1000 >/dev/null 2>&1 & exit 3")
        .output()
        .exits(3);
}

/// I5.
#[test]
fn a_killed_supervisor_takes_init_with_it() {
    let mut instance = Dock::run(args!["--init", "cat"]).spawn().that_repeats();
    let init = children(instance.pid())[0];
    instance.signal(nix::sys::signal::Signal::SIGKILL);
    instance.wait();
    wait_until("init is gone", || !crate::support::is_alive(init));
}
