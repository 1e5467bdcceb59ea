"""The buffers of `pick_many`: hashes of keys in, indexes out. No I/O."""

import array

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from lbcore.selection.algorithm cimport Algorithm


def fill_buffer(Algorithm selector, wanted, out):
    """`Selector.pick_many`."""
    cdef Py_buffer keys, places
    cdef uint64_t* hashes = NULL
    cdef Py_ssize_t n, i
    cdef bint has_keys = False, has_places = False
    if not selector.keyed:
        n = wanted
        if n < 0:
            raise ValueError(f"{n} picks are wanted: 0 at least")
    try:
        if selector.keyed:
            if PyObject_CheckBuffer(wanted) and not isinstance(wanted, bytes):
                PyObject_GetBuffer(wanted, &keys, PyBUF_C_CONTIGUOUS)
                has_keys = True
                if keys.itemsize != 8:
                    raise TypeError(f"hashes of keys have 8 bytes each, not {keys.itemsize}")
                n = keys.len // 8
            else:
                wanted = list(wanted)
                n = len(wanted)
                hashes = <uint64_t*>calloc(n + 1, sizeof(uint64_t))
                if hashes == NULL:
                    raise MemoryError
                for i in range(n):
                    selector.key_hash(wanted[i], &hashes[i])
        if out is None:
            out = array.array("I", bytes(4 * n))
        PyObject_GetBuffer(out, &places, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE | PyBUF_FORMAT)
        has_places = True
        if places.itemsize != 4 or places.len < 4 * n:
            raise TypeError(f"the buffer has {places.len} bytes in items of {places.itemsize}: {n} items of 4 are needed")
        selector.fill(<uint64_t*>keys.buf if has_keys else hashes, <uint32_t*>places.buf, n)
    finally:
        free(hashes)
        if has_keys:
            PyBuffer_Release(&keys)
        if has_places:
            PyBuffer_Release(&places)
    return out
