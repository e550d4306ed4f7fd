"""end_while_unread.py PATH PROGRAM...: runs a program whose standard output and error are a pipe that is full, and that
nobody reads. When the directory PATH exists, if there is a PATH, and the program waits, sends it SIGTERM until it ends.
Prints its status."""
import os, subprocess, sys, time
path, words = sys.argv[1], sys.argv[2:]
reader, writer = os.pipe()
os.set_blocking(writer, False)
try:
    while True:
        os.write(writer, b'x' * 4096)
except BlockingIOError:
    os.set_blocking(writer, True)
program = subprocess.Popen(words, stdout=writer, stderr=writer)


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
    time.sleep(0.02)
print(program.returncode)
