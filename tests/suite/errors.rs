//! errors: A refusal is one printable line that names operation, object and reason.

use crate::support::{Cmd, args, fixture, on_a_host, scratch, selfdock};
use rstest::rstest;

#[rstest]
#[case::unknown_option(&["run", "--no-such-option"], "--no-such-option")]
#[case::unknown_short_option(&["run", "-Z"], "-Z")]
#[case::unknown_word(&["walk"], "walk")]
#[case::no_word(&[], "no command given")]
#[case::missing_value(&["run", "-v", "/etc"], "--vol: needs SRC DST")]
#[case::missing_values(&["run", "--root"], "--root")]
#[case::value_for_a_flag(&["run", "--here=yes"], "--here")]
#[case::absent_root(&["run", "--root", "/no/such/root", "true"], "'/no/such/root'")]
#[case::root_is_a_file(&["run", "--root", "/etc/passwd", "true"], "'/etc/passwd'")]
fn a_wrong_command_line_names_what_is_wrong(#[case] words: &[&str], #[case] object: &str) {
    Cmd::new(words.iter().map(Into::into)).refused(object);
}

const ISOLATES_TIME: &str = "option --tmpfs '1.5': not options like size=1G; for a limit of time write --rlimit \
                             cpu=N, or --timeout 1.5";

