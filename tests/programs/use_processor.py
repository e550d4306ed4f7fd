"""use_processor.py SECONDS [stay]: uses processor time, as the process itself measures it. With `stay` it then closes its
standard output, and stays until it is killed."""
import os, signal, sys, time
while time.process_time() < float(sys.argv[1]): pass
if "stay" in sys.argv:
    os.close(1)
    while True: signal.pause()
