"""Datasets: one file a source, how they are split, and how batches are made."""
