"""Shared libraries that are opened when lbcore runs, and their functions."""
