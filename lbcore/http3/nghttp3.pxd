# The functions of nghttp3 (1.15 or later) that lbcore uses, as pointers. NULL before `load`. See ngtcp2.pxd on versions and callbacks.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from lbcore.http.field_list cimport Field
from lbcore.http.heap cimport LibraryMemory
from lbcore.http3.ngtcp2 cimport Vec

cdef enum:
    NGHTTP3_SETTINGS_V1 = 1
    NGHTTP3_CALLBACKS_V1 = 1
    NGHTTP3_PRI_V1 = 1
    NGHTTP3_DATA_FLAG_EOF = 1
    NGHTTP3_DATA_FLAG_NO_END_STREAM = 2
    NGHTTP3_ERR_WOULDBLOCK = -103
    NGHTTP3_ERR_MALFORMED_HTTP_HEADER = -105
    NGHTTP3_ERR_MALFORMED_HTTP_MESSAGING = -107
    NGHTTP3_ERR_STREAM_NOT_FOUND = -110
    NGHTTP3_ERR_H3_EXCESSIVE_LOAD = -610
    NGHTTP3_ERR_CALLBACK_FAILURE = -902
    H3_NO_ERROR = 0x100
    H3_GENERAL_PROTOCOL_ERROR = 0x101
    H3_INTERNAL_ERROR = 0x102
    H3_EXCESSIVE_LOAD = 0x107
    H3_REQUEST_REJECTED = 0x10B
    H3_REQUEST_CANCELLED = 0x10C
    H3_MESSAGE_ERROR = 0x10E
    H3_CONNECT_ERROR = 0x10F


cdef struct H3Settings:        # nghttp3_settings, the first version
    uint64_t max_field_section_size
    size_t qpack_max_dtable_capacity
    size_t qpack_encoder_max_dtable_capacity
    size_t qpack_blocked_streams
    uint8_t enable_connect_protocol
    uint8_t h3_datagram

cdef struct H3Priority:        # nghttp3_pri, aligned to 8 bytes
    uint32_t urgency
    uint8_t incremental
    uint8_t unused[3]

ctypedef int (*h3_stream_fn)(void* conn, int64_t stream_id, void* data, void* stream_data) noexcept
ctypedef int (*h3_count_fn)(void* conn, int64_t stream_id, uint64_t count, void* data, void* stream_data) noexcept
ctypedef int (*h3_data_fn)(void* conn, int64_t stream_id, const uint8_t* bytes, size_t length, void* data, void* stream_data) noexcept
ctypedef int (*h3_consume_fn)(void* conn, int64_t stream_id, size_t count, void* data, void* stream_data) noexcept
ctypedef int (*h3_header_fn)(void* conn, int64_t stream_id, int32_t token, void* name, void* value, uint8_t flags, void* data,
                             void* stream_data) noexcept
ctypedef int (*h3_end_fn)(void* conn, int64_t stream_id, int fin, void* data, void* stream_data) noexcept
ctypedef int (*h3_shutdown_fn)(void* conn, int64_t stream_id, void* data) noexcept

cdef struct H3Callbacks:       # nghttp3_callbacks, the first version
    h3_count_fn acked_stream_data
    h3_count_fn stream_close
    h3_data_fn recv_data
    h3_consume_fn deferred_consume
    h3_stream_fn begin_headers
    h3_header_fn recv_header
    h3_end_fn end_headers
    h3_stream_fn begin_trailers
    h3_header_fn recv_trailer
    h3_end_fn end_trailers
    h3_count_fn stop_sending
    h3_stream_fn end_stream
    h3_count_fn reset_stream
    h3_shutdown_fn shutdown
    void* recv_settings

ctypedef ssize_t (*h3_read_fn)(void* conn, int64_t stream_id, Vec* pieces, size_t count, uint32_t* flags, void* data,
                               void* stream_data) noexcept

cdef struct H3DataReader:
    h3_read_fn read

