# Runs a command whose standard error is a pipe that is full. Prints its exit status, and then how much there is to read.
import os
import subprocess
import sys

errors, error = os.pipe()
os.set_blocking(error, False)
room = 0
try:
    while True:
        room += os.write(error, b"x" * 4096)
except BlockingIOError:
    os.set_blocking(error, True)
print(subprocess.run(sys.argv[1:], stderr=error).returncode)
os.close(error)
text = b""
while more := os.read(errors, 4096):
    text += more
print(text[room:].decode().strip())
