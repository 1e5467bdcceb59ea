"""The health of servers, by active checks and by the outcome of requests."""
