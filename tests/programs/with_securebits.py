"""with_securebits.py PROGRAM UID WORDS...: runs PROGRAM with each combination of SECBIT_NOROOT and
SECBIT_NO_SETUID_FIXUP with their locks, and SECBIT_KEEP_CAPS_LOCKED. Prints the bits and the output of PROGRAM."""
import ctypes, os, subprocess, sys
program, uid, *words = sys.argv[1:]
libc = ctypes.CDLL(None)
for bits in [high | low for high in (0, 32) for low in range(16)]:
    def caller():
        if libc.prctl(28, bits, 0, 0, 0): os._exit(99)
        os.setgroups([]); os.setresgid(*[int(uid)] * 3); os.setresuid(*[int(uid)] * 3)
    # Without the rights of root, root has no CAP_SETFCAP, and cannot be mapped in a user namespace.
    if uid == '0' and bits & 1 and '--unprivileged' in words: continue
    run = subprocess.run([program, *words], preexec_fn=caller, capture_output=True, text=True)
    print(bits, run.stderr, *run.stdout.split())
