"""The part of the command line that asks a running instance, through its API."""
