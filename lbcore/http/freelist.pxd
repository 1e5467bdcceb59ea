# Objects of one class that wait for their next use, the last one that came first.
#
# With many requests at once, an object that waits has left the cache by the time it is taken. The list is an array, and not linked
# through its objects, so that taking one does not wait for the next one, whose first lines are fetched meanwhile.

from cpython.object cimport PyObject

from lbcore.http.sanitizer cimport POOLS

cdef extern from *:
    """
    /* The first lines of an object, to be written: of the classes kept here, what a new use writes first. */
    #define lbcore_fetch(object) do { \\
        const char *line = (const char *)(object); \\
        __builtin_prefetch(line, 1); __builtin_prefetch(line + 64, 1); \\
        __builtin_prefetch(line + 128, 1); __builtin_prefetch(line + 192, 1); \\
    } while (0)
    """
    void fetch "lbcore_fetch"(PyObject* object) noexcept nogil
    void Py_INCREF(PyObject* object) noexcept
    void Py_DECREF(PyObject* object) noexcept

cdef enum:
    FREELIST_MOST = 1024

cdef struct FreeList:
    PyObject* objects[FREELIST_MOST]   # the list owns a reference to each
    int count


cdef inline object freelist_take(FreeList* free):
    """The object that was given last; None if none waits. O(1)."""
    cdef PyObject* taken
    if free.count == 0:
        return None
    free.count -= 1
    taken = free.objects[free.count]
    if free.count:
        fetch(free.objects[free.count - 1])
    found = <object>taken
    Py_DECREF(taken)           # the list's reference
    return found


cdef inline bint freelist_give(FreeList* free, object given) noexcept:
    """Keep an object for its next use. False: there are enough. O(1)."""
    if not POOLS or free.count == FREELIST_MOST:
        return False
    Py_INCREF(<PyObject*>given)
    free.objects[free.count] = <PyObject*>given
    free.count += 1
    return True
