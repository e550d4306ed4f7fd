"""Prints how many mounts listmount(2) lists in this namespace, and how many statmount(2) describes, of these and of the
63 ids below each."""
import ctypes, struct
c = ctypes.CDLL(None, use_errno=True)
room = ctypes.create_string_buffer(8 * 512)
ask = struct.pack("IIQQ", 24, 0, 0xffffffffffffffff, 0)
told = c.syscall(458, ask, room, 512, 0)
ids = list(struct.unpack("%dQ" % max(told, 0), room.raw[:8 * max(told, 0)]))
seen = 0
for mount in sorted(set(ids + [i - n for i in ids for n in range(64)])):
    answer = ctypes.create_string_buffer(4096)
    if c.syscall(457, struct.pack("IIQQ", 24, 0, mount, 2 | 16), answer, 4096, 0) == 0:
        seen += 1
print(len(ids), seen)
