# After calls.py. Whether a user namespace can be made by clone(2), by clone3(2), whose flags no filter can see, and by
# unshare(2).
def child(pid):
    if pid == 0: os._exit(0)
    if isinstance(pid, int): os.waitpid(pid, 0)
    return isinstance(pid, int)
new = 0x10000000
three = (ctypes.c_ulong * 11)(new, 0, 0, 0, 17)
print(child(call(56, new | 17, 0, 0, 0, 0)))
print(child(call(435, bytes(three), 88)))
print(call(272, new) == 0)
