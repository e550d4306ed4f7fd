"""with_unread_terminal.py HOW PROGRAM...: runs a program whose standard output is a terminal. With `inner` nobody reads
what it prints. With `outer` it prints to the outer end, as if it typed, and nobody reads the inner one. With `stopped`
the terminal is its controlling one, and is read all the time, unless the program stops it. Prints its status, and how
each process that it has left ends by SIGTERM."""
import ctypes, fcntl, os, pty, signal, subprocess, sys, termios, threading
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
how, words = sys.argv[1], sys.argv[2:]
outer, inner = pty.openpty()


def read():
    while os.read(outer, 65536):
        pass


def take_terminal():
    os.setsid()
    fcntl.ioctl(inner, termios.TIOCSCTTY, 0)


if how == 'stopped':
    threading.Thread(target=read, daemon=True).start()
output = outer if how == 'outer' else inner
begin = take_terminal if how == 'stopped' else os.setsid
print(subprocess.run(words, stdout=output, preexec_fn=begin).returncode)
with open(f'/proc/self/task/{os.getpid()}/children') as children:
    left = [int(pid) for pid in children.read().split()]
for pid in left:
    os.kill(pid, signal.SIGTERM)
    print('left', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
