"""The state that all workers share: one memory region of typed cells and counters, addressed by slots."""
