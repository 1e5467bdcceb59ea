# Lines of the access log in Traefik's JSON format.

from libc.stdint cimport uint64_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.observability.fields cimport LogFields
from lbcore.observability.record cimport Record


cdef dict shown_fields(LogFields log, const Record* record, Request request, Response response, str entry_point, str router,
                       str service, str url, uint64_t count)
cdef bytes json_line(LogFields log, const Record* record, Request request, Response response, str entry_point, str router,
                     str service, str url, uint64_t count)
