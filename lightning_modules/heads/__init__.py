"""The six heads, and losses of a library as heads: one file each, found by its name."""
