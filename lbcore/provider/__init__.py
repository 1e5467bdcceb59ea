"""Providers, the sources of dynamic configuration: watch, ignore what is not new, validate, merge, publish."""
