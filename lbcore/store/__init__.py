"""What instances share by a store beside them: the wire to Redis and Valkey, and connections that are kept."""
