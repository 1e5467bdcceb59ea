# Numbers as text.


cdef inline char* put_decimal(char* out, Py_ssize_t value) noexcept nogil:
    """Digits, up to 20 bytes."""
    cdef char digits[20]
    cdef int n = 0
    while True:
        digits[n] = <char>(c"0" + value % 10)
        n += 1
        value //= 10
        if value == 0:
            break
    while n > 0:
        n -= 1
        out[0] = digits[n]
        out += 1
    return out
