"""Stands before other programs: `call` makes system calls for which Python has no function. It returns the result, or
the name of the error."""
import ctypes, errno, os, resource, signal, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(*words):
    words = [word if isinstance(word, bytes) or word is None else ctypes.c_long(word) for word in words]
    result = libc.syscall(*words)
    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]
