# A part of the servers for each client: only for Python.
