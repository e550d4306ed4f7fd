"""change_directories.py DIR...: makes, renames and removes files in directories, without end."""
import os, sys
while True:
    for dir in sys.argv[1:]:
        for name in "abcde": open(f"{dir}/{name}", "w").close()
        os.rename(f"{dir}/a", f"{dir}/f")
        for name in "bcdef": os.unlink(f"{dir}/{name}")
