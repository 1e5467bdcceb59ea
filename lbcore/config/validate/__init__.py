"""Validation of the objects of a dynamic configuration: each problem disables its object alone. No I/O."""
