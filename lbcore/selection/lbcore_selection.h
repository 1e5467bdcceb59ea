/* Picking from C, with a selector that Python has made. Stands alone: needs nothing of Python to compile.
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
 * `pick` and `hash` are called between them, with or without it. `pick` is for one thread at a time while `exclusive` is not 0, for
 * any number otherwise. Between `begin` and `end` every change of the selector waits, and picks from Python too while `exclusive`
 * is not 0: keep it short, and change nothing in between from the same thread, which would wait for itself.
 * The capsule keeps the selector alive; nothing here may be used once the capsule is gone. An index counts as in
 * `selector.servers`, which stays as it is between `begin` and `end`.
 */
#ifndef LBCORE_SELECTION_H
#define LBCORE_SELECTION_H

#include <stddef.h>
#include <stdint.h>

#define LBCORE_SELECTION_ABI 1
#define LBCORE_SELECTOR_NAME "lbcore.selection.selector"
#define LBCORE_NOBODY (-1)

typedef struct lbcore_selector {
    uint32_t abi;        /* LBCORE_SELECTION_ABI of the package; other than that of this file: use nothing else */
    uint32_t exclusive;  /* not 0: a pick changes what the next one is */
    uint32_t keyed;      /* not 0: chooses by the key, a hash; 0: the key is ignored */
    uint32_t reserved;
    void *state;
    /* The index of the server for the next request, or LBCORE_NOBODY. */
    int64_t (*pick)(void *state, uint64_t key);
    /* What `pick` wants for a key: of a str its UTF-8, of bytes themselves. */
    uint64_t (*hash)(void *state, const char *data, size_t length);
    /* 0, or -1 with a Python exception set. */
    int (*begin)(void *state);
    void (*end)(void *state);
} lbcore_selector;

#endif
