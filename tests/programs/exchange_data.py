"""Sends 3 MB to the proxy's port, and prints how much comes back."""
import socket
s = socket.create_connection(('127.0.0.1', 3128)); s.sendall(b'y' * 3000000)
s.shutdown(socket.SHUT_WR); n = 0
while d := s.recv(65536): n += len(d)
print(n)
