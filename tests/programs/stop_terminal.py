"""stop_terminal.py: prints without end, and after a moment stops the terminal, as Ctrl-S does. So somewhere in a line."""
import os, termios, threading, time


def stop():
    time.sleep(0.3)
    termios.tcflow(os.open('/dev/tty', os.O_RDWR), termios.TCOOFF)


threading.Thread(target=stop, daemon=True).start()
while True:
    os.write(1, b'x' * 60000)
