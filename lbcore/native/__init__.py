"""Shared libraries that are opened when lbcore runs, with their functions; what the kernel is asked of threads."""
