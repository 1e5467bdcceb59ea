"""What the command line says and asks of an instance that runs, through its API."""
