"""end_while_unread.py PATH PROGRAM...: runs a program whose standard output and error are a pipe that is full, and that
nobody reads. With TERMINAL=1 only its standard output is unread: a terminal that has room. With TERMINAL=2 only its
standard error is: a terminal that is full. When the directory PATH exists, if there is a PATH, and the program waits,
sends it SIGTERM until it ends; once, if its standard error is a terminal. Prints its status."""
import os, pty, subprocess, sys, time
path, words, terminal = sys.argv[1], sys.argv[2:], os.environ.get('TERMINAL')
reader, writer = pty.openpty() if terminal else os.pipe()
os.set_blocking(writer, False)
# The kernel moves what is written to a terminal on a moment later.
tries = 0 if terminal == '1' else 9
while tries > 0:
    try:
        os.write(writer, b'x' * 4096)
    except BlockingIOError:
        time.sleep(0.01)
        tries -= 1
os.set_blocking(writer, True)
out, err = (subprocess.DEVNULL if terminal == other else writer for other in ('2', '1'))
program = subprocess.Popen(words, stdout=out, stderr=err)


def is_waiting():
    with open(f'/proc/{program.pid}/stat') as stat:
        return stat.read().rsplit(')', 1)[1].split()[0] == 'S'


# It may wait for other things before, but not as long.
seen = 0
while seen < 20 and program.poll() is None:
    time.sleep(0.01)
    seen = seen + 1 if (not path or os.path.isdir(path)) and is_waiting() else 0
while program.poll() is None:
    program.terminate()
    if terminal == '2':
        program.wait()
    time.sleep(0.02)
print(program.returncode)
