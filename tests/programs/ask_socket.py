"""ask_socket.py SOCKET: connects, and prints the answer."""
import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1].replace('@', chr(0))); print(s.recv(9).decode())
