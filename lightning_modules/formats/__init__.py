"""Formats of files that hold no code: JSON as standards allow it, and .npy without pickles."""
