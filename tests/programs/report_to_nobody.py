"""report_to_nobody.py PROGRAM...: runs a program whose descriptor 3 is a pipe that nobody reads. Prints its status, and
whether it has complained."""
import os, subprocess, sys
read, write = os.pipe()
os.close(read)
os.dup2(write, 3)
ran = subprocess.run(sys.argv[1:], pass_fds=[3], stderr=subprocess.PIPE, text=True)
print(ran.returncode, '(EPIPE)' in ran.stderr)
