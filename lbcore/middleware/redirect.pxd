# What redirections know of how a client has come.

from lbcore.http.request cimport Request


cdef bint came_encrypted(Request request) noexcept
