"""Configuration as Traefik writes it: models, units, the rule language, loading and checking. No other I/O."""
