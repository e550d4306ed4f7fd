# Sends its standard output to a socket (the argument).
import socket
import sys

connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
socket.send_fds(connection, [b"."], [1])
print("sent", flush=True)
