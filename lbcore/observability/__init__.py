"""The observation of requests: counters, and the access log."""
