"""fill_with_instances.py SELFDOCK [OPTION...]: starts instances until no more can be started, the deep ones first.
Prints the result of each, and keeps them until it reads a line."""
import subprocess, sys
level = [*sys.argv[1:], 'run']
kids = []
for depth in [5] * 4 + [1] * 8:
    words = level * depth + ['sh', '-c', 'echo up; exec sleep 1000']
    try:
        kid = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        print(depth, 'started' if kid.stdout.readline() else kid.wait(), flush=True)
        kids.append(kid)
    except BlockingIOError: print(depth, 'refused', flush=True)
print('end', flush=True)
sys.stdin.readline()
