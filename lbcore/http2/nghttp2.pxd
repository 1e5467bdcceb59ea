# The functions of libnghttp2 (1.52 or later) that lbcore uses, as pointers. NULL before `load`.
#
# The library calls callbacks on the calling thread, which holds the GIL. A callback must neither raise, nor call
# `nghttp2_session_mem_recv`, `nghttp2_session_mem_send` or `nghttp2_session_del`.

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from lbcore.http.field_list cimport Field
from lbcore.http.heap cimport LibraryMemory

cdef enum:
    NGHTTP2_DATA = 0
    NGHTTP2_HEADERS = 1
    NGHTTP2_PRIORITY = 2
    NGHTTP2_RST_STREAM = 3
    NGHTTP2_SETTINGS = 4
    NGHTTP2_PING = 6
    NGHTTP2_GOAWAY = 7
    NGHTTP2_WINDOW_UPDATE = 8
    NGHTTP2_PRIORITY_UPDATE = 0x10

    NGHTTP2_FLAG_NONE = 0
    NGHTTP2_FLAG_END_STREAM = 1    # of DATA and HEADERS; of PING and SETTINGS it is ACK
    NGHTTP2_FLAG_END_HEADERS = 4

    NGHTTP2_SETTINGS_HEADER_TABLE_SIZE = 1
    NGHTTP2_SETTINGS_ENABLE_PUSH = 2
    NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS = 3
    NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE = 4
    NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE = 6
    NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL = 8
    NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES = 9

    NGHTTP2_NO_ERROR = 0
    NGHTTP2_PROTOCOL_ERROR = 1
    NGHTTP2_INTERNAL_ERROR = 2
    NGHTTP2_STREAM_CLOSED = 5
    NGHTTP2_REFUSED_STREAM = 7
    NGHTTP2_CANCEL = 8
    NGHTTP2_CONNECT_ERROR = 10
    NGHTTP2_ENHANCE_YOUR_CALM = 11
    NGHTTP2_HTTP_1_1_REQUIRED = 13

    NGHTTP2_DATA_FLAG_EOF = 1
    NGHTTP2_DATA_FLAG_NO_END_STREAM = 2
    NGHTTP2_DATA_FLAG_NO_COPY = 4

    NGHTTP2_ERR_WOULDBLOCK = -504
    NGHTTP2_ERR_DEFERRED = -508
    NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE = -521
    NGHTTP2_ERR_BAD_CLIENT_MAGIC = -903
    NGHTTP2_ERR_CALLBACK_FAILURE = -902
    NGHTTP2_ERR_FLOODED = -904


cdef struct FrameHead:         # nghttp2_frame_hd, which every nghttp2_frame begins with
    size_t length
    int32_t stream_id
    uint8_t type
    uint8_t flags
    uint8_t reserved

cdef struct CodeFrame:         # nghttp2_rst_stream
    FrameHead head
    uint32_t code

cdef struct GoawayFrame:       # nghttp2_goaway, as far as it is read
    FrameHead head
    int32_t last_stream_id
    uint32_t code

cdef union DataSource:
    int fd
    void* ptr

ctypedef ssize_t (*read_fn)(void* session, int32_t stream_id, uint8_t* into, size_t length, uint32_t* flags,
                            DataSource* source, void* data) noexcept

cdef struct DataProvider:
    DataSource source
    read_fn read

cdef struct Setting:
    int32_t id
    uint32_t value

cdef struct ExtendedPriority:  # nghttp2_extpri
    uint32_t urgency
    int incremental

ctypedef int (*frame_fn)(void* session, const FrameHead* frame, void* data) noexcept
ctypedef int (*header_fn)(void* session, const FrameHead* frame, const uint8_t* name, size_t name_length,
                          const uint8_t* value, size_t value_length, uint8_t flags, void* data) noexcept
ctypedef int (*chunk_fn)(void* session, uint8_t flags, int32_t stream_id, const uint8_t* bytes, size_t length,
                         void* data) noexcept
ctypedef int (*close_fn)(void* session, int32_t stream_id, uint32_t code, void* data) noexcept
ctypedef int (*invalid_fn)(void* session, const FrameHead* frame, int error, void* data) noexcept
ctypedef int (*send_data_fn)(void* session, const FrameHead* frame, const uint8_t* head, size_t length,
                             DataSource* source, void* data) noexcept

ctypedef int (*new_fn)(void** made) noexcept
ctypedef void (*delete_fn)(void* item) noexcept
ctypedef void (*set_frame_fn)(void* callbacks, frame_fn callback) noexcept
ctypedef void (*set_header_fn)(void* callbacks, header_fn callback) noexcept
ctypedef void (*set_chunk_fn)(void* callbacks, chunk_fn callback) noexcept
ctypedef void (*set_close_fn)(void* callbacks, close_fn callback) noexcept
ctypedef void (*set_invalid_fn)(void* callbacks, invalid_fn callback) noexcept
ctypedef void (*set_send_data_fn)(void* callbacks, send_data_fn callback) noexcept
ctypedef void (*option_int_fn)(void* option, int value) noexcept
ctypedef void (*option_uint32_fn)(void* option, uint32_t value) noexcept
ctypedef void (*option_size_fn)(void* option, size_t value) noexcept
ctypedef void (*option_byte_fn)(void* option, uint8_t value) noexcept
ctypedef void (*option_rate_fn)(void* option, uint64_t burst, uint64_t rate) noexcept
ctypedef int (*session_new_fn)(void** session, const void* callbacks, void* data, const void* option, const LibraryMemory* memory) noexcept
ctypedef ssize_t (*mem_recv_fn)(void* session, const uint8_t* bytes, size_t length) noexcept
ctypedef ssize_t (*mem_send_fn)(void* session, const uint8_t** bytes) noexcept
ctypedef int (*ask_fn)(void* session) noexcept
ctypedef int (*submit_settings_fn)(void* session, uint8_t flags, const Setting* settings, size_t count) noexcept
ctypedef int (*submit_response_fn)(void* session, int32_t stream_id, const Field* fields, size_t count,
                                   const DataProvider* provider) noexcept
