"""What instances share that serve the same: how many there are, what they know of servers, and weights."""
