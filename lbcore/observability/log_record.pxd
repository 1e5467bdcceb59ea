# Records of the access log for a collector of OpenTelemetry.

from lbcore.observability.record cimport Record
from lbcore.observability.ring cimport LineWriter


cdef int put_record(LineWriter records, dict fields, const Record* record) except -1
