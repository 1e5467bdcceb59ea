"""Processes: the supervisor, which owns everything, the workers, which move bytes, and the channel between them."""
