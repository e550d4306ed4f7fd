# After calls.py. Prints what is the command's own. Inside, a session or group whose leader is outside has the number 0.
print('session', os.getsid(0) != 0)
print('group', os.getpgrp() != 0)
try: os.open('/dev/tty', os.O_RDWR); print('terminal')
except OSError as e: print(errno.errorcode[e.errno])
