"""with_a_key.py SELFDOCK CALLS SCRIPT: makes a session keyring with a key `ticket`, and executes SCRIPT after calls.py,
CALLS. In SCRIPT, `run(OPTIONS, PROGRAM)` returns what a program prints inside. sys.argv[1] is the number of the key,
also inside."""
import subprocess, sys
selfdock, calls, script = sys.argv[1:]
exec(calls)
call(250, 1, None)
serial = call(248, b'user', b'ticket', b'secret', 6, -3)
assert isinstance(serial, int), serial
sys.argv[1:] = [str(serial)]
def run(options, program):
    words = [selfdock, *options, 'run', 'python3', '-c', calls + program, str(serial)]
    return subprocess.run(words, stdout=subprocess.PIPE, text=True).stdout.strip()
exec(script)
