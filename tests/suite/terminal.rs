//! terminal: An instance shares the terminal as any job does, and cannot type into it.

use crate::support::{Terminal, on_a_host, selfdock, status_of};
use rstest::rstest;

/// A shell outside, on its own terminal.
pub fn shell(name: &str) -> Terminal {
    shell_with(name, "")
}

/// A shell outside, on its own terminal, with a Python program in `$PROGRAM`.
fn shell_with(name: &str, program: &str) -> Terminal {
    let words: &[&str] =
        if name == "bash" { &["bash", "--norc", "--noprofile", "-i"] } else { &["dash", "-i"] };
    let mut terminal = Terminal::start_with(words, &[("PROGRAM", program)]);
    terminal.expect("ready> ");
    terminal
}

/// What keys do to a `sleep 1000` in the foreground, until the shell is ready again.
pub fn stop_continue_and_interrupt(terminal: &mut Terminal) {
    terminal.press_until("\x1a", "Stopped");
    terminal.expect("ready> ");
    terminal.send("fg\n");
    terminal.expect("sleep 1000");
    terminal.press_until("\x03", "ready> ");
}

#[rstest]
fn control_keys_act_as_without_selfdock(
    #[values("bash", "dash")] name: &str,
    #[values("run", "run $SELFDOCK run")] words: &str,
) {
    let told = |start: &str| {
        let mut terminal = shell(name);
        // The command must have started before a key is pressed, since such a key discards earlier input.
        let start = format!("{start} sh -c 'echo up-$((6*7)); exec sleep 1000'\n");
        terminal.send(&start);
        terminal.expect("up-42\r\n");
        stop_continue_and_interrupt(&mut terminal);
        let interrupted = last_status(&mut terminal);
        terminal.expect("ready> ");
        terminal.send(&start);
        terminal.expect("up-42\r\n");
        terminal.press_until("\x1c", "ready> ");
        [interrupted, last_status(&mut terminal)]
    };
    assert_eq!(told(&format!("$SELFDOCK {words}")), told("env"));
}

/// `$?` of the shell.
fn last_status(terminal: &mut Terminal) -> String {
    // The terminal shows the typed text as well, which must not match.
    terminal.send("echo st''atus-$?\n");
    terminal.expect("status-");
    terminal.expect("\r\n")
}

#[rstest]
fn a_job_in_the_background_can_be_ended_by_the_shell(#[values("run", "run $SELFDOCK run")] words: &str) {
    let told = |start: &str| {
        let mut terminal = shell("bash");
        terminal.send(&format!("{start} sh -c 'echo up-$((6*7)); exec sleep 1000' &\n"));
        terminal.expect("up-42\r\n");
        terminal.send("kill %1; wait %1\n");
        last_status(&mut terminal)
    };
    assert_eq!(told(&format!("$SELFDOCK {words}")), told("env"));
}

#[rstest]
fn timeout_ends_it(#[values("run", "run $SELFDOCK run")] words: &str) {
    let told = |start: &str| {
        let mut terminal = shell("bash");
        terminal.send(&format!("timeout 0.5 {start} sleep 1000\n"));
        last_status(&mut terminal)
    };
    assert_eq!(told(&format!("$SELFDOCK {words}")), told("env"));
}

/// The process group of an interactive shell inside has its leader outside, so dash cannot give the terminal back to
/// it. README tells the way around this.
#[rstest]
fn an_interactive_shell_ends_as_without_selfdock(#[values("bash --norc", "dash +m")] inner: &str) {
    let told = |start: &str| {
        let mut terminal = shell("bash");
        terminal.send(&format!("{start} {inner}\n"));
        terminal.expect("ready> ");
        terminal.send("echo up-$((6*7)); exit 5\n");
        terminal.expect("up-42\r\n");
        last_status(&mut terminal)
    };
    assert_eq!(told("$SELFDOCK run"), told("env"));
}

