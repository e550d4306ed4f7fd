"""use_processor.py SECONDS: uses processor time, as the process itself measures it."""
import sys, time
while time.process_time() < float(sys.argv[1]): pass
