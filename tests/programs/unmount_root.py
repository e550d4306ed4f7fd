"""Unmounts the root directory again and again, and prints what is below it. umount2(2)"""
import ctypes
c = ctypes.CDLL(None)
for _ in range(9): c.umount2(b"/", 2); c.umount2(b"/", 8)
print(open("/canary").read())