/// Options of other programs are answered with selfdock's own.
#[rstest]
#[case::docker(&["run", "--rm", "sh"], "option --rm: unknown; not needed: nothing is left of an instance")]
#[case::docker_terminal(&["run", "-it", "sh"], "option -it: unknown; not needed: a command always has your")]
#[case::docker_daemon(&["run", "-d", "sh"], "selfdock has no daemon")]
#[case::docker_ports(&["run", "-p", "80:80", "sh"], "its ports are the host's")]
#[case::docker_exec(&["exec", "1", "sh"], "selfdock enter PID CMD")]
#[case::docker_kill(&["kill", "x"], "use 'kill PID'")]
#[case::docker_logs(&["logs", "x"], "selfdock keeps no output")]
#[case::docker_all(&["ps", "-a"], "'selfdock ps' lists all instances")]
#[case::docker_copy(&["cp", "a", "b:/c"], "use '-v DIR DIR'")]
#[case::docker_stats(&["stats"], "use 'selfdock ps --watch'")]
#[case::docker_diff(&["diff", "x"], "'selfdock changes DIR' lists them")]
#[case::docker_info(&["info"], "use 'selfdock doctor'")]
#[case::docker_processes(&["run", "--pid=host", "sh"], "option --pid: unknown; an instance always has its own")]
#[case::docker_privilege(&["run", "--privileged", "sh"], "by '--fake-root' it is root for itself")]
#[case::docker_all_ports(&["run", "-P", "sh"], "the ports are the host's")]
#[case::docker_memory(&["run", "-m", "512m", "true"], "as DST: not an absolute path; for a limit of memory")]
#[case::docker_volumes_of_another(&["run", "--volumes-from", "x", "sh"], "name the volumes again")]
#[case::no_time(&["run", "--timeout", "0", "true"], "more than 0")]
#[case::too_much_time(&["run", "--timeout", "99999999999", "true"], "of more than 0 and at most 366d")]
#[case::no_memory(&["run", "--memory", "0", "true"], "more than 0")]
#[case::no_processors(&["run", "--cpus", "0", "true"], "more than 0")]
#[case::bubblewrap(&["run", "--ro-bind", "/usr", "/mnt", "sh"], "use '-m SRC DST'")]
#[case::bubblewrap_root(&["--ro-bind", "/", "/", "run", "sh"], "not needed for '/ /': the host's root is shown")]
#[case::the_root_as_a_destination(
    &["run", "-m", "/", "/", "sh"],
    "the root directory cannot be a destination; the host's root is shown read-only anyway, without homes; --root DIR"
)]
#[case::bubblewrap_with_a_value(&["run", "--setenv=A", "b", "sh"], "use '-e NAME VALUE'")]
#[case::bubblewrap_network(&["--unshare-all", "run", "sh"], "--net none")]
#[case::without_network(&["run", "--no-net", "sh"], "option --no-net: unknown; use '--net none'")]
#[case::without_a_network(&["run", "--no-network", "sh"], "use '--net none'")]
#[case::nonet(&["run", "--nonet", "sh"], "use '--net none'")]
#[case::offline(&["run", "--offline", "sh"], "use '--net none'")]
#[case::firejail(&["run", "--private=/tmp", "sh"], "an instance has no home by default")]
#[case::bubblewrap_bind(&["run", "--bind", "/etc", "/no/such", "ls"], "the option takes one PATH; for SRC DST use -v")]
#[case::bubblewrap_bind_on_a_directory(&["run", "--bind", "/etc", "/opt", "ls"], "'/opt' is a directory, not CMD")]
#[case::firejail_copy(&["run", "--overlay-tmpfs", "sh"], "use '-o / /'")]
#[case::firejail_files(&["run", "--private-etc=x", "sh"], "'--mask PATH' hides a part")]
#[case::firejail_trace(&["run", "--trace", "ls"], "use 'selfdock run strace CMD'")]
#[case::firejail_shell(&["shell"], "use 'selfdock run', which starts your shell")]
#[case::isolate_input(&["run", "--stdin=x", "sh"], "write '<FILE'")]
#[case::isolate_stack(&["run", "--stack=1", "sh"], "use '--rlimit stack=SIZE'")]
#[case::isolate_files(&["run", "--open-files=9", "sh"], "use '--rlimit nofile=N'")]
#[case::an_option_as_a_destination(&["run", "--overlay=/etc", "--changes", "x"], "took '--changes' as DST")]
#[case::another_as_a_destination(&["run", "-v", "/etc", "--", "ls"], "'--' as DST: not an absolute path; write --vol")]
#[case::firejail_list(&["--list"], "selfdock ps")]
#[case::isolate(&["run", "--cg-mem=65536", "sh"], "use '--memory SIZE'")]
#[case::isolate_meta(&["run", "--meta=file", "sh"], "use '--report FILE'")]
#[case::isolate_directory(&["run", "--dir=/box=/srv:rw", "sh"], "option --dir: unknown; for IN=OUT use '-m OUT IN'")]
#[case::isolate_directory_in_short(&["run", "-d", "box=/srv", "sh"], "option -d: unknown; for IN=OUT use '-m OUT IN'")]
#[case::bubblewrap_directory(&["run", "--dir", "/box", "sh"], "mount points are made automatically")]
#[case::isolate_wall_time(&["run", "-w", "2.5", "sh"], "option -w: unknown; use '--timeout TIME[,GRACE]'")]
#[case::docker_directory(&["run", "-w", "/srv", "sh"], "option -w: unknown; use '-C DIR'")]
#[case::isolate_processes(&["run", "-p8", "sh"], "option -p: unknown; for a number of processes use '--pids N'")]
#[case::isolate_extra_time(&["run", "-x", "1", "sh"], "use '--timeout TIME[,GRACE]'")]
#[case::isolate_stack_in_short(&["run", "-k", "65536", "sh"], "use '--rlimit stack=SIZE'")]
#[case::isolate_file_size(&["run", "-f", "1024", "sh"], "use '--rlimit fsize=SIZE'")]
#[case::isolate_quota(&["run", "-q", "1,1", "sh"], "use '-t size=SIZE,nr_inodes=N DST'")]
#[case::isolate_start(&["run", "-c", "/srv", "sh"], "use '-C DIR'")]
#[case::a_line_of_a_shell(&["run", "-c", "echo a"], "'selfdock run sh -c LINE' for a line of shell")]
#[case::firejail_debug(&["run", "--debug", "ls"], "option --debug: unknown; use '--explain=all'")]
#[case::docker_tty(&["run", "-t", "-i", "sh"], "'-i': not options like size=1G; a command always has your standard")]
#[case::docker_tmpfs(&["run", "--tmpfs", "/x", "ls"], "--tmpfs '/x': the options stand before DST; write")]
#[case::docker_tmpfs_of_a_size(&["run", "--tmpfs", "/x:size=10M", "/bin/true"], "write --tmpfs size=10M /x")]
#[case::docker_tmpfs_before_run(&["--tmpfs=/x", "run", "true"], "write --tmpfs - /x")]
#[case::docker_build(&["build", "touch", "/foo"], "name one with --root DIR; 'run -o / /' has a writable copy")]
#[case::isolate_input_in_short(&["run", "-i", "in", "sh"], "for that of a FILE write '<FILE'")]
#[case::isolate_groups(&["run", "--cg-timing", "sh"], "counts the time of all processes")]
#[case::isolate_silent(&["run", "-s", "sh"], "selfdock prints only errors")]
#[case::isolate_user(&["run", "--as-uid=1", "sh"], "a command always has your user")]
#[case::isolate_time(&["run", "-t", "1.5", "-w", "3", "--run", "--", "sh"], ISOLATES_TIME)]
#[case::isolate_time_of_a_command(&["run", "-t1.5", "/bin/true"], ISOLATES_TIME)]
#[case::isolate_memory(
    &["-m", "262144", "-b", "0", "--run", "--", "./prog"],
    "option --map '262144': no such file; for a limit of memory write --memory 262144K"
)]
#[case::isolate_memory_of_a_command(&["run", "-m262144", "./prog"], "write --memory 262144K")]
#[case::docker_memory_in_bytes(&["run", "-m", "536870912", "sh"], "write --memory 536870912")]
#[case::isolate_box(&["-b", "0", "--run", "--", "./prog"], "option --bind '0': no such file; selfdock has no numbered")]
#[case::isolate_open_files(
    &["run", "-n", "64", "sh"],
    "option --net '64': not 'none', 'host' or 'user'; for a limit of open files write --rlimit nofile=64"
)]
#[case::isolate_output(
    &["-o", "out", "--run", "--", "./prog"],
    "option --overlay 'out': not a directory; for a file of output write >out"
)]
#[case::isolate_variable(
    &["run", "-E", "HOME=/box", "sh"],
    "option --unset-env 'HOME=/box': not a name; to set a variable write -e HOME=/box"
)]
#[case::xargs(&["each", "-P", "4", "sh"], "-j N")]
#[case::xargs_of_one(&["each", "-n1", "true"], "--net '1': not 'none', 'host' or 'user'; each line is one command")]
#[case::xargs_of_one_line(&["each", "-L1", "true"], "option -L: unknown; each line is one command")]
#[case::docker_quiet(&["ps", "-q"], "option -q: unknown; use 'selfdock ps --json'")]
#[case::xargs_of_a_file(&["each", "-a", "list", "echo"], "the list is standard input: selfdock each CMD < FILE")]
#[case::xargs_of_a_long_file(&["each", "--arg-file=list", "echo"], "option --arg-file: unknown; the list is standard")]
#[case::xargs_with_a_delimiter(&["each", "-d,", "echo"], "-d: unknown; lines end in newline, or in NUL with '-0'")]
#[case::parallel_in_order(&["each", "-k", "echo"], "option -k: unknown; use '--group'")]
#[case::nearly_an_option(&["run", "--hotsname", "x", "sh"], "did you mean --hostname?")]
#[case::nearly_a_command(&["docotr"], "did you mean 'doctor'?")]
#[case::a_program(&["ls"], "selfdock run ls")]
#[case::one_value(&["run", "-v", "/etc"], "needs SRC DST; DST is missing")]
#[case::no_value(&["run", "-v"], "needs SRC DST")]
#[case::a_named_volume(&["run", "-v", "data:/data", "sh"], "selfdock has no named volumes")]
#[case::a_relative_volume(&["run", "-v", ".:w", "ls"], "option --vol '.:w': DST is not an absolute path; write .:/w")]
#[case::a_relative_map_with_words(&["run", "-m", "/etc:w", "ls", "-l"], "--map '/etc:w': DST is not an absolute path")]
#[case::a_relative_copy(&["run", "-o", "/etc:w", "ls"], "option --overlay '/etc:w': DST is not an absolute path")]
#[case::a_mode_of_volumes(&["run", "-v", "/etc:/mnt:nocopy", "sh"], "neither SRC:DST nor SRC:DST:ro")]
#[case::a_mode_after_a_word(
    &["run", "-v", "/etc", "/mnt/x:ro", "true"],
    "option --vol: took '/mnt/x:ro' as DST: a mode stands only in the form SRC:DST:ro; for read-only write -m /etc /mn"
)]
#[case::a_mode_in_a_list(&["run", "--vol", "/etc", "/mnt/x:ro,z", "true"], "write -m /etc /mnt/x")]
#[case::a_mode_that_comes_second(&["run", "--unprivileged", "-v/etc", "/mnt/x:z,ro", "true"], "write -m /etc /mnt/x")]
#[case::a_mode_of_a_map(&["run", "-m", "/etc", "/mnt/x:ro", "true"], "option --map: took '/mnt/x:ro' as DST")]
#[case::a_mode_of_a_copied_word(&["run", "-o", "/etc", "/mnt/x:ro", "true"], "option --overlay: took '/mnt/x:ro'")]
#[case::a_mode_in_a_batch(&["each", "-v", "/etc", "/mnt/x:ro", "true"], "option --vol: took '/mnt/x:ro' as DST")]
#[case::a_mode_of_copies(&["run", "-o", "/etc:/mnt:ro", "sh"], "a copy is writable; -m SRC DST is read-only")]
#[case::changes_of_several_at_once(&["each", "-j", "2", "-o", "/etc", "/mnt", "--changes", "x", "true"], "use -j 1")]
#[case::a_command_that_was_swallowed(&["run", "-e", "NAME", "sh"], "took 'sh' as VALUE")]
#[case::a_run_that_was_swallowed(
    &["-e", "NAME", "run", "true"],
    "option --env: took 'run' as VALUE: no command is left; write -e NAME=VALUE as one word"
)]
#[case::a_run_without_a_command_that_was(&["-e", "NAME", "run"], "option --env: took 'run' as VALUE")]
#[case::a_run_that_became_a_directory(
    &["-C", "run", "make"],
    "option --chdir: took 'run': no command is left; write --chdir DIR run"
)]
#[case::a_run_that_became_a_destination(&["-v", "/etc", "run", "sh"], "--vol: took 'run': no command is left")]
#[case::a_run_that_became_a_source(
    &["-v", "run", "true"],
    "option --vol: took 'run' and 'true': no command is left; write --vol SRC DST run"
)]
#[case::a_run_that_became_options(&["-t", "run", "true", "x"], "option --tmpfs: took 'run' and 'true'")]
#[case::a_run_that_became_a_name(
    &["-e", "run", "true"],
    "option --env: took 'run' and 'true': no command is left; write -e NAME=VALUE as one word"
)]
#[case::a_run_that_stands_too_late(
    &["--", "run", "true"],
    "no command given: 'run' stands after --; write selfdock run -- true"
)]
#[case::a_command_that_stands_too_early(&["-H", "--", "ls", "-l"], "'ls' stands after --; write selfdock run -- ls")]
#[case::a_filter_of_firejail(
    &["run", "--seccomp", "true"],
    "read the filter 'true': no such file or directory (ENOENT); if that is CMD, write --seccomp default CMD"
)]
#[case::a_filter_of_firejail_before_words(&["run", "--seccomp", "true", "x"], "if that is CMD, write --seccomp")]
#[case::a_filter_of_firejail_before_options(
    &["run", "--seccomp", "ls", "-l"],
    "option --seccomp: took 'ls' as FILE: no such file; write --seccomp default CMD"
)]
#[case::a_command_that_became_a_name(&["run", "--pass", "sh"], "took 'sh' as NAME")]
#[case::a_command_that_became_another_name(
    &["run", "-E", "sh"],
    "option --unset-env: took 'sh' as NAME: no CMD is left; write --unset-env NAME CMD"
)]
#[case::a_command_that_became_a_volume(&["run", "-b", "ls"], "option --bind: took 'ls' as its value: no CMD is left")]
#[case::a_command_that_became_a_volume_if_it_exists(
    &["build", "--root", "/", "--bind-if-exists", "ls"],
    "option --bind-if-exists: took 'ls' as its value: no CMD is left"
)]
#[case::a_command_that_became_changes(&["run", "-o", "/", "/", "--changes", "ls"], "--changes: took 'ls' as its value")]
#[case::a_command_that_became_a_mask(&["run", "--mask-if-exists", "ls"], "write --mask-if-exists PATH CMD")]
#[case::nothing_for_changes(&["run", "-o", "/", "/", "--changes", "", "true"], "option --changes: the path is empty")]
#[case::nothing_for_changes_of_a_batch(&["each", "--changes=", "true"], "option --changes: the path is empty")]
#[case::no_changes_to_list(&["changes", ""], "read the changes in '': the path is empty")]
#[case::nothing_to_pass(&["run", "--pass", "", "true"], "variable '': not a name")]
#[case::a_value_to_pass(&["run", "--pass=A=b", "true"], "variable 'A=b': not a name")]
#[case::nothing_to_mask(&["run", "--mask", "", "true"], "mask '': not an absolute path")]
#[case::a_home_of_the_shell(
    &["run", "--home=~/x", "sh"],
    "option --home '~/x': the shell replaces ~ only at the start of a word; write --home=\"$HOME\"/x"
)]
#[case::a_home_without_a_name(&["run", "--home=", "sh"], "option --home: DIR is empty; write --home for an empty home")]
#[case::a_home_that_is_a_file(
    &["run", "--home=/etc/passwd", "sh"],
    "option --home: use '/etc/passwd' as the home: not a directory (ENOTDIR)"
)]
#[case::a_root_of_the_shell(&["run", "--root=~/debian", "sh"], "write --root=\"$HOME\"/debian")]
#[case::a_volume_of_the_shell(&["run", "--vol=~", "/mnt", "sh"], "write --vol=\"$HOME\"")]
#[case::a_start_of_the_shell(&["run", "-C~/x", "sh"], "write --chdir=\"$HOME\"/x")]
#[case::a_report_that_is_only_required(
    &["run", "--report-required", "true"],
    "option --report-required: there is no --report; add --report FILE"
)]
#[case::a_report_of_a_batch(&["each", "--report-required", "true"], "there is no --report")]
#[case::a_report_that_is_not_there_to_enter(&["enter", "--report-required", "1"], "there is no --report")]
#[case::a_command_that_became_a_destination(
    &["run", "-v", "/etc", "ls"],
    "option --vol: took 'ls' as DST: not an absolute path; write --vol SRC DST CMD"
)]
#[case::a_command_with_arguments_that_did(&["run", "-t", "size=1M", "ls", "/"], "--tmpfs: took 'ls' as DST")]
#[case::a_socket_of_the_host(
    &["run", "-v", "/dev/log", "/dev/log", "true"],
    "/proc and /dev are the instance's own; --dev PATH shows a device or a socket of /dev"
)]
#[case::here_in_the_root_directory(&["run", "--here", "true"], "--here binds the current directory")]
#[case::an_option_of_a_batch(&["run", "-j", "4", "true"], "--jobs: not for this command; it belongs to 'each'")]
#[case::an_option_of_a_list(&["doctor", "--json"], "--json: not for this command; it belongs to 'ps'")]
#[case::an_option_of_run(&["enter", "-H", "1"], "--here: not for this command; see 'selfdock help enter'")]
#[case::help_for_no_option(&["help", "--rm"], "option --rm: unknown; not needed")]
#[case::help_for_nothing(&["help", "walk"], "command 'walk': unknown")]
fn a_mistake_is_answered_with_a_hint(#[case] words: &[&str], #[case] advice: &str) {
    Cmd::new(words.iter().map(Into::into)).refused(advice);
}

