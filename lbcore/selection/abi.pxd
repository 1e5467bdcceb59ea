# The number that changes when a struct or a signature in a `.pxd` of lbcore.selection does. Compare it with
# `lbcore.selection.ABI` at import where a module was built against another version.

cdef enum:
    SELECTION_ABI = 1
