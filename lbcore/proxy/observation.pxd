# The record of a finished exchange for the observer.

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.observability.record cimport Record
from lbcore.proxy.attempt cimport Attempt
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.routing.route cimport Route


cdef int show(const Record* record, EntryPoint entry_point, Route route, Attempt attempt, Request request) except -1
cdef int observe(Record* record, EntryPoint entry_point, Route route, Attempt attempt, Request request, Response response) except -1
