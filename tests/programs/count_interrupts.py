"""Prints how many SIGINT came, a moment after the first."""
import signal, time
n = 0
def f(*a):
    global n
    n += 1
signal.signal(signal.SIGINT, f)
print("ready", flush=True)
while n == 0: time.sleep(0.01)
time.sleep(0.3)
print(f"count-{n}", flush=True)
