"""Starts processes, one after the other. Each moves to new namespaces at a random time, and ends."""
import ctypes, os, random, time
libc = ctypes.CDLL(None)
print('up', flush=True)
while True:
    child = os.fork()
    if child == 0:
        # From a tenth of a millisecond to a second: a joiner may be quick or slow.
        time.sleep(10 ** random.uniform(-4, 0))
        libc.unshare(0x10000000 | 0x20000 | 0x4000000 | 0x8000000)
        time.sleep(10 ** random.uniform(-4, 0))
        os._exit(0)
    os.waitpid(child, 0)
