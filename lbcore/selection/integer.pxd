# The 64 bits of most Python integers, inline: CPython's own functions loop, and check twice for overflow.

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <stdint.h>

    /* Digits as CPython lays them out in cpython/longintrepr.h: least first, of 30 bits; the tag since 3.12. */
    static inline int lb_integer_bits(PyObject *key, uint64_t *bits)
    {
    #if PYLONG_BITS_IN_DIGIT == 30 && !defined(Py_LIMITED_API) && !defined(PYPY_VERSION)
    #if PY_VERSION_HEX >= 0x030C0000
        const digit *digits = ((PyLongObject *)key)->long_value.ob_digit;
        const uintptr_t tag = ((PyLongObject *)key)->long_value.lv_tag;
        const Py_ssize_t count = (tag & 3) == 2 ? -1 : (Py_ssize_t)(tag >> 3);
    #else
        const digit *digits = ((PyLongObject *)key)->ob_digit;
        const Py_ssize_t count = Py_SIZE(key);
    #endif
        if (count == 1)
            *bits = digits[0];
        else if (count == 2)
            *bits = digits[0] | (uint64_t)digits[1] << 30;
        else if (count == 3 && digits[2] < 16)
            *bits = digits[0] | (uint64_t)digits[1] << 30 | (uint64_t)digits[2] << 60;
        else if (count == 0)
            *bits = 0;
        else
            return 0;
        return 1;
    #else
        (void)key; (void)bits;
        return 0;
    #endif
    }
    """
    bint lb_integer_bits(object key, uint64_t* bits) noexcept     # False: negative, or more than 64 bits; `key` is an int
