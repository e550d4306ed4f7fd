"""mount_autofs.py PLACE FILE: makes PLACE a directory on which something is mounted on demand, writes a line to FILE
for each demand, and lets it fail. autofs, in the kernel's documentation"""
import ctypes, fcntl, os, struct, sys
place, file = sys.argv[1:]
os.setpgid(0, 0)
read, write = os.pipe()
options = f"fd={write},pgrp={os.getpid()},minproto=5,maxproto=5,direct"
if ctypes.CDLL(None).mount(b"demand", place.encode(), b"autofs", 0, options.encode()): sys.exit("no autofs here")
# The processes of this group do not demand anything.
root = os.open(place, os.O_RDONLY)
while packet := os.read(read, 304):
    # struct autofs_v5_packet; AUTOFS_IOC_FAIL
    with open(file, "a") as log: print("demanded", file=log)
    fcntl.ioctl(root, 0x9361, struct.unpack_from("I", packet, 8)[0])
