# The memory of libnghttp2's sessions.

from lbcore.http.heap cimport LibraryMemory


cdef const LibraryMemory* session_memory() noexcept
