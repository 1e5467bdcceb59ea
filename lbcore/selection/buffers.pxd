# The buffers of `pick_many`: only for Python.
