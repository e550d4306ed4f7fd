"""with_a_key.py SELFDOCK CALLS SCRIPT: has a session keyring of its own, with a key `ticket` in it, and does what SCRIPT
says after calls.py, CALLS. There `run(OPTIONS, PROGRAM)` gives what a program prints inside, and sys.argv[1] is the
number of the key, inside as well."""
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
