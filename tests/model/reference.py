"""What the store means, as a plain dict: the reference the state machines compare with."""
