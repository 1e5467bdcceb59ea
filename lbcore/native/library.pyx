"""A shared library that is opened when lbcore runs: the addresses of its functions, for pointers in Cython.

The functions are called as plain C functions, through pointers whose types the caller declares: nothing checks them. I/O: opens
files of libraries.
"""

from libc.stdint cimport uintptr_t

cdef extern from "<dlfcn.h>" nogil:
    void* dlopen(const char* path, int flags)
    void* dlsym(void* handle, const char* name)
    char* dlerror()
    int RTLD_NOW_ "RTLD_NOW"
    int RTLD_LOCAL_ "RTLD_LOCAL"

ctypedef struct Info:
    int age
    int number
    const char* text

ctypedef const Info* (*info_fn)(int least) noexcept
ctypedef unsigned long (*number_fn)() noexcept
ctypedef const char* (*text_fn)(int which) noexcept

DEEP_BIND = 8       # RTLD_DEEPBIND of glibc


cdef class SharedLibrary:
    """An open library. It is never closed, so that pointers into it stay valid for the whole life of the process.

    path   of the file, or a name that the loader looks for.
    flags  added to RTLD_NOW and RTLD_LOCAL.

    Raises OSError with the loader's reason.
    """

    cdef void* _handle
    cdef readonly str path

    def __cinit__(self, str path, int flags=0):
        self.path = path
        cdef bytes name = path.encode()
        self._handle = dlopen(name, RTLD_NOW_ | RTLD_LOCAL_ | flags)
        if self._handle is NULL:
            raise OSError(_reason(path))

    def address(self, str name):
        """The address of a function; 0: the library has none of that name."""
        cdef bytes encoded = name.encode()
        return <uintptr_t>dlsym(self._handle, encoded)


def version_info(size_t address):
    """The number and the text of a version, by the address of a function as nghttp2, nghttp3 and ngtcp2 have it.

    None: there is no such function, or it is newer than what it is asked for.
    """
    cdef const Info* info = NULL
    if address:
        info = (<info_fn>address)(0)
    return None if info is NULL else (info.number, info.text.decode())


def version_number(size_t address):
    """The number of a version, by the address of a function as OpenSSL_version_num; 0: there is none."""
    return (<number_fn>address)() if address else 0


def version_text(size_t address):
    """The text of a version, by the address of a function as OpenSSL_version; empty: there is none."""
    return (<text_fn>address)(0).decode() if address else ""


cdef str _reason(str path):
    cdef char* said = dlerror()
    return said.decode(errors="replace") if said is not NULL else f"{path} cannot be opened"
