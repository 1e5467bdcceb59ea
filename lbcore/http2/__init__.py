"""HTTP/2 with libnghttp2, which is loaded at the first use; if it is missing, HTTP/2 is not offered."""
