"""leave_a_report.py HOW PROGRAM...: runs a program whose descriptor 9 is a FIFO that is full, open for both, and that
nobody reads. When the program and its only child wait, ends the program by SIGTERM. Then the child is to end: by
SIGTERM, or, if HOW is `close`, when this process closes the FIFO. Prints the status of both."""
import ctypes, os, subprocess, sys, time
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
how, words = sys.argv[1], sys.argv[2:]
os.mkfifo('report')
report = os.open('report', os.O_RDWR | os.O_NONBLOCK)
try:
    while True:
        os.write(report, b'x' * 4096)
except BlockingIOError:
    os.set_blocking(report, True)
os.dup2(report, 9)
os.close(report)
program = subprocess.Popen(words, pass_fds=[9])


def children():
    with open(f'/proc/{program.pid}/task/{program.pid}/children') as children:
        return [int(pid) for pid in children.read().split()]


# At the beginning it can have one child as well, but not as long.
seen = 0
while seen < 30:
    time.sleep(0.01)
    seen = seen + 1 if len(children()) == 1 else 0
child, = children()
program.terminate()
print(program.wait())
if how == 'close':
    os.close(9)
else:
    os.kill(child, 15)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
