"""Snapshots to `stats` lines: memcached's keys in memcached's order, and pymc's own apart."""
