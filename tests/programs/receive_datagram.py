"""receive_datagram.py SOCKET: prints the first datagram that comes."""
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1])
s.settimeout(9); print(s.recv(99))
