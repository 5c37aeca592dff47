"""pymc: a memcached drop-in, Python processes over a C core in one shared-memory arena."""

# Clients and tools switch features by the first three numbers: they name the release of memcached
# whose behaviour is there. What follows is pymc's own.
VERSION = "1.6.38-pymc0.1"
