"""What the load balancer tells about itself: request counters, the access log, Prometheus' text."""
