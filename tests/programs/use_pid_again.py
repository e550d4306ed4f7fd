"""As PID 1 of a PID namespace: gives one PID to instances of two names, and to other processes, in turns. Meanwhile
enter_again.py (in the variable ENTER) enters that PID. Prints how often the PID was used, and what was entered."""
import os, random, signal, subprocess, time
SD, UID, GID, PID = os.environ['SD'], int(os.environ['ME']), int(os.environ['MY_GROUP']), 3000
rounds, seconds = 150, os.environ.get('SELFDOCK_RACE_SECONDS')
def me():
    os.setgroups([]); os.setresgid(GID, GID, GID); os.setresuid(UID, UID, UID)
def start(words, caller):
    with open('/proc/sys/kernel/ns_last_pid', 'w') as file: file.write(str(PID - 1))
    child = os.fork()
    if child == 0:
        try:
            if caller: me()
            null = os.open('/dev/null', os.O_RDWR)
            for fd in 0, 1, 2: os.dup2(null, fd)
            os.execv(words[0], words)
        finally: os._exit(99)
    return child
out = open('/srv/own/out', 'w')
enter = subprocess.Popen(['python3', '-c', os.environ['ENTER'], SD, str(PID)], stdout=out, preexec_fn=me)
# An emulated machine is slow above all where programs start.
pause = float(os.environ.get('SELFDOCK_PATIENCE', 1)) ** 1.4
begin, done, hits = time.time(), 0, 0
while (time.time() - begin < float(seconds)) if seconds else (done < rounds):
    done += 1
    name = 'ab'[done % 2]
    words = [SD, 'run', '--hostname', name, '-m', '/srv/own/' + name, '/mnt', 'sleep', '100']
    if done % 5 == 0: words = ['/bin/sleep', '100']
    child = start(words, done % 7 != 0)
    hits += child == PID
    time.sleep(random.random() / 40 * pause)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
enter.kill(); enter.wait()
print('used', hits)
for line in open('/srv/own/out'):
    words = line.rstrip('\n').split('|')
    # The last one may be cut short.
    if len(words) == 4: print('entered', *words, sep='|')
