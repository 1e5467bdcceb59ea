"""Configuration in Traefik's format: models, units, the rule language, loading and checking. No other I/O."""