const NO_IMAGES: &str =
    "; selfdock has no images: write CMD alone, with --root DIR for a root filesystem of yours\n";

/// A word that was the whole command of another program.
#[rstest]
#[case::a_line_of_shell("ls -l /", "; for a line of shell write sh -c 'ls -l /'\n")]
#[case::a_pipe("ls | wc", "; for a line of shell write sh -c 'ls | wc'\n")]
#[case::a_line_with_quotes("echo 'a b'", "; for a line of shell write sh -c LINE\n")]
#[case::a_variable("FOO=1", "; to set a variable write -e FOO=1\n")]
#[case::an_image("ubuntu", NO_IMAGES)]
#[case::an_image_with_a_tag("me/tool:1.2", NO_IMAGES)]
#[case::an_image_of_a_registry("docker.io/library/busybox", NO_IMAGES)]
#[case::an_image_with_a_digest("tool@sha256:0a1b", NO_IMAGES)]
#[case::no_image("me@host", "; no directory of PATH in the instance has it\n")]
#[case::no_profile("@", "; no directory of PATH in the instance has it\n")]
#[case::no_tag("x:", "; no directory of PATH in the instance has it\n")]
#[case::no_variable("1=1", "; no directory of PATH in the instance has it\n")]
fn a_missing_program_that_is_a_line_is_answered_with_a_hint(
    #[case] word: &str,
    #[case] advice: &str,
    #[values("run", "-o / / run", "--unprivileged run", "each")] how: &str,
) {
    let ran = Cmd::new(how.split(' ').map(Into::into)).arg(word).arg("env").stdin("1\n").output().exits(127);
    assert!(ran.stderr.ends_with(advice), "{}", ran.stderr);
}

