"""dns-01: records, and the providers that are told of them by lego's names and variables."""
