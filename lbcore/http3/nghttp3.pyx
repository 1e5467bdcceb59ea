"""nghttp3's functions, which `load_http` finds."""

from libc.stdint cimport uint64_t, uintptr_t

from lbcore.http3.library import find

cdef object library = None     # keeps the libraries open; None before `load_http`


cdef int load_http() except -1:
    """Find all functions, once. Raises ImportError, which says what is missing."""
    global library
    global nghttp3_settings_default, nghttp3_conn_server_new
    global nghttp3_conn_del, nghttp3_conn_bind_control_stream
    global nghttp3_conn_bind_qpack_streams, nghttp3_conn_read_stream2
    global nghttp3_conn_writev_stream, nghttp3_conn_add_write_offset
    global nghttp3_conn_add_ack_offset, nghttp3_conn_block_stream
    global nghttp3_conn_unblock_stream, nghttp3_conn_resume_stream
    global nghttp3_conn_shutdown_stream_write, nghttp3_conn_shutdown_stream_read
    global nghttp3_conn_close_stream, nghttp3_conn_set_max_client_streams_bidi
    global nghttp3_conn_submit_info, nghttp3_conn_submit_trailers
    global nghttp3_conn_submit_response, nghttp3_conn_submit_shutdown_notice
    global nghttp3_conn_shutdown, nghttp3_conn_is_drained
    global nghttp3_conn_set_stream_user_data, nghttp3_conn_set_server_stream_priority
    global nghttp3_err_infer_quic_app_error_code, nghttp3_rcbuf_get_buf
    global nghttp3_conn_get_stream_user_data
    cdef H3Settings settings
    if library is not None:
        return 0
    found = find()
    nghttp3_settings_default = <h3_settings_fn><uintptr_t>found.address("nghttp3_settings_default_versioned")
    nghttp3_conn_server_new = <h3_server_new_fn><uintptr_t>found.address("nghttp3_conn_server_new_versioned")
    nghttp3_conn_del = <h3_conn_fn><uintptr_t>found.address("nghttp3_conn_del")
    nghttp3_conn_bind_control_stream = <h3_bind_fn><uintptr_t>found.address("nghttp3_conn_bind_control_stream")
    nghttp3_conn_bind_qpack_streams = <h3_bind_two_fn><uintptr_t>found.address("nghttp3_conn_bind_qpack_streams")
    nghttp3_conn_read_stream2 = <h3_read_stream_fn><uintptr_t>found.address("nghttp3_conn_read_stream2")
    nghttp3_conn_writev_stream = <h3_writev_fn><uintptr_t>found.address("nghttp3_conn_writev_stream")
    nghttp3_conn_add_write_offset = <h3_add_fn><uintptr_t>found.address("nghttp3_conn_add_write_offset")
    nghttp3_conn_add_ack_offset = <h3_add_acked_fn><uintptr_t>found.address("nghttp3_conn_add_ack_offset")
    nghttp3_conn_block_stream = <h3_block_fn><uintptr_t>found.address("nghttp3_conn_block_stream")
    nghttp3_conn_unblock_stream = <h3_bind_fn><uintptr_t>found.address("nghttp3_conn_unblock_stream")
    nghttp3_conn_resume_stream = <h3_bind_fn><uintptr_t>found.address("nghttp3_conn_resume_stream")
    nghttp3_conn_shutdown_stream_write = <h3_block_fn><uintptr_t>found.address("nghttp3_conn_shutdown_stream_write")
    nghttp3_conn_shutdown_stream_read = <h3_bind_fn><uintptr_t>found.address("nghttp3_conn_shutdown_stream_read")
    nghttp3_conn_close_stream = <h3_close_fn><uintptr_t>found.address("nghttp3_conn_close_stream")
    nghttp3_conn_set_max_client_streams_bidi = <h3_most_fn><uintptr_t>found.address("nghttp3_conn_set_max_client_streams_bidi")
    nghttp3_conn_submit_info = <h3_submit_fn><uintptr_t>found.address("nghttp3_conn_submit_info")
    nghttp3_conn_submit_trailers = <h3_submit_fn><uintptr_t>found.address("nghttp3_conn_submit_trailers")
    nghttp3_conn_submit_response = <h3_respond_fn><uintptr_t>found.address("nghttp3_conn_submit_response")
    nghttp3_conn_submit_shutdown_notice = <h3_ask_fn><uintptr_t>found.address("nghttp3_conn_submit_shutdown_notice")
    nghttp3_conn_shutdown = <h3_ask_fn><uintptr_t>found.address("nghttp3_conn_shutdown")
    nghttp3_conn_is_drained = <h3_ask_fn><uintptr_t>found.address("nghttp3_conn_is_drained")
    nghttp3_conn_get_stream_user_data = <h3_get_data_fn><uintptr_t>found.address("nghttp3_conn_get_stream_user_data")
    nghttp3_conn_set_stream_user_data = <h3_set_data_fn><uintptr_t>found.address("nghttp3_conn_set_stream_user_data")
    nghttp3_conn_set_server_stream_priority = <h3_set_priority_fn><uintptr_t>found.address("nghttp3_conn_set_server_stream_priority_versioned")
    nghttp3_err_infer_quic_app_error_code = <h3_code_fn><uintptr_t>found.address("nghttp3_err_infer_quic_app_error_code")
    nghttp3_rcbuf_get_buf = <h3_text_fn><uintptr_t>found.address("nghttp3_rcbuf_get_buf")
    nghttp3_settings_default(NGHTTP3_SETTINGS_V1, &settings)
    if settings.max_field_section_size != (<uint64_t>1 << 62) - 1 or settings.qpack_max_dtable_capacity != 0:
        raise ImportError(f"HTTP/3: the structures of {found.version} are not laid out as expected")
    library = found
    return 0
