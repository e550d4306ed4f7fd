"""mount_fuse.py PLACE [,allow_other]: mounts a file system in user space that never answers, and that only root may look
at, or everybody. When this ends, it is dead."""
import ctypes, os, sys, time
place, more = sys.argv[1:]
fd = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fd},rootmode=40000,user_id=0,group_id=0{more}"
if ctypes.CDLL(None).mount(b"fuse", place.encode(), b"fuse", 6, options.encode()): sys.exit("no FUSE here")
time.sleep(30)
