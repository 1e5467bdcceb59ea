"""The key schedule of TLS 1.3 (RFC 8446 section 7.1), for OpenSSL in place of its own: a provider with one algorithm, TLS13-KDF.

A handshake derives more than twenty secrets. For each of them, OpenSSL's own implementation looks the hash up by its name, copies the
parameters to the heap, and makes contexts of HMAC there: half of a handshake's allocations, and several times the cost of the hashing.
This one works on the stack, and erases it. The hash functions are OpenSSL's.

It is used by the contexts of `new_context`, and by nothing else in the process. It replaces the algorithm of OpenSSL's default provider
alone: where another one is in force, such as that of a module with a certificate (FIPS), that one stays. So does OpenSSL's own if the
library has the functions below no more.
"""

from libc.string cimport memcmp, memcpy, memset, strcmp

from lbcore.tls.openssl cimport *

from lbcore.tls.openssl import library

cdef extern from "<string.h>" nogil:
    void explicit_bzero(void* at, size_t size)

cdef enum:
    OPERATION_KDF = 4          # OSSL_OP_KDF
    PROVIDER_QUERY = 1027      # OSSL_FUNC_PROVIDER_QUERY_OPERATION
    KDF_NEW = 1                # OSSL_FUNC_KDF_NEWCTX
    KDF_FREE = 3               # OSSL_FUNC_KDF_FREECTX
    KDF_DERIVE = 5             # OSSL_FUNC_KDF_DERIVE
    MODE_EXTRACT = 1           # EVP_KDF_HKDF_MODE_EXTRACT_ONLY
    MODE_EXPAND = 2            # EVP_KDF_HKDF_MODE_EXPAND_ONLY
    MOST_HASH_BYTES = 48       # of SHA-384
    MOST_BLOCK_BYTES = 128     # likewise
    STATE_WORDS = 27           # SHA512_CTX has 216 bytes, SHA256_CTX 112
    MOST_TEXT_BYTES = 255      # the lengths of a label and its context are one byte each
    INFO_BYTES = 515           # two bytes of length, both texts behind their lengths, a counter
    MOST_BLOCKS = 255          # of output, RFC 5869 section 2.3

ctypedef int (*hash_init_fn)(void*) noexcept nogil
ctypedef int (*hash_update_fn)(void*, const void*, size_t) noexcept nogil
ctypedef int (*hash_final_fn)(unsigned char*, void*) noexcept nogil
ctypedef int (*provider_init_fn)(const void*, const Dispatch*, const Dispatch**, void**) noexcept nogil
ctypedef int (*add_builtin_fn)(void*, const char*, provider_init_fn) noexcept
ctypedef void* (*try_load_fn)(void*, const char*, int) noexcept
ctypedef const char* (*provider_name_fn)(const void*) noexcept
ctypedef void* (*kdf_fetch_fn)(void*, const char*, const char*) noexcept
ctypedef const void* (*kdf_provider_fn)(const void*) noexcept
ctypedef void (*kdf_free_fn)(void*) noexcept

cdef struct Dispatch:          # OSSL_DISPATCH
    int number
    void* function

cdef struct Algorithm:         # OSSL_ALGORITHM
    const char* names
    const char* properties
    const Dispatch* functions
    const char* description

cdef struct Hash:
    hash_init_fn init
    hash_update_fn update
    hash_final_fn final
    size_t bytes               # of a hash
    size_t block               # bytes that are hashed at a time
    unsigned char of_nothing[MOST_HASH_BYTES]

cdef struct Text:
    const unsigned char* at
    size_t length

cdef struct Parameters:        # of a derivation; borrowed from the caller
    const Hash* hash
    int mode
    Text key, salt, prefix, label, data

cdef struct Work:              # on the stack; all is secret but the last INFO_BYTES
    unsigned long long[STATE_WORDS] state
    unsigned char[MOST_BLOCK_BYTES] pad
    unsigned char[MOST_HASH_BYTES] inner
    unsigned char[MOST_HASH_BYTES] salt
    unsigned char[MOST_HASH_BYTES] output
    unsigned char[MOST_HASH_BYTES + INFO_BYTES] message    # the output before, and what is said of the key

cdef Hash sha256, sha384
cdef unsigned char[MOST_HASH_BYTES] zeros
cdef char[1] no_state          # what the library takes for the state of a derivation: there is none between its calls
cdef Dispatch[4] functions
cdef Algorithm[2] algorithms
cdef Dispatch[2] provider
cdef const char* properties = NULL     # of the algorithms that contexts prefer; NULL: OpenSSL's own choice

