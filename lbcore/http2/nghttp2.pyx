"""libnghttp2's functions, which `load` finds."""

from libc.stdint cimport uintptr_t

from lbcore.http2.library import find

cdef object library = None     # keeps the library open; None before `load`


cdef void* at(str name, str older="") except NULL:
    """The address of a function, or of its equivalent in older versions. Raises ImportError."""
    cdef uintptr_t found = library.address(name, older) if older else library.address(name)
    if found == 0:
        raise ImportError(f"libnghttp2 {library.version} ({library.origin}) has no {older or name}")
    return <void*>found


cdef int load() except -1:
    """Find all functions, once. Returns 1, or 0 without a library. Raises ImportError if a function is missing."""
    global library
    global nghttp2_option_del, nghttp2_option_new, nghttp2_option_set_builtin_recv_extension_type
    global nghttp2_option_set_max_deflate_dynamic_table_size, nghttp2_option_set_max_outbound_ack, nghttp2_option_set_max_send_header_block_length
    global nghttp2_option_set_no_auto_window_update, nghttp2_option_set_no_closed_streams, nghttp2_option_set_peer_max_concurrent_streams
    global nghttp2_option_set_stream_reset_rate_limit, nghttp2_session_callbacks_new, nghttp2_session_callbacks_set_on_begin_headers_callback
    global nghttp2_session_callbacks_set_on_data_chunk_recv_callback, nghttp2_session_callbacks_set_on_frame_recv_callback, nghttp2_session_callbacks_set_on_header_callback
    global nghttp2_session_callbacks_set_on_invalid_frame_recv_callback, nghttp2_session_callbacks_set_on_invalid_header_callback, nghttp2_session_callbacks_set_on_stream_close_callback
    global nghttp2_session_callbacks_set_send_data_callback, nghttp2_session_change_extpri_stream_priority, nghttp2_session_client_new3
    global nghttp2_session_consume, nghttp2_session_consume_connection, nghttp2_session_del
    global nghttp2_session_get_last_proc_stream_id, nghttp2_session_get_remote_settings
    global nghttp2_session_get_stream_local_close, nghttp2_session_get_stream_user_data
    global nghttp2_session_mem_recv, nghttp2_session_mem_send, nghttp2_session_resume_data
    global nghttp2_session_server_new3, nghttp2_session_set_local_window_size, nghttp2_session_set_stream_user_data
    global nghttp2_session_terminate_session, nghttp2_session_want_read, nghttp2_session_want_write
    global nghttp2_submit_goaway, nghttp2_submit_headers, nghttp2_submit_ping
    global nghttp2_submit_request, nghttp2_submit_response, nghttp2_submit_rst_stream
    global nghttp2_submit_settings, nghttp2_submit_shutdown_notice, nghttp2_submit_trailer
    if library is not None:
        return 1
    library = find()
    if library is None:
        return 0
    nghttp2_session_callbacks_new = <new_fn>at("nghttp2_session_callbacks_new")
    nghttp2_session_callbacks_set_on_begin_headers_callback = <set_frame_fn>at("nghttp2_session_callbacks_set_on_begin_headers_callback")
    nghttp2_session_callbacks_set_on_frame_recv_callback = <set_frame_fn>at("nghttp2_session_callbacks_set_on_frame_recv_callback")
    nghttp2_session_callbacks_set_on_header_callback = <set_header_fn>at("nghttp2_session_callbacks_set_on_header_callback")
    nghttp2_session_callbacks_set_on_invalid_header_callback = <set_header_fn>at("nghttp2_session_callbacks_set_on_invalid_header_callback")
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback = <set_chunk_fn>at("nghttp2_session_callbacks_set_on_data_chunk_recv_callback")
    nghttp2_session_callbacks_set_on_stream_close_callback = <set_close_fn>at("nghttp2_session_callbacks_set_on_stream_close_callback")
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback = <set_invalid_fn>at("nghttp2_session_callbacks_set_on_invalid_frame_recv_callback")
    nghttp2_session_callbacks_set_send_data_callback = <set_send_data_fn>at("nghttp2_session_callbacks_set_send_data_callback")
    nghttp2_option_new = <new_fn>at("nghttp2_option_new")
    nghttp2_option_del = <delete_fn>at("nghttp2_option_del")
    nghttp2_option_set_no_auto_window_update = <option_int_fn>at("nghttp2_option_set_no_auto_window_update")
    nghttp2_option_set_no_closed_streams = <option_int_fn>at("nghttp2_option_set_no_closed_streams")
    nghttp2_option_set_max_outbound_ack = <option_size_fn>at("nghttp2_option_set_max_outbound_ack")
    nghttp2_option_set_max_send_header_block_length = <option_size_fn>at("nghttp2_option_set_max_send_header_block_length")
    nghttp2_option_set_max_deflate_dynamic_table_size = <option_size_fn>at("nghttp2_option_set_max_deflate_dynamic_table_size")
    nghttp2_option_set_peer_max_concurrent_streams = <option_uint32_fn>at("nghttp2_option_set_peer_max_concurrent_streams")
    nghttp2_option_set_builtin_recv_extension_type = <option_byte_fn>at("nghttp2_option_set_builtin_recv_extension_type")
    nghttp2_option_set_stream_reset_rate_limit = <option_rate_fn><uintptr_t>library.address("nghttp2_option_set_stream_reset_rate_limit")
    nghttp2_session_server_new3 = <session_new_fn>at("nghttp2_session_server_new3")
    nghttp2_session_client_new3 = <session_new_fn>at("nghttp2_session_client_new3")
    nghttp2_session_del = <delete_fn>at("nghttp2_session_del")
    nghttp2_session_mem_recv = <mem_recv_fn>at("nghttp2_session_mem_recv2", "nghttp2_session_mem_recv")
    nghttp2_session_mem_send = <mem_send_fn>at("nghttp2_session_mem_send2", "nghttp2_session_mem_send")
    nghttp2_session_want_read = <ask_fn>at("nghttp2_session_want_read")
    nghttp2_session_want_write = <ask_fn>at("nghttp2_session_want_write")
    nghttp2_submit_shutdown_notice = <ask_fn>at("nghttp2_submit_shutdown_notice")
    nghttp2_submit_settings = <submit_settings_fn>at("nghttp2_submit_settings")
    nghttp2_submit_response = <submit_response_fn>at("nghttp2_submit_response")
    nghttp2_submit_request = <submit_request_fn>at("nghttp2_submit_request")
    nghttp2_submit_headers = <submit_headers_fn>at("nghttp2_submit_headers")
    nghttp2_submit_trailer = <submit_trailer_fn>at("nghttp2_submit_trailer")
    nghttp2_submit_rst_stream = <submit_code_fn>at("nghttp2_submit_rst_stream")
    nghttp2_submit_goaway = <submit_goaway_fn>at("nghttp2_submit_goaway")
    nghttp2_submit_ping = <submit_ping_fn>at("nghttp2_submit_ping")
    nghttp2_session_terminate_session = <terminate_fn>at("nghttp2_session_terminate_session")
    nghttp2_session_resume_data = <stream_fn>at("nghttp2_session_resume_data")
    nghttp2_session_get_stream_local_close = <stream_fn>at("nghttp2_session_get_stream_local_close")
    nghttp2_session_consume = <consume_fn>at("nghttp2_session_consume")
    nghttp2_session_consume_connection = <consume_connection_fn>at("nghttp2_session_consume_connection")
    nghttp2_session_set_local_window_size = <window_fn>at("nghttp2_session_set_local_window_size")
    nghttp2_session_get_stream_user_data = <get_data_fn>at("nghttp2_session_get_stream_user_data")
    nghttp2_session_set_stream_user_data = <set_data_fn>at("nghttp2_session_set_stream_user_data")
    nghttp2_session_get_last_proc_stream_id = <last_stream_fn>at("nghttp2_session_get_last_proc_stream_id")
    nghttp2_session_change_extpri_stream_priority = <priority_fn>at("nghttp2_session_change_extpri_stream_priority")
    nghttp2_session_get_remote_settings = <remote_setting_fn>at("nghttp2_session_get_remote_settings")
    return 1
