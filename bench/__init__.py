"""Benchmarks: pymc beside its peers, driven by a load generator of its own."""
