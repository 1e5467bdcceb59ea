/* Picking from C, with a selector made in Python. This header is self-contained: it needs no header of Python.
 *
 * A capsule made by `lbcore.selection.capsule(selector)`, named LBCORE_SELECTOR_NAME, holds a `lbcore_selector`:
 *
 *     lbcore_selector *lb = PyCapsule_GetPointer(capsule, LBCORE_SELECTOR_NAME);
 *     if (lb == NULL || lb->abi != LBCORE_SELECTION_ABI) ...
 *     if (lb->begin(lb->state) < 0) return NULL;      // the exception is set
 *     Py_BEGIN_ALLOW_THREADS
 *     for (...) index = lb->pick(lb->state, key);
 *     Py_END_ALLOW_THREADS
 *     lb->end(lb->state);
 *
 * Rules. `begin` and `end` are called with the GIL (free-threaded: with an attached thread state), in pairs, which may nest.
 * `pick` and `hash` are called between them, with or without the GIL. If `exclusive` is not 0, one thread at a time may call `pick`,
 * otherwise any number of threads. Between `begin` and `end` all changes of the selector wait, and if `exclusive` is not 0, picks
 * from Python as well: keep the section short, and do not change the selector in it from the same thread, which would deadlock.
 * The capsule owns the selector; nothing here may be used after the capsule is freed. An index refers to
 * `selector.servers`, which does not change between `begin` and `end`.
 */
#ifndef LBCORE_SELECTION_H
#define LBCORE_SELECTION_H

#include <stddef.h>
#include <stdint.h>

#define LBCORE_SELECTION_ABI 1
#define LBCORE_SELECTOR_NAME "lbcore.selection.selector"
#define LBCORE_NO_SERVER (-1)

typedef struct lbcore_selector {
    uint32_t abi;        /* LBCORE_SELECTION_ABI of the package; if it differs from this file's, use no other field */
    uint32_t exclusive;  /* not 0: a pick changes the next one, so only one thread at a time may pick */
    uint32_t keyed;      /* not 0: chooses by the key, which is a hash; 0: ignores the key */
    uint32_t reserved;
    void *state;
    /* The index of the server for the next request, or LBCORE_NO_SERVER if none may be picked. */
    int64_t (*pick)(void *state, uint64_t key);
    /* The key for `pick`: the hash of the UTF-8 of a str, or of bytes. */
    uint64_t (*hash)(void *state, const char *data, size_t length);
    /* 0, or -1 with a Python exception set. */
    int (*begin)(void *state);
    void (*end)(void *state);
} lbcore_selector;

#endif
