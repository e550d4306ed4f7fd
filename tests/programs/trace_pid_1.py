# After calls.py. Tries to trace PID 1, and prints the results: ptrace(2), process_vm_readv(2), kcmp(2),
# pidfd_getfd(2), setns(2).
print('attach', call(101, 16, 1, 0, 0))
print('seize', call(101, 0x4206, 1, 0, 0))
memory = ctypes.create_string_buffer(8)
part = (ctypes.c_ulong * 2)(ctypes.addressof(memory), 8)
print('read', call(310, 1, ctypes.addressof(part), 1, ctypes.addressof(part), 1, 0))
print('write', call(311, 1, ctypes.addressof(part), 1, ctypes.addressof(part), 1, 0))
print('kcmp', call(312, 1, 1, 0, 0, 0))
fd = call(434, 1, 0)
print('descriptor', call(438, fd, 0, 0))
print('join', call(308, fd, 0x20000))
