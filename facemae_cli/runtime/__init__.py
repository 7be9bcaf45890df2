"""The machine: devices and precision, processes of a distributed run, threads, and progress."""
