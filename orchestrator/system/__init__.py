"""The machine and this process: signals, streams, processes, memory, GPUs, and which code runs. Knows no study."""
