"""What is tried next: trials for each head, samplers of settings, and schedulers that stop what is hopeless.

`samplers/` and `schedulers/` are extension points: an entry is one file there. Knows nothing of how a study is written.
"""
