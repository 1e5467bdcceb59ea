"""Configuration as Traefik writes it: models, units, the rule language, loading and checking. Reads text, opens nothing else."""
