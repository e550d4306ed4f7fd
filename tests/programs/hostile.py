#!/usr/bin/env python3
"""A program to judge. The word in its input says how it does harm. If it gets that far, it prints what is right."""
import os, signal, sys, time

SLEEP = 1000


def fork_bomb():
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(1)


def memory():
    # No process is too large. All together are.
    for _ in range(8):
        if os.fork() == 0:
            block = bytearray(50 << 20)
            time.sleep(SLEEP if block else 0)
    time.sleep(SLEEP)


def disk():
    number = 0
    while True:
        with open(f"/tmp/{number}", "wb") as file:
            file.write(bytes(1 << 20))
        number += 1


def descriptors():
    kept = []
    while True:
        kept.append(open("/dev/null"))


def flood():
    # From two processes.
    os.fork()
    while True:
        os.write(1, bytes(1 << 16))


def stop():
    os.kill(os.getpid(), signal.SIGSTOP)


def kill_all():
    os.kill(0, signal.SIGKILL)


def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(SLEEP)
        os._exit(0)


def ignore():
    for number in range(1, 32):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_IGN)
    time.sleep(SLEEP)


def busy():
    # The signal of the limit alone does not end it.
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True:
        pass


def busy_together():
    # Each process stays below the limit.
    for _ in range(4):
        if os.fork() == 0:
            while time.process_time() < 0.3:
                pass
            os._exit(0)
    for _ in range(4):
        os.wait()


def patient():
    # It waits longer than it may compute.
    time.sleep(1.5)


def copier():
    # The path of its input is no secret. What lies beside it should be.
    tests = os.path.dirname(os.readlink("/proc/self/fd/0"))
    sys.stdout.write(open(f"{tests}/1.out").read())
    sys.exit()


globals()[sys.stdin.readline().strip()]()
print("right")