/// What a word names is meant so.
#[test]
fn a_program_whose_name_has_a_space_is_no_line_of_shell() {
    let dir = scratch();
    let program = dir.path().join("a b=c");
    std::fs::copy("/bin/true", &program).unwrap();
    let ran = Cmd::run(args![&program]).env("HOME", dir.path()).output().exits(127);
    assert!(ran.stderr.contains("exists only outside; add it with -m"), "{}", ran.stderr);
    Cmd::run(args!["-b", dir.path(), &program]).ok();
}

/// The report would replace the program, and a shell would start in its place.
#[rstest]
fn a_report_does_not_replace_a_program(
    #[values("", "--unprivileged", "-e A=1", "-o / /")] options: &str,
    #[values("./tool", "tool", "ls")] file: &str,
) {
    let dir = scratch();
    let script = "printf '#!/bin/sh\n' > tool; chmod 755 tool; exec \"$@\"";
    let words = options.split_whitespace().chain(["-H", "run", "--report", file]).map(Into::into);
    let words = args!["sh", "-c", script, "sh", selfdock()].into_iter().chain(words);
    let refused =
        format!("option --report: took '{file}' as its value: no CMD is left; write --report FILE|FD CMD");
    Cmd::program(words).current_dir(dir.path()).refused(&refused);
    assert_eq!(std::fs::read_to_string(dir.path().join("tool")).unwrap(), "#!/bin/sh\n");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// A descriptor is no program, whatever the file of its name is. A value in the same word is no CMD.
#[rstest]
#[case::a_descriptor("--report 5", "5")]
#[case::a_descriptor_by_its_path("--report /dev/fd/5", "5")]
#[case::one_word("--report=tool", "tool")]
fn a_report_for_a_shell_is_taken_as_it_is(#[case] option: &str, #[case] file: &str) {
    let dir = scratch();
    let script = format!("touch 5 tool; chmod 755 5 tool; exec $SELFDOCK --no-secrets -H run {option} 5>>5");
    let run = Cmd::program(args!["sh", "-c", script]).env("SELFDOCK", selfdock()).env("SHELL", "/bin/sh");
    run.current_dir(dir.path()).stdin("exit 3\n").output().exits(3);
    assert!(std::fs::read_to_string(dir.path().join(file)).unwrap().starts_with('{'));
}

/// The last word can be a file for a shell.
#[test]
fn a_file_for_a_shell_is_taken_as_it_is() {
    let dir = scratch();
    let run = |words: &[&str]| {
        let cmd = Cmd::run(words.iter().map(Into::into)).env("SHELL", "/bin/sh");
        cmd.current_dir(dir.path()).stdin("echo $((6 * 7))").ok()
    };
    assert_eq!(run(&["--report", "./ls"]), "42");
    assert!(dir.path().join("ls").exists());
    for words in
        [&["--report", "ls"][..], &["--report=ls"], &["--report", "used.json"], &["-b", "ls"], &["-b", "."]]
    {
        assert_eq!(run(words), "42", "{words:?}");
    }
}

/// A number can be the name of a file.
#[test]
fn a_number_that_is_a_name_is_taken_as_it_is() {
    let dir = scratch();
    std::fs::write(dir.path().join("65536"), "1").unwrap();
    let cmd = Cmd::run(args!["-m", "65536", "/mnt/x", "-b", "65536", "cat", "/mnt/x"]);
    assert_eq!(cmd.current_dir(dir.path()).ok(), "1");
}

/// A name that begins with `~` can be meant.
#[test]
fn a_tilde_that_is_a_name_is_taken_as_it_is() {
    let dir = scratch();
    std::fs::create_dir(dir.path().join("~")).unwrap();
    std::fs::write(dir.path().join("~/x"), "1").unwrap();
    for words in [&args!["-m", "~/x", "/mnt/x"][..], &args!["--map=~/x", "/mnt/x"]] {
        let cmd = Cmd::run(words.iter().cloned().chain(args!["cat", "/mnt/x"]));
        assert_eq!(cmd.current_dir(dir.path()).ok(), "1");
    }
    let words = args!["--map=~/x:/mnt/x", "--report=~/new", "cat", "/mnt/x"];
    assert_eq!(Cmd::run(words).current_dir(dir.path()).ok(), "1");
    Cmd::run(args!["--report=~r", "true"]).current_dir(dir.path()).ok();
    assert!(dir.path().join("~r").exists() && dir.path().join("~/new").exists());
}

#[test]
fn a_variable_can_be_removed_for_a_shell() {
    let cmd = Cmd::run(args!["-E", "GONE"]).env("GONE", "1").env("SHELL", "/bin/sh");
    assert_eq!(cmd.stdin("echo ${GONE-is gone}").ok(), "is gone");
}

#[test]
fn a_message_says_which_of_two_paths_is_wrong() {
    Cmd::run(args!["-v", "/no/such", "/mnt", "true"]).refused("open '/no/such' to bind it on '/mnt'");
    Cmd::run(args!["-v", "/etc", "mnt", "true"]).refused("mount on 'mnt': not an absolute path");
}

#[test]
fn a_script_that_starts_itself_again_and_again_is_refused_with_a_hint() {
    let dir = scratch();
    let script = dir.path().join("script");
    std::fs::write(&script, "#!/usr/bin/env -S selfdock run -H\n").unwrap();
    Cmd::program(args!["chmod", "755", &script]).ok();
    let path = format!("{}:/usr/bin:/bin", selfdock().parent().unwrap().display());
    let ran = Cmd::program(args![&script]).current_dir(dir.path()).env("PATH", path).output().exits(125);
    assert!(ran.stderr.contains("must name an interpreter"), "{}", ran.stderr);
}

#[rstest]
#[case::volume(&["-v", "/no/such", "/mnt"])]
#[case::map(&["-m", "/no/such", "/mnt"])]
#[case::root(&["--root", "/no/such"])]
#[case::start(&["-C", "/no/such"])]
#[case::device(&["--dev", "/dev/no-such"])]
fn a_message_names_object_and_errno(#[case] options: &[&str]) {
    let ran = Cmd::run(options.iter().map(Into::into).chain(args!["true"])).refused("(ENOENT)");
    assert!(ran.stderr.contains("'/no/such'") || ran.stderr.contains("'/dev/no-such'"), "{}", ran.stderr);
    assert!(ran.stderr.contains(": no such file or directory (ENOENT)"), "{}", ran.stderr);
}

/// I8: log escapes.
#[rstest]
fn control_characters_are_escaped(
    #[values("\x1b[31mred", "two\nlines", "bell\x07", "tab\t", "\u{9b}31m", "del\x7f")] name: &str,
) {
    // `refused` checks that the message is one printable line.
    Cmd::run(args!["-v", format!("/{name}"), "/mnt", "true"]).refused("(ENOENT)");
    Cmd::run(args![format!("--{name}")]).refused("unknown");
    Cmd::new(args![name]).refused("unknown");
    Cmd::run(args!["-v", "/etc", name, "true"]).refused("not an absolute path");
    let ran = Cmd::run(args![format!("/no-such-{name}")]).output().exits(127);
    assert!(!ran.stderr.trim_end_matches('\n').chars().any(char::is_control), "{:?}", ran.stderr);
}

#[test]
fn a_very_long_path_is_an_error_and_not_a_crash() {
    let long = format!("/{}", "x".repeat(5000));
    Cmd::run(args!["-v", &long, "/mnt", "true"]).refused("(ENAMETOOLONG)");
    Cmd::run(args!["-v", "/etc", &long, "true"]).refused("(ENAMETOOLONG)");
}

#[test]
fn very_many_options_are_an_error_or_work() {
    let dir = scratch();
    let volumes = (0..3000).flat_map(|n| args!["-m", dir.path(), format!("/mnt/{n}")]);
    Cmd::run(volumes.chain(args!["true"])).output().refused_or(|ran| {
        ran.ok();
    });
}

#[test]
fn a_full_standard_error_is_no_crash() {
    let script = format!("{} run -v /no/such /mnt true 2>/dev/full", crate::support::selfdock().display());
    Cmd::program(args!["sh", "-c", script]).output().exits(125);
}

/// As it is for cat.
#[rstest]
fn output_that_cannot_be_written_is_an_error(
    #[values(
        "cat /etc/hostname",
        "$SELFDOCK --help",
        "$SELFDOCK --version",
        "$SELFDOCK help run",
        "$SELFDOCK run --explain true",
        "$SELFDOCK profiles",
        "$SELFDOCK doctor",
        "$SELFDOCK ps"
    )]
    command: &str,
    #[values((">/dev/full", "ENOSPC", "No space left"), (">&-", "EBADF", "Bad file descriptor"))] output: (
        &str,
        &str,
        &str,
    ),
) {
    let (to, name, text) = output;
    let run = Cmd::program(args!["sh", "-c", format!("{command} {to}")]).env("SELFDOCK", selfdock()).output();
    if command.starts_with("cat") {
        assert!(run.exits(1).stderr.contains(text));
    } else {
        run.refused("write to standard output: ").refused(name);
    }
}

