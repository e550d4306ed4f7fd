# Runs a program (the arguments) that sends its output to the socket `hold`, where nobody accepts it. Prints the
# program's exit status, and how many processes it has left.
import ctypes
import os
import socket
import subprocess
import sys

PR_SET_CHILD_SUBREAPER = 36
listening = socket.socket(socket.AF_UNIX)
listening.bind("hold")
listening.listen()
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
status = subprocess.run(sys.argv[1:]).returncode
with open(f"/proc/self/task/{os.getpid()}/children") as children:
    print(f"status {status}, {len(children.read().split())} left")
