"""filtered.py [-n] ACTION=NUMBER,... UID GID PROGRAM...: as root, installs a filter of system calls, becomes a user,
and executes PROGRAM. ACTION is an errno, or `kill`. -n: with no_new_privs."""
import ctypes
import os
import struct
import sys

ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2

words = sys.argv[1:]
no_new_privs = words[0] == "-n"
rules, uid, gid, *program = words[1:] if no_new_privs else words
action, numbers = rules.split("=")
answer = KILL if action == "kill" else ERRNO | int(action)
code = [(LOAD, 0, 0, 0)]
for number in numbers.split(","):
    code += [(EQUAL, 0, 1, int(number)), (RETURN, 0, 0, answer)]
code.append((RETURN, 0, 0, ALLOW))
text = b"".join(struct.pack("HBBI", *line) for line in code)
room = ctypes.create_string_buffer(text, len(text))
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(room)), 16)
prctl = ctypes.CDLL(None, use_errno=True).prctl
if no_new_privs and prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
    sys.exit(f"no_new_privs: errno {ctypes.get_errno()}")
if prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter, 0, 0) != 0:
    sys.exit(f"seccomp: errno {ctypes.get_errno()}")
uid, gid = int(uid), int(gid)
os.setresgid(gid, gid, gid)
os.setresuid(uid, uid, uid)
os.execvp(program[0], program)
