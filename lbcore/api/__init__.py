"""The view from outside: what is configured, how it is, and what it has done, as JSON, and as Prometheus' text."""