memset(zeros, 0, sizeof(zeros))


cdef inline Text text_of(const unsigned char* at, size_t length) noexcept nogil:
    cdef Text text
    text.at, text.length = at, length
    return text


cdef bint hmac(const Hash* hash, Work* work, Text key, const unsigned char* data, size_t length, unsigned char* into) noexcept nogil:
    """HMAC (RFC 2104) with a key that is not longer than a block. Returns False on failure."""
    cdef size_t i
    memset(work.pad, 0x36, hash.block)
    for i in range(key.length):
        work.pad[i] ^= key.at[i]
    if (hash.init(work.state) != 1 or hash.update(work.state, work.pad, hash.block) != 1
            or hash.update(work.state, data, length) != 1 or hash.final(work.inner, work.state) != 1):
        return False
    for i in range(hash.block):
        work.pad[i] ^= 0x36 ^ 0x5C
    return (hash.init(work.state) == 1 and hash.update(work.state, work.pad, hash.block) == 1
            and hash.update(work.state, work.inner, hash.bytes) == 1 and hash.final(into, work.state) == 1)


cdef bint expand(const Parameters* parameters, Work* work, Text key, Text data, unsigned char* into, size_t length) noexcept nogil:
    """HKDF-Expand-Label: `length` bytes from a key, for a label and its context. Returns False on failure."""
    cdef const Hash* hash = parameters.hash
    cdef size_t named = parameters.prefix.length + parameters.label.length
    cdef unsigned char* info = work.message + MOST_HASH_BYTES
    cdef unsigned char* start = info
    cdef size_t done = 0, part
    cdef int counter = 0
    if not 0 < key.length <= hash.block or length > MOST_BLOCKS * hash.bytes:
        return False
    if named > MOST_TEXT_BYTES or data.length > MOST_TEXT_BYTES:
        return False
    info[0] = <unsigned char>(length >> 8)
    info[1] = <unsigned char>length
    info[2] = <unsigned char>named
    info += 3
    if parameters.prefix.length:
        memcpy(info, parameters.prefix.at, parameters.prefix.length)
    info += parameters.prefix.length
    if parameters.label.length:
        memcpy(info, parameters.label.at, parameters.label.length)
    info += parameters.label.length
    info[0] = <unsigned char>data.length
    info += 1
    if data.length:
        memcpy(info, data.at, data.length)
    info += data.length
    while done < length:
        counter += 1
        info[0] = <unsigned char>counter
        if not hmac(hash, work, key, start, info + 1 - start, work.output):
            return False
        part = min(length - done, hash.bytes)
        memcpy(into + done, work.output, part)
        done += part
        start = work.message + MOST_HASH_BYTES - hash.bytes
        memcpy(start, work.output, hash.bytes)
    return True


cdef bint extract(const Parameters* parameters, Work* work, unsigned char* into, size_t length) noexcept nogil:
    """The next of the three secrets: from the one before it, if there is one, and what is new, if there is anything. Returns False on
    failure."""
    cdef const Hash* hash = parameters.hash
    cdef Text salt = text_of(zeros, hash.bytes), new = parameters.key
    if length != hash.bytes:
        return False
    if parameters.salt.length:
        if not expand(parameters, work, parameters.salt, text_of(hash.of_nothing, hash.bytes), work.salt, hash.bytes):
            return False
        salt.at = work.salt
    if new.length == 0:
        new = text_of(zeros, hash.bytes)
    return hmac(hash, work, salt, new.at, new.length, into)


cdef bint is_named(const ossl_param* parameter, const char* name, size_t length) noexcept nogil:
    return parameter.data_size == length and memcmp(parameter.data, name, length) == 0


cdef bint read(Parameters* parameters, const ossl_param* given) noexcept nogil:
    """Read what OpenSSL gives for a derivation. Returns False if this is not understood."""
    memset(parameters, 0, sizeof(Parameters))
    while given != NULL and given.key != NULL:
        if strcmp(given.key, b"mode") == 0:
            if given.data_type != PARAM_INTEGER or given.data_size != sizeof(int):
                return False
            parameters.mode = (<const int*>given.data)[0]
        elif strcmp(given.key, b"digest") == 0:
            if is_named(given, b"SHA2-256", 8) or is_named(given, b"SHA256", 6):
                parameters.hash = &sha256
            elif is_named(given, b"SHA2-384", 8) or is_named(given, b"SHA384", 6):
                parameters.hash = &sha384
        elif strcmp(given.key, b"key") == 0:
            parameters.key = text_of(<const unsigned char*>given.data, given.data_size)
        elif strcmp(given.key, b"salt") == 0:
            parameters.salt = text_of(<const unsigned char*>given.data, given.data_size)
        elif strcmp(given.key, b"prefix") == 0:
            parameters.prefix = text_of(<const unsigned char*>given.data, given.data_size)
        elif strcmp(given.key, b"label") == 0:
            parameters.label = text_of(<const unsigned char*>given.data, given.data_size)
        elif strcmp(given.key, b"data") == 0:
            parameters.data = text_of(<const unsigned char*>given.data, given.data_size)
        given += 1
    return parameters.hash != NULL


