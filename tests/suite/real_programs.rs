//! real-programs: A shell, a compiler, an interpreter and a version control system work as outside.

use crate::support::{Cmd, Terminal, args, fixture, scratch, selfdock};
use crate::terminal::{shell, stop_continue_and_interrupt};
use std::fs;

#[test]
fn a_c_program_compiles_and_runs() {
    let dir = scratch();
    fs::write(
        dir.path().join("main.c"),
        "#include <stdio.h>\nint main(void) { return puts(\"built\") < 0; }\n",
    )
    .unwrap();
    let run = Cmd::run(args!["--here"]).current_dir(dir.path());
    assert_eq!(run.sh("cc -O2 -o main main.c && ./main").ok(), "built");
    assert!(dir.path().join("main").exists());
}

#[test]
fn a_python_script_runs() {
    let dir = scratch();
    let script = "import os, tempfile, subprocess\n\
                  with tempfile.NamedTemporaryFile() as f: f.write(b'x')\n\
                  print(os.getuid(), subprocess.check_output(['echo', 'child']).decode(), end='')\n";
    fs::write(dir.path().join("script.py"), script).unwrap();
    let run = Cmd::run(args!["-H", "python3", "script.py"]).current_dir(dir.path());
    assert_eq!(run.ok(), format!("{} child", nix::unistd::getuid()));
}

#[test]
fn git_works_on_a_volume() {
    let dir = scratch();
    let script = "git init -q . && echo x > file && git add file \
                  && git -c user.name=n -c user.email=e commit -qm first \
                  && git log --oneline | wc -l && git status --short";
    let run = Cmd::run(args!["-v", dir.path(), "/mnt/repo", "-C", "/mnt/repo", "-e", "HOME=/tmp"]);
    assert_eq!(run.sh(script).ok(), "1");
    assert!(dir.path().join(".git/HEAD").exists());
}

#[test]
fn a_foreign_image_runs_its_own_programs() {
    let seen = Cmd::run(args!["--root", fixture("busybox")])
        .sh("cat /etc/image; busybox | head -n 1 | cut -c 1-7")
        .ok();
    assert_eq!(seen, "busybox\nBusyBox");
}

#[test]
fn an_interactive_shell_has_job_control() {
    let sd = selfdock().display().to_string();
    let mut terminal = Terminal::start(&[&sd, "run", "bash", "--norc", "--noprofile", "-i"]);
    terminal.expect("ready> ");
    terminal.send("echo parent-$PPID; tty\n");
    terminal.expect("parent-0\r\n");
    terminal.expect("ready> ");
    terminal.send("sleep 1000\n");
    terminal.expect("sleep 1000\r\n");
    terminal.press_until("\x1a", "Stopped");
    terminal.expect("ready> ");
    terminal.send("bg; jobs\n");
    terminal.expect("Running");
    terminal.expect("ready> ");
    terminal.send("fg\n");
    terminal.expect("sleep 1000");
    terminal.press_until("\x03", "ready> ");
    terminal.send("exit 3\n");
    assert_eq!(terminal.wait().code(), Some(3));
}

#[test]
fn an_instance_is_a_job_of_the_shell_outside() {
    let mut terminal = shell("bash");
    terminal.send("$SELFDOCK run sh -c 'echo up-$((6*7)); exec sleep 1000'\n");
    terminal.expect("up-42\r\n");
    stop_continue_and_interrupt(&mut terminal);
    terminal.send("echo status-$?; exit\n");
    terminal.expect("status-130\r\n");
}
