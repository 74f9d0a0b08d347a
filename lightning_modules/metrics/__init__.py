"""Measures on embeddings: clusters, angles, neighbours, volumes. Torch in, plain floats out; any device.

`measures.every_epoch` is what validation reports; `measures.final` is everything, once, at a search's end.
"""
