"""Processes: the supervisor that owns everything, the workers that move bytes, and the channel between them."""