/// The option would be lost without a word.
#[rstest]
#[case::a_report(&["--report", "--no-userns", "true"], "option --report: took '--no-userns': it is an option; FILE|FD")]
#[case::a_letter(&["--report", "-H", "true"], "option --report: took '-H': it is an option; FILE|FD is missing")]
#[case::a_name(&["--pass", "--no-secrets", "env"], "option --pass: took '--no-secrets': it is an option")]
#[case::a_pattern(&["-E", "--clear-env", "env"], "option --unset-env: took '--clear-env': it is an option")]
#[case::a_directory(&["--changes", "--no-nest", "true"], "write --changes=--no-nest")]
#[case::with_a_value(&["--report", "--net=none", "true"], "option --report: took '--net=none': it is an option")]
#[case::letters(&["-E", "-nnone", "true"], "option --unset-env: took '-nnone': it is an option")]
#[case::with_an_escape(&["-E", "-e\u{1b}[2J", "true"], "write --unset-env='-e\\u{1b}[2J'")]
#[case::another_name(&["--report", "--rootfs", "true"], "option --report: took '--rootfs': it is an option")]
#[case::a_source(&["--vol", "--here", "/mnt/x", "true"], "option --vol: took '--here': it is an option; SRC is")]
#[case::a_host(&["--hostname", "--no-userns", "true"], "option --hostname: took '--no-userns': it is an option")]
#[case::a_value(&["-e", "X", "--no-userns", "true"], "VALUE is missing; if it is meant so, write -e NAME=VALUE")]
fn an_option_is_no_value_of_another(#[case] words: &[&str], #[case] why: &str) {
    let dir = scratch();
    Cmd::run(words.iter().map(Into::into)).current_dir(dir.path()).refused(why);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_value_can_begin_with_a_dash() {
    assert_eq!(Cmd::run(args!["-e", "X", "--sysroot=/x", "-E", "-Y", "printenv", "X"]).ok(), "--sysroot=/x");
    assert_eq!(Cmd::run(args!["-e", "X=--no-userns", "printenv", "X"]).ok(), "--no-userns");
    assert_eq!(Cmd::run(args!["-e", "X", "-H", "printenv", "X"]).ok(), "-H");
    let dir = scratch();
    std::fs::create_dir(dir.path().join("-dir")).unwrap();
    std::fs::write(dir.path().join("-dir/file"), "seen").unwrap();
    let seen = |words: &[&str]| {
        let words = words.iter().map(Into::into).chain(args!["cat", "/mnt/y/file"]);
        Cmd::run(words).current_dir(dir.path()).ok()
    };
    for words in [&["-v", "-dir", "/mnt/y"][..], &["--map=-dir", "/mnt/y"], &["-o", "-dir", "/mnt/y"]] {
        assert_eq!(seen(words), "seen", "{words:?}");
    }
}

const ANY: &str = "max_*_namespaces) is reached: 'selfdock doctor' says";

/// The nesting depth is not the only limit of namespaces. The kernel does not say which one is reached.
#[rstest]
#[case::mount("mnt", "run", ANY)]
#[case::ipc("ipc", "run", ANY)]
#[case::uts("uts", "run", ANY)]
#[case::cgroup("cgroup", "run", ANY)]
#[case::network("net", "-n none run", ANY)]
#[case::user("user", "-o /etc /mnt/w run", ANY)]
#[case::process("pid", "run", "or user.max_pid_namespaces is reached")]
fn a_limit_of_namespaces_is_named(#[case] kind: &str, #[case] words: &str, #[case] why: &str) {
    let machine = |command: &str| {
        let script = format!("echo 0 > /proc/sys/user/max_{kind}_namespaces; exec $SELFDOCK {command}");
        Cmd::program(args!["unshare", "-Urm", "sh", "-c", script]).env("SELFDOCK", selfdock()).output()
    };
    let refused = machine(&format!("{words} true")).exits(125);
    assert!(refused.stderr.contains(why), "{}", refused.stderr);
    let said = machine("doctor").stdout;
    assert!(said.contains(&format!("note  user.max_{kind}_namespaces is reached")), "{said}");
    assert!(!said.contains("doctor' says"), "{said}");
}

/// Under a Landlock policy for files the kernel forbids mounts.
#[test]
fn a_policy_that_forbids_mounting_is_named_in_the_message() {
    const LANDLOCKED: &str = include_str!("../programs/landlocked.py");
    // Root in its own user namespace can do this without no_new_privs.
    let words = args!["unshare", "-Ur", "python3", "-c", LANDLOCKED, selfdock(), "run", "true"];
    let ran = Cmd::program(words).output().exits(125);
    assert!(ran.stderr.contains("(EPERM); a policy (Landlock"), "{}", ran.stderr);
}

/// A root filesystem that the caller may not enter, or not list where that is needed; and a program on a mount that is
/// noexec, which says so itself.
#[rstest]
#[case::closed("chmod 700 srv/img", "--root /srv/img run", "you may not enter the root filesystem")]
#[case::readable_alone("chmod 744 srv/img", "--root /srv/img run", "you may not enter the root filesystem")]
#[case::closed_and_unprivileged(
    "chmod 700 srv/img",
    "--root /srv/img --unprivileged run",
    "you may not enter the root filesystem"
)]
#[case::in_a_closed_directory("chmod 700 srv", "--root /srv/img run", "use the root filesystem '/srv/img'")]
#[case::not_to_be_listed(
    "chmod 711 srv/img",
    "--root /srv/img -t - /new run",
    "make the mount point in the image"
)]
#[case::noexec(NOEXEC, "--root /srv/img run", "executes nothing (noexec)")]
#[case::noexec_and_unprivileged(NOEXEC, "--root /srv/img --unprivileged run", "executes nothing (noexec)")]
#[case::noexec_as_a_map(NOEXEC, "-m /srv/img/bin /bin run", "executes nothing (noexec)")]
#[case::no_program("", "--root /srv/img -m /etc/passwd /bin/busybox run", "permission denied (EACCES)\n")]
fn a_root_that_cannot_be_used_says_why(#[case] change: &str, #[case] words: &str, #[case] said: &str) {
    let changes = format!(
        "mkdir -p srv/img; (cd srv/img; mkdir bin dev etc proc tmp; cp {}/bin/busybox bin)
         {change}",
        fixture("busybox").display()
    );
    let ran = on_a_host(&changes, &format!("me $SD {words} /bin/busybox echo ran")).output();
    assert!(ran.stdout.is_empty() && ran.stderr.contains(said), "{}{}", ran.stdout, ran.stderr);
}

