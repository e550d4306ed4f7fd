"""landlocked.py PROGRAM...: runs a program under a Landlock policy for files. As root of a user namespace, without
no_new_privs."""
import ctypes, os, struct, sys
call = ctypes.CDLL(None).syscall
rules = call(444, struct.pack('Q', 2), 8, 0)
root = os.open('/', os.O_PATH)
call(445, rules, 1, struct.pack('=Qi', 2, root), 0)
call(446, rules, 0) and sys.exit('no Landlock')
os.execv(sys.argv[1], sys.argv[1:])
