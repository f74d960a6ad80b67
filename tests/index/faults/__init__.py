"""Faults on purpose: one seam through which every suite plants them, and the suites themselves.

disk.py       what a disk may hold after a power cut
faulty.py     Files and an SQLite VFS that count calls, fail them, kill at them, or write them down
script.py     the operations that the suites run, the model they are compared with, and the comparison
forked.py     children that may be killed
"""
