"""The view from outside: configuration, health and counters, as JSON and in Prometheus' format."""
