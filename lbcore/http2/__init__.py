"""HTTP/2 by libnghttp2, whose functions are found when they are first needed; without it, HTTP/2 is not offered."""
