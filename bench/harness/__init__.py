"""The parts of the benchmark driver that run.py puts together."""
