"""Pictures: arrays and records in, matplotlib figures out. The only package that imports matplotlib.

Figures are drawn without pyplot, so that any one thread may draw them.
"""
