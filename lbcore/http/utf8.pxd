# UTF-8 in bytes that anybody may have sent.

from libc.stdint cimport uint64_t
from libc.string cimport memcpy


cdef inline Py_ssize_t utf8_step(const unsigned char* text, Py_ssize_t left) noexcept nogil:
    """The length of the character of UTF-8 at the beginning of a text; 0: there is none."""
    cdef unsigned char first = text[0]
    cdef Py_ssize_t length, i
    if first < 0x80:
        return 1
    if first < 0xC2 or first > 0xF4:
        return 0
    length = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if length > left:
        return 0
    for i in range(1, length):
        if text[i] & 0xC0 != 0x80:
            return 0
    if (first == 0xE0 and text[1] < 0xA0) or (first == 0xED and text[1] > 0x9F) or (first == 0xF0 and text[1] < 0x90) \
            or (first == 0xF4 and text[1] > 0x8F):
        return 0
    return length


cdef inline bint is_ascii(const char* text, Py_ssize_t length) noexcept nogil:
    """Whether all bytes are below 128."""
    cdef Py_ssize_t i = 0
    cdef uint64_t high = 0, word
    while i + 8 <= length:
        memcpy(&word, text + i, 8)
        high |= word
        i += 8
    while i < length:
        high |= <unsigned char>text[i]
        i += 1
    return high & <uint64_t>0x8080808080808080 == 0


cdef inline bint is_utf8(const char* text, Py_ssize_t length) noexcept nogil:
    """Whether all bytes are characters of UTF-8."""
    cdef Py_ssize_t i = 0, step
    if is_ascii(text, length):
        return True
    while i < length:
        step = utf8_step(<const unsigned char*>text + i, length - i)
        if step == 0:
            return False
        i += step
    return True