ctypedef int32_t (*submit_request_fn)(void* session, const void* priority, const Field* fields, size_t count,
                                      const DataProvider* provider, void* stream_data) noexcept
ctypedef int32_t (*submit_headers_fn)(void* session, uint8_t flags, int32_t stream_id, const void* priority,
                                      const Field* fields, size_t count, void* stream_data) noexcept
ctypedef int (*submit_trailer_fn)(void* session, int32_t stream_id, const Field* fields, size_t count) noexcept
ctypedef int (*submit_code_fn)(void* session, uint8_t flags, int32_t stream_id, uint32_t code) noexcept
ctypedef int (*submit_goaway_fn)(void* session, uint8_t flags, int32_t last, uint32_t code, const uint8_t* text,
                                 size_t length) noexcept
ctypedef int (*submit_ping_fn)(void* session, uint8_t flags, const uint8_t* text) noexcept
ctypedef int (*terminate_fn)(void* session, uint32_t code) noexcept
ctypedef int (*stream_fn)(void* session, int32_t stream_id) noexcept
ctypedef int (*consume_fn)(void* session, int32_t stream_id, size_t size) noexcept
ctypedef int (*consume_connection_fn)(void* session, size_t size) noexcept
ctypedef int (*window_fn)(void* session, uint8_t flags, int32_t stream_id, int32_t size) noexcept
ctypedef void* (*get_data_fn)(void* session, int32_t stream_id) noexcept
ctypedef int (*set_data_fn)(void* session, int32_t stream_id, void* data) noexcept
ctypedef int32_t (*last_stream_fn)(void* session) noexcept
ctypedef int (*priority_fn)(void* session, int32_t stream_id, const ExtendedPriority* priority, int for_good) noexcept
ctypedef uint32_t (*remote_setting_fn)(void* session, int id) noexcept

cdef new_fn nghttp2_session_callbacks_new
cdef set_frame_fn nghttp2_session_callbacks_set_on_begin_headers_callback
cdef set_frame_fn nghttp2_session_callbacks_set_on_frame_recv_callback
cdef set_header_fn nghttp2_session_callbacks_set_on_header_callback
cdef set_header_fn nghttp2_session_callbacks_set_on_invalid_header_callback
cdef set_chunk_fn nghttp2_session_callbacks_set_on_data_chunk_recv_callback
cdef set_close_fn nghttp2_session_callbacks_set_on_stream_close_callback
cdef set_invalid_fn nghttp2_session_callbacks_set_on_invalid_frame_recv_callback
cdef set_send_data_fn nghttp2_session_callbacks_set_send_data_callback
cdef new_fn nghttp2_option_new
cdef delete_fn nghttp2_option_del
cdef option_int_fn nghttp2_option_set_no_auto_window_update
cdef option_int_fn nghttp2_option_set_no_closed_streams
cdef option_size_fn nghttp2_option_set_max_outbound_ack
cdef option_size_fn nghttp2_option_set_max_send_header_block_length
cdef option_size_fn nghttp2_option_set_max_deflate_dynamic_table_size
cdef option_uint32_fn nghttp2_option_set_peer_max_concurrent_streams
cdef option_byte_fn nghttp2_option_set_builtin_recv_extension_type
cdef option_rate_fn nghttp2_option_set_stream_reset_rate_limit     # NULL: the library has none
cdef session_new_fn nghttp2_session_server_new3
cdef session_new_fn nghttp2_session_client_new3
cdef delete_fn nghttp2_session_del
cdef mem_recv_fn nghttp2_session_mem_recv
cdef mem_send_fn nghttp2_session_mem_send
cdef ask_fn nghttp2_session_want_read
cdef ask_fn nghttp2_session_want_write
cdef ask_fn nghttp2_submit_shutdown_notice
cdef submit_settings_fn nghttp2_submit_settings
cdef submit_response_fn nghttp2_submit_response
cdef submit_request_fn nghttp2_submit_request
cdef submit_headers_fn nghttp2_submit_headers
cdef submit_trailer_fn nghttp2_submit_trailer
cdef submit_code_fn nghttp2_submit_rst_stream
cdef submit_goaway_fn nghttp2_submit_goaway
cdef submit_ping_fn nghttp2_submit_ping
cdef terminate_fn nghttp2_session_terminate_session
cdef stream_fn nghttp2_session_resume_data
cdef stream_fn nghttp2_session_get_stream_local_close
cdef consume_fn nghttp2_session_consume
cdef consume_connection_fn nghttp2_session_consume_connection
cdef window_fn nghttp2_session_set_local_window_size
cdef get_data_fn nghttp2_session_get_stream_user_data
cdef set_data_fn nghttp2_session_set_stream_user_data
cdef last_stream_fn nghttp2_session_get_last_proc_stream_id
cdef priority_fn nghttp2_session_change_extpri_stream_priority
cdef remote_setting_fn nghttp2_session_get_remote_settings


cdef int load() except -1