ctypedef void (*h3_settings_fn)(int version, H3Settings* settings) noexcept
ctypedef int (*h3_server_new_fn)(void** conn, int callbacks_version, const H3Callbacks* callbacks, int settings_version,
                                 const H3Settings* settings, const LibraryMemory* memory, void* data) noexcept
ctypedef void (*h3_conn_fn)(void* conn) noexcept
ctypedef int (*h3_bind_fn)(void* conn, int64_t stream_id) noexcept
ctypedef int (*h3_bind_two_fn)(void* conn, int64_t encoder, int64_t decoder) noexcept
ctypedef ssize_t (*h3_read_stream_fn)(void* conn, int64_t stream_id, const uint8_t* bytes, size_t length, int fin, uint64_t now) noexcept
ctypedef ssize_t (*h3_writev_fn)(void* conn, int64_t* stream_id, int* fin, Vec* pieces, size_t count) noexcept
ctypedef int (*h3_add_fn)(void* conn, int64_t stream_id, size_t count) noexcept
ctypedef int (*h3_add_acked_fn)(void* conn, int64_t stream_id, uint64_t count) noexcept
ctypedef void (*h3_block_fn)(void* conn, int64_t stream_id) noexcept
ctypedef int (*h3_close_fn)(void* conn, int64_t stream_id, uint64_t code) noexcept
ctypedef void (*h3_most_fn)(void* conn, uint64_t count) noexcept
ctypedef int (*h3_submit_fn)(void* conn, int64_t stream_id, const Field* fields, size_t count) noexcept
ctypedef int (*h3_respond_fn)(void* conn, int64_t stream_id, const Field* fields, size_t count, const H3DataReader* reader) noexcept
ctypedef int (*h3_ask_fn)(void* conn) noexcept
ctypedef int (*h3_set_data_fn)(void* conn, int64_t stream_id, void* data) noexcept
ctypedef void* (*h3_get_data_fn)(void* conn, int64_t stream_id) noexcept
ctypedef int (*h3_set_priority_fn)(void* conn, int64_t stream_id, int version, const H3Priority* priority) noexcept
ctypedef uint64_t (*h3_code_fn)(int error) noexcept
ctypedef Vec (*h3_text_fn)(const void* text) noexcept

cdef h3_settings_fn nghttp3_settings_default
cdef h3_server_new_fn nghttp3_conn_server_new
cdef h3_conn_fn nghttp3_conn_del
cdef h3_bind_fn nghttp3_conn_bind_control_stream
cdef h3_bind_two_fn nghttp3_conn_bind_qpack_streams
cdef h3_read_stream_fn nghttp3_conn_read_stream2
cdef h3_writev_fn nghttp3_conn_writev_stream
cdef h3_add_fn nghttp3_conn_add_write_offset
cdef h3_add_acked_fn nghttp3_conn_add_ack_offset
cdef h3_block_fn nghttp3_conn_block_stream
cdef h3_bind_fn nghttp3_conn_unblock_stream
cdef h3_bind_fn nghttp3_conn_resume_stream
cdef h3_block_fn nghttp3_conn_shutdown_stream_write
cdef h3_bind_fn nghttp3_conn_shutdown_stream_read
cdef h3_close_fn nghttp3_conn_close_stream
cdef h3_most_fn nghttp3_conn_set_max_client_streams_bidi
cdef h3_submit_fn nghttp3_conn_submit_info
cdef h3_submit_fn nghttp3_conn_submit_trailers
cdef h3_respond_fn nghttp3_conn_submit_response
cdef h3_ask_fn nghttp3_conn_submit_shutdown_notice
cdef h3_ask_fn nghttp3_conn_shutdown
cdef h3_ask_fn nghttp3_conn_is_drained
cdef h3_set_data_fn nghttp3_conn_set_stream_user_data
cdef h3_get_data_fn nghttp3_conn_get_stream_user_data
cdef h3_set_priority_fn nghttp3_conn_set_server_stream_priority
cdef h3_code_fn nghttp3_err_infer_quic_app_error_code
cdef h3_text_fn nghttp3_rcbuf_get_buf


cdef int load_http() except -1
