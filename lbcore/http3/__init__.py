"""QUIC and the frames of HTTP/3: the libraries ngtcp2 and nghttp3, found at run time."""
