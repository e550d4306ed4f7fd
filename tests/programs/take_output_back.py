"""take_output_back.py SOCKET: sends its standard output, a pipe, to a socket, so that the pipe has no end. Then it
reads one byte of what it prints from the pipe before the reader of the pipe does. It uses readv(2), since a tracer lets
every read(2) wait."""
import os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
socket.send_fds(connection, [b'.'], [1])
output = os.open('/proc/self/fd/1', os.O_RDONLY | os.O_NONBLOCK)
while True:
    os.write(1, b'x')
    try:
        os.readv(output, [bytearray(1)])
        break
    except BlockingIOError:
        pass
