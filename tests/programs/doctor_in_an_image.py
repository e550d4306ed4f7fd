"""doctor_in_an_image.py IMAGE: runs the image's selfdock doctor, as an ordinary user, in a changed root directory."""
import os, sys
os.chroot(sys.argv[1]); os.chdir('/'); os.setgid(61234); os.setuid(61234)
os.execv('/selfdock', ['selfdock', 'doctor'])
