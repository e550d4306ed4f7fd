"""Stops and continues itself very often, between two lines that it reads."""
import os, signal
print('up', flush=True); input(); parent = os.getpid()
if os.fork() == 0:
    for i in range(200000): os.kill(parent, signal.SIGSTOP); os.kill(parent, signal.SIGCONT)
    os._exit(0)
os.wait(); print('done', flush=True); input()
