"""mount_fuse.py PLACE UID: mounts a file system in user space that never answers, and that only UID and root may look
at. When this ends, it is dead."""
import ctypes, os, sys, time
place, uid = sys.argv[1:]
fd = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fd},rootmode=40000,user_id={uid},group_id=0"
if ctypes.CDLL(None).mount(b"fuse", place.encode(), b"fuse", 6, options.encode()): sys.exit("no FUSE here")
time.sleep(30)