/// With a deadline selfdock does not stop, so the terminal stays with a stopped command.
#[rstest]
fn a_command_that_was_stopped_before_its_deadline_can_be_interrupted(
    #[values("run", "--unprivileged run", "run $SELFDOCK run", "run $SELFDOCK --timeout 1000 run")]
    words: &str,
    #[values("UP; exec sleep 1000", "(UP; exec sleep 1000); echo end", "sleep 1000 | (UP; exec cat)")] script: &str,
) {
    let mut terminal = shell("bash");
    terminal.send(&format!(
        "$SELFDOCK --timeout 1000 {words} sh -c '{}'\n",
        script.replace("UP", "echo up-$((6*7))")
    ));
    terminal.expect("up-42\r\n");
    terminal.send("\x1a");
    terminal.wait_for_a_stop();
    terminal.press_until("\x03", "ready> ");
    assert_eq!(last_status(&mut terminal), "130\r\n");
}

#[rstest]
fn a_signal_of_the_terminal_arrives_once(#[values("run", "run $SELFDOCK run")] words: &str) {
    let count = |start: &str| {
        let mut terminal = shell_with("bash", include_str!("../programs/count_interrupts.py"));
        terminal.send(&format!("{start} python3 -c \"$PROGRAM\"\n"));
        terminal.expect("ready\r\n");
        terminal.send("\x03");
        terminal.expect("count-");
        terminal.expect("\r\n")
    };
    assert_eq!(count(&format!("$SELFDOCK {words}")), count("env"));
}

#[test]
fn a_resize_reaches_the_command() {
    let mut terminal = shell("bash");
    let script = "trap \"echo resi''zed; exit\" WINCH; echo up-$((6*7)); while :; do sleep 0.01; done";
    terminal.send(&format!("$SELFDOCK run sh -c '{script}'\n"));
    terminal.expect("up-42");
    terminal.resize(40, 100);
    terminal.expect("resized");
}

/// Each change is a signal to the supervisor, which must ask the keeper whether the command has got it.
#[test]
fn a_terminal_that_changes_its_size_for_ever_costs_the_supervisor_no_memory() {
    let mut terminal = shell_with("bash", include_str!("../programs/resize_terminal.py"));
    terminal.send("$SELFDOCK run python3 -c \"$PROGRAM\"\n");
    terminal.expect("pid-");
    let pid = terminal.expect("\r\n").trim().to_owned();
    let memory = || status_of(&pid, &["VmRSS"]).split(' ').nth(1).unwrap().parse::<u64>().unwrap();
    let before = memory();
    terminal.send("\n");
    terminal.expect("done");
    let after = memory();
    assert!(after < before + 512, "{before} kB before, {after} kB after");
    terminal.send("\n");
}

#[rstest]
fn a_closed_terminal_ends_the_instance(#[values("run", "run $SELFDOCK run")] words: &str) {
    let mut terminal = shell("bash");
    terminal.send(&format!("$SELFDOCK {words} sh -c 'echo up-$((6*7)); exec sleep 1000'\n"));
    terminal.expect("up-42\r\n");
    terminal.close_and_leave_nothing();
}

/// Puts a key into the input of the terminal (TIOCSTI).
const TYPE: &str = include_str!("../programs/type_into_terminal.py");

/// I7: terminal.
#[rstest]
fn nothing_can_be_typed_into_the_terminal(
    #[values("0x5412", "0x5412 | 1 << 32", "0x5412 | 1 << 63", "0x541c", "0x541c | 1 << 40")] request: &str,
    #[values("run", "run --unprivileged", "run $SELFDOCK run")] words: &str,
) {
    let mut terminal = shell_with("bash", TYPE);
    terminal.send(&format!("$SELFDOCK {words} python3 -c \"$PROGRAM\" '{request}'\n"));
    terminal.expect("answer -1 ");
    assert_eq!(terminal.expect("\r\n"), "EPERM\r\n");
}

/// I7: terminal.
#[test]
fn a_joiner_cannot_type_into_the_terminal() {
    let mut terminal = shell_with("bash", TYPE);
    terminal.send("$SELFDOCK run sleep 1000 & sleep 0.2\n");
    terminal.expect("ready> ");
    terminal.send("$SELFDOCK enter $! python3 -c \"$PROGRAM\" 0x5412\n");
    terminal.expect("answer -1 EPERM");
    terminal.send("kill %1\n");
}

