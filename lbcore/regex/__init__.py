"""Regular expressions in Go's syntax and in linear time: RE2, called without Python in between."""
