"""mount_fuse.py PLACE [,allow_other] [DEVICE]: mounts a FUSE file system that never answers. Only root may look at it,
or everybody. With DEVICE it is that of a block device. When this program ends, the file system is dead."""
import ctypes, os, sys, time
place, more, *device = sys.argv[1:]
kind, source = ("fuseblk", device[0]) if device else ("fuse", "fuse")
fd = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fd},rootmode=40000,user_id=0,group_id=0{more}"
if ctypes.CDLL(None).mount(source.encode(), place.encode(), kind.encode(), 6, options.encode()): sys.exit("no FUSE here")
# Longer than a test waits for what it holds up.
time.sleep(1.5 * int(os.environ["LONG"]))
