"""dns-01: records, and the DNS providers, with lego's names and variables."""
