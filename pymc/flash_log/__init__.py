"""A flash log offline: its files read without a server, as csrc/flash/FORMAT.md describes them."""
