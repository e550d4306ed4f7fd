"""fill_with_instances.py SELFDOCK [OPTION...]: starts instances until none more fits, deep ones first, says what became
of each, and keeps them until a line is read."""
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
