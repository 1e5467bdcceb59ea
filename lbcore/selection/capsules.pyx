"""Selectors for C: a capsule with a struct of functions, see lbcore_selection.h. No I/O."""

from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

from lbcore.selection.abi cimport SELECTION_ABI
from lbcore.selection.hashing cimport hash_by
from lbcore.selection.algorithm cimport Algorithm
from lbcore.selection.wrapper cimport Wrapper

if LBCORE_SELECTION_ABI != SELECTION_ABI:
    raise ImportError(f"lbcore_selection.h has ABI {LBCORE_SELECTION_ABI}, abi.pxd {SELECTION_ABI}")

cdef struct Held:                      # what a capsule points to; owned by the capsule, whose destructor is `forget`
    lbcore_selector functions          # has to be first: C knows only this part
    void* selector                     # an Algorithm, of which the struct owns a reference
    void* wrapper                      # the outermost Wrapper, of which the struct owns a reference; NULL = none
    int begun                          # calls of `begin` without their `end`


cdef int64_t pick(void* state, uint64_t key) noexcept nogil:
    return (<Algorithm>(<Held*>state).selector).choose(key, NULL)


cdef uint64_t hash(void* state, const char* data, size_t length) noexcept nogil:
    cdef Held* held = <Held*>state
    return hash_by((<Algorithm>held.selector).hash, data, <Py_ssize_t>length, (<Algorithm>held.selector).seed)


cdef int begin(void* state) except -1:
    cdef Held* held = <Held*>state
    if held.begun == 0:
        if held.wrapper != NULL:
            (<Wrapper>held.wrapper).ahead()
        (<Algorithm>held.selector).enter()
    held.begun += 1
    return 0


cdef void end(void* state) noexcept:
    cdef Held* held = <Held*>state
    if held.begun:
        held.begun -= 1
        if held.begun == 0:
            (<Algorithm>held.selector).leave()


cdef void forget(object capsule) noexcept:
    cdef Held* held = <Held*>PyCapsule_GetPointer(capsule, LBCORE_SELECTOR_NAME)
    if held.begun:
        (<Algorithm>held.selector).leave()
    Py_DECREF(<object>held.selector)
    if held.wrapper != NULL:
        Py_DECREF(<object>held.wrapper)
    free(held)


def capsule(selector: object) -> object:
    """A capsule named "lbcore.selection.selector", through which C picks with this selector or wrapper: see lbcore_selection.h.

    A pick costs one call through a pointer more than the algorithm's. A capsule may be used by one thread at a time; make one for
    each thread. Raises TypeError for an object that is no selector.
    """
    cdef Algorithm base
    cdef Held* held
    if isinstance(selector, Wrapper):
        base = (<Wrapper>selector).base
    elif isinstance(selector, Algorithm):
        base = selector
    else:
        raise TypeError(f"a selector is needed, not {selector!r}")
    held = <Held*>calloc(1, sizeof(Held))
    if held == NULL:
        raise MemoryError
    held.selector = <void*>base
    Py_INCREF(base)
    if isinstance(selector, Wrapper):
        held.wrapper = <void*>selector
        Py_INCREF(selector)
    held.functions.abi = SELECTION_ABI
    held.functions.exclusive = base.stateful
    held.functions.keyed = base.keyed
    held.functions.state = held
    held.functions.pick = pick
    held.functions.hash = hash
    held.functions.begin = begin
    held.functions.end = end
    return PyCapsule_New(held, LBCORE_SELECTOR_NAME, forget)


def get_include() -> str:
    """The folder of lbcore_selection.h, for a C compiler's `-I`."""
    from os.path import dirname

    return dirname(__file__)
