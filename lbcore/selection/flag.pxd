# The check of flags: a text or a number in place of a bool is a mistake ("no" would be true).


cdef inline bint checked_flag(str name, object value) except -1:
    """A flag. Raises TypeError if the value is no bool."""
    if value is True:
        return True
    if value is False:
        return False
    raise TypeError(f"{name} has to be a bool, not {value!r}")
