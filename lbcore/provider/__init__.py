"""Where dynamic configuration comes from: watch, drop what is not new, merge, validate, publish."""
