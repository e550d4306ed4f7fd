"""Says hello to each connection to port 80."""
import socket
s = socket.create_server(('', 80)); print('up', flush=True)
while True: c = s.accept()[0]; c.sendall(b'hello'); c.close()