const NOEXEC: &str = "mount --bind srv/img srv/img; mount -o remount,bind,noexec srv/img";

/// Who does not read what selfdock prints can still end it. A command can spoil its report, so that there is a message.
#[rstest]
#[case::of_a_report(
    "{mode} --report report run -b . sh -c \"trap '' TERM; rm report; mkdir report\"",
    "report"
)]
#[case::of_an_attended_report(
    "{mode} --output-limit 1k --report report run -b . sh -c \"trap '' TERM; rm report; mkdir report\"",
    "report"
)]
#[case::of_an_option("run --no-such-option", "")]
#[case::of_a_build("{mode} run -m /no/such /mnt true", "")]
#[case::of_a_mount("{mode} run -m /usr /etc/passwd true", "")]
#[case::of_a_command("{mode} run nosuch", "")]
#[case::of_a_joiner("enter 999999999 true", "")]
#[case::output_of_a_batch("{mode} each --group echo", "")]
#[case::version("--version", "")]
#[case::of_a_batch("{mode} each sh -c 'kill -9 $$'", "")]
fn what_nobody_reads_does_not_keep_selfdock(
    #[case] line: &str,
    #[case] path: &str,
    #[values("", "--unprivileged")] mode: &str,
    #[values("", "$SELFDOCK run -b .")] outer: &str,
) {
    let line = line.replace("{mode}", mode);
    let script = format!("echo x >list; exec python3 -c \"$PROGRAM\" \"$0\" {outer} $SELFDOCK {line} <list");
    let dir = scratch();
    let cmd = Cmd::program(args!["sh", "-c", script, path]).current_dir(dir.path());
    let program = include_str!("../programs/end_while_unread.py");
    assert_eq!(cmd.env("PROGRAM", program).env("SELFDOCK", selfdock()).ok(), "-15");
}

/// A failure to start the first process is told in the report, and then in a message.
#[rstest]
fn a_report_of_no_start_that_nobody_reads_does_not_keep_selfdock(
    #[values("", "--unprivileged")] mode: &str,
    #[values("", "--output-limit 1k")] option: &str,
) {
    let words = format!("prlimit --nproc=0 $SELFDOCK {mode} {option} --report 2 run true");
    let script = format!("exec python3 -c \"$PROGRAM\" '' {words}");
    let program = include_str!("../programs/end_while_unread.py");
    let ran = Cmd::program(args!["sh", "-c", script]).env("PROGRAM", program).env("SELFDOCK", selfdock());
    assert_eq!(ran.ok(), "-15");
}
