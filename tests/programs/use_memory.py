"""Touches 64 MiB, a page at a time."""
import mmap
x = mmap.mmap(-1, 64 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
x.madvise(mmap.MADV_NOHUGEPAGE)
for i in range(0, len(x), 4096): x[i] = 1
