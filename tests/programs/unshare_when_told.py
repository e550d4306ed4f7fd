"""Moves to new user and mount namespaces when it can read /mnt/go, and stays for 20 s."""
import ctypes, os, time
open('/mnt/go').read()
print('unshared', ctypes.CDLL(None).unshare(0x10020000), flush=True)
time.sleep(20)