#[test]
fn programs_that_draw_on_the_screen_work() {
    let mut terminal = shell("bash");
    terminal.send("TERM=xterm $SELFDOCK run less /etc/os-release\n");
    terminal.expect("NAME=");
    terminal.press_until("q", "ready> ");
}

#[rstest]
fn programs_find_the_name_of_their_terminal(
    #[values("run", "run $SELFDOCK run", "--unprivileged run", "--root / run", "-m /usr /new/ly run")] words: &str,
) {
    let mut terminal = shell("bash");
    terminal.send(&format!("$SELFDOCK {words} sh -c 'tty; echo also-$((6*7)) > /dev/console'\n"));
    terminal.expect("/dev/console\r\n");
    terminal.expect("also-42");
    // Other standard inputs are not terminals.
    terminal.send(&format!(
        "$SELFDOCK {words} sh -c 'tty; test -c /dev/console || echo none-$((6*7))' < /dev/null\n"
    ));
    terminal.expect("not a tty");
    terminal.expect("none-42");
}

#[rstest]
fn a_start_in_the_root_directory_is_told_on_a_terminal(
    #[values("run", "--unprivileged run", "--root / run", "run $SELFDOCK run")] words: &str,
) {
    let told = |terminal: &mut Terminal, line: &str| {
        terminal.send(&format!("{line}; echo status-$?-$((6*7))\n"));
        terminal.expect("status-0-42\r\n").matches("selfdock: starts in '/'").count()
    };
    let mut terminal = shell("bash");
    terminal.send("cd /tmp\n");
    assert_eq!(told(&mut terminal, &format!("$SELFDOCK {words} true")), 1);
    // Others may not read it.
    assert_eq!(told(&mut terminal, &format!("$SELFDOCK {words} true < /dev/null")), 0);
    assert_eq!(told(&mut terminal, &format!("$SELFDOCK {words} true 2>&1 | cat")), 0);
    assert_eq!(told(&mut terminal, &format!("$SELFDOCK -C / {words} true")), 0);
    assert_eq!(told(&mut terminal, "$SELFDOCK -H run true"), 0);
    assert_eq!(told(&mut terminal, "seq 5 | $SELFDOCK each true"), 0);
    for shown in ["/", "/usr/bin"] {
        terminal.send(&format!("cd {shown}\n"));
        assert_eq!(told(&mut terminal, &format!("$SELFDOCK {words} true")), 0);
    }
}

/// With `tostop` a terminal stops a job in the background that writes to it.
#[rstest]
fn what_is_told_on_a_terminal_stops_no_job(
    #[values("run", "--timeout 20 run", "run $SELFDOCK run")] words: &str,
) {
    let mut terminal = shell("bash");
    terminal.send("cd /tmp; stty tostop; set -m\n");
    terminal.send(&format!("$SELFDOCK {words} true & wait $!; echo status-$?-$((6*7))\n"));
    assert!(terminal.expect("-42\r\n").ends_with("status-0-42\r\n"));
}

/// A session without a terminal would get the first one that selfdock opens in it.
#[test]
fn no_file_of_names_becomes_the_terminal_of_a_command() {
    let changes = "mkdir -p srv/img; (cd srv/img; mkdir -p .$PREFIX etc inner proc dev tmp usr opt
                   for name in bin lib lib64; do ln -s usr/$name $name; done)
                   mkdir -p srv/outer; cp -a srv/img/. srv/outer; ln -s /dev/pts/0 srv/outer/etc/passwd";
    let program = "import os, subprocess, sys; terminal = os.ttyname(os.openpty()[1])
assert os.path.samefile('/etc/passwd', terminal), terminal
inner = '--new-session --root /inner -m /usr /usr run cut -f7'.split() + ['-d ', '/proc/self/stat']
sys.exit(subprocess.call([os.environ['SELFDOCK'], *inner], stdin=subprocess.DEVNULL))";
    let script = "me $SD --root /srv/outer -m /usr /usr -m $PREFIX $PREFIX -m /srv/img /inner \
                      run python3 -c \"$PROGRAM\"";
    let ran = on_a_host(changes, script).env("PROGRAM", program).env("SELFDOCK", selfdock()).output();
    assert_eq!(ran.stdout, "0\n", "{}", ran.stderr);
}