# As OpenSSL calls a provider

cdef void* kdf_new(void* context) noexcept nogil:
    return no_state


cdef void kdf_free(void* state) noexcept nogil:
    pass


cdef int kdf_derive(void* state, unsigned char* into, size_t length, const ossl_param* given) noexcept nogil:
    cdef Parameters parameters
    cdef Work work
    cdef int done = 0
    if not read(&parameters, given):
        return 0
    if parameters.mode == MODE_EXPAND:
        done = expand(&parameters, &work, parameters.key, parameters.data, into, length)
    elif parameters.mode == MODE_EXTRACT:
        done = extract(&parameters, &work, into, length)
    explicit_bzero(&work, sizeof(Work) - INFO_BYTES)
    return done


cdef const Algorithm* provider_query(void* context, int operation, int* not_to_store) noexcept nogil:
    not_to_store[0] = 0
    return algorithms if operation == OPERATION_KDF else NULL


cdef int provider_init(const void* core, const Dispatch* given, const Dispatch** into, void** context) noexcept nogil:
    into[0] = provider
    context[0] = <void*>core
    return 1


cdef bint set_hash(Hash* hash, str name, size_t size, size_t block) except *:
    """Raises ImportError if the library lacks its functions."""
    cdef unsigned long long[STATE_WORDS] state
    hash.init = <hash_init_fn>at(f"{name}_Init")
    hash.update = <hash_update_fn>at(f"{name}_Update")
    hash.final = <hash_final_fn>at(f"{name}_Final")
    hash.bytes = size
    hash.block = block
    return hash.init(state) == 1 and hash.final(hash.of_nothing, state) == 1


cdef void* at(str name) except NULL:
    return <void*><size_t>library.address(name)


cdef bint is_default() except *:
    """Whether the algorithm in force is that of OpenSSL's default provider."""
    cdef void* kdf = (<kdf_fetch_fn>at("EVP_KDF_fetch"))(NULL, b"TLS13-KDF", NULL)
    cdef const char* name
    if kdf == NULL:
        ERR_clear_error()
        return False
    name = (<provider_name_fn>at("OSSL_PROVIDER_get0_name"))((<kdf_provider_fn>at("EVP_KDF_get0_provider"))(kdf))
    found = name != NULL and strcmp(name, b"default") == 0
    (<kdf_free_fn>at("EVP_KDF_free"))(kdf)
    return found


cdef bint offer() except *:
    """Make the algorithm known to OpenSSL. Raises ImportError if the library lacks a function."""
    functions[0] = Dispatch(KDF_NEW, <void*>kdf_new)
    functions[1] = Dispatch(KDF_FREE, <void*>kdf_free)
    functions[2] = Dispatch(KDF_DERIVE, <void*>kdf_derive)
    functions[3] = Dispatch(0, NULL)
    algorithms[0] = Algorithm(b"TLS13-KDF", b"provider=lbcore", &functions[0], NULL)
    algorithms[1] = Algorithm(NULL, NULL, NULL, NULL)
    provider[0] = Dispatch(PROVIDER_QUERY, <void*>provider_query)
    provider[1] = Dispatch(0, NULL)
    if not set_hash(&sha256, "SHA256", 32, 64) or not set_hash(&sha384, "SHA384", 48, 128) or not is_default():
        return False
    # 1: the other providers stay in force.
    if ((<add_builtin_fn>at("OSSL_PROVIDER_add_builtin"))(NULL, b"lbcore", provider_init) == 1
            and (<try_load_fn>at("OSSL_PROVIDER_try_load"))(NULL, b"lbcore", 1) != NULL):
        return True
    ERR_clear_error()
    return False


try:
    if offer():
        properties = b"?provider=lbcore"
except ImportError:
    pass


cdef void* new_context(const void* method) noexcept:
    """As SSL_CTX_new: a context for a method, or NULL."""
    return SSL_CTX_new_ex(NULL, properties, method)
