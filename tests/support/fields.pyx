"""Fields of HTTP/2 and HTTP/3 without the libraries that decode them, and refuse most of what is wrong before."""

from lbcore.http.fields cimport take_trailer_field
from lbcore.http.message cimport Message
from lbcore.http.span cimport span_of


def takes(bytes name, bytes value) -> bool:
    """Whether a field may be a line of HTTP/1."""
    return take_trailer_field(Message(), span_of(name, len(name)), span_of(value, len(value))) == 0
