"""Checks of passwords against slow hashes, in a process of their own: a flood of them delays no request."""
