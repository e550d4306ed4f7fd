"""serve_socket.py SOCKET: answers each connection with a word, until its standard input ends. A name that begins with
`@` is that of an abstract socket."""
import os, socket, sys, threading
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1].replace('@', chr(0))); s.listen()
print('up', flush=True)
def serve():
    while True: s.accept()[0].send(b'served')
threading.Thread(target=serve, daemon=True).start()
sys.stdin.read()
