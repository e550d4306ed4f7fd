"""exchange.py A B: exchanges two names, without end. renameat2(2)"""
import ctypes, sys
a, b = (word.encode() for word in sys.argv[1:])
while True: ctypes.CDLL(None).renameat2(-100, a, -100, b, 2)
