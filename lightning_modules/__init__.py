"""What is trained: bodies, heads, data and measures on embeddings.

Knows torch and Lightning; never Ray, W&B or the orchestrator. Importing this package loads neither torch nor
Lightning, so that a study can be checked in a fraction of a second.
"""
