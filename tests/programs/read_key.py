# After calls.py. Looks for a key by its name, and reads it by its number.
b = ctypes.create_string_buffer(99)
found = call(249, b'user', b'ticket', None, -3)
n = libc.syscall(ctypes.c_long(250), ctypes.c_long(11), ctypes.c_long(int(sys.argv[1])), b, ctypes.c_long(99))
print(found, b.raw[:max(n, 0)].decode())
