"""type_into_terminal.py REQUEST: asks the terminal by this request of ioctl(2) to take a key as typed. Prints the
result."""
import ctypes, errno, sys
libc = ctypes.CDLL(None, use_errno=True)
request = ctypes.c_ulong(eval(sys.argv[1]))
r = libc.syscall(ctypes.c_long(16), ctypes.c_long(0), request, ctypes.c_char_p(b"\x03"))
print("answer", r, errno.errorcode[ctypes.get_errno()])
