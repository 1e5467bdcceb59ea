"""ngtcp2's functions, which `load` finds."""

from libc.stdint cimport uint64_t, uintptr_t
from libc.string cimport memset

from lbcore.http3.library import find

cdef enum:
    STOP_SENDING_SINCE = 0x011800      # ngtcp2 1.24

cdef object library = None     # keeps the libraries open; None before `load`


cdef void* at(object found, str name) except NULL:
    """The address of a function. Raises ImportError."""
    return <void*><uintptr_t>found.address(name)


cdef int load() except -1:
    """Find all functions, once. Raises ImportError, which says what is missing."""
    global library, callbacks_version
    global ngtcp2_pkt_decode_version_cid, ngtcp2_accept
    global ngtcp2_pkt_write_version_negotiation, ngtcp2_pkt_write_stateless_reset
    global ngtcp2_conn_server_new, ngtcp2_conn_del
    global ngtcp2_conn_read_pkt, ngtcp2_conn_writev_stream
    global ngtcp2_conn_write_aggregate_pkt, ngtcp2_conn_write_connection_close
    global ngtcp2_conn_get_expiry, ngtcp2_conn_get_max_data_left
    global ngtcp2_conn_get_pto, ngtcp2_conn_handle_expiry
    global ngtcp2_conn_get_handshake_completed, ngtcp2_conn_get_scid
    global ngtcp2_conn_get_tls_alert, ngtcp2_conn_get_path
    global ngtcp2_conn_get_remote_transport_params, ngtcp2_conn_extend_max_stream_offset
    global ngtcp2_conn_extend_max_offset, ngtcp2_conn_extend_max_streams_bidi
    global ngtcp2_conn_extend_max_streams_uni, ngtcp2_conn_open_uni_stream
    global ngtcp2_conn_shutdown_stream, ngtcp2_conn_shutdown_stream_read
    global ngtcp2_conn_shutdown_stream_write
    global ngtcp2_conn_set_tls_native_handle, ngtcp2_conn_set_keep_alive_timeout
    global ngtcp2_settings_default, ngtcp2_transport_params_default
    global ngtcp2_ccerr_default, ngtcp2_ccerr_set_transport_error
    global ngtcp2_ccerr_set_application_error, ngtcp2_ccerr_set_liberr
    global ngtcp2_ccerr_set_tls_alert, ngtcp2_strerror
    global ngtcp2_crypto_ossl_ctx_new, ngtcp2_crypto_ossl_ctx_del
    global ngtcp2_crypto_ossl_configure_server_session, ngtcp2_crypto_generate_stateless_reset_token
    global ngtcp2_crypto_generate_retry_token2, ngtcp2_crypto_verify_retry_token2
    global ngtcp2_crypto_write_retry, ngtcp2_crypto_write_connection_close
    cdef Settings settings
    cdef TransportParams params
    if library is not None:
        return 0
    found = find()
    ngtcp2_pkt_decode_version_cid = <decode_version_cid_fn>at(found, "ngtcp2_pkt_decode_version_cid")
    ngtcp2_accept = <accept_fn>at(found, "ngtcp2_accept")
    ngtcp2_pkt_write_version_negotiation = <write_version_negotiation_fn>at(found, "ngtcp2_pkt_write_version_negotiation")
    ngtcp2_pkt_write_stateless_reset = <write_stateless_reset_fn>at(found, "ngtcp2_pkt_write_stateless_reset")
    ngtcp2_conn_server_new = <server_new_fn>at(found, "ngtcp2_conn_server_new_versioned")
    ngtcp2_conn_del = <conn_fn>at(found, "ngtcp2_conn_del")
    ngtcp2_conn_read_pkt = <read_packet_fn>at(found, "ngtcp2_conn_read_pkt_versioned")
    ngtcp2_conn_writev_stream = <writev_stream_fn>at(found, "ngtcp2_conn_writev_stream_versioned")
    ngtcp2_conn_write_aggregate_pkt = <write_aggregate_fn>at(found, "ngtcp2_conn_write_aggregate_pkt_versioned")
    ngtcp2_conn_write_connection_close = <write_close_fn>at(found, "ngtcp2_conn_write_connection_close_versioned")
    ngtcp2_conn_get_expiry = <time_fn>at(found, "ngtcp2_conn_get_expiry")
    ngtcp2_conn_get_max_data_left = <time_fn>at(found, "ngtcp2_conn_get_max_data_left")
    ngtcp2_conn_get_pto = <time_fn>at(found, "ngtcp2_conn_get_pto")
    ngtcp2_conn_handle_expiry = <handle_expiry_fn>at(found, "ngtcp2_conn_handle_expiry")
    ngtcp2_conn_get_handshake_completed = <ask_conn_fn>at(found, "ngtcp2_conn_get_handshake_completed")
    ngtcp2_conn_get_scid = <get_scid_fn>at(found, "ngtcp2_conn_get_scid")
    ngtcp2_conn_get_tls_alert = <alert_fn>at(found, "ngtcp2_conn_get_tls_alert")
    ngtcp2_conn_get_path = <get_path_fn>at(found, "ngtcp2_conn_get_path")
    ngtcp2_conn_get_remote_transport_params = <remote_params_fn>at(found, "ngtcp2_conn_get_remote_transport_params")
    ngtcp2_conn_extend_max_stream_offset = <extend_stream_fn>at(found, "ngtcp2_conn_extend_max_stream_offset")
    ngtcp2_conn_extend_max_offset = <extend_fn>at(found, "ngtcp2_conn_extend_max_offset")
    ngtcp2_conn_extend_max_streams_bidi = <extend_streams_fn>at(found, "ngtcp2_conn_extend_max_streams_bidi")
    ngtcp2_conn_extend_max_streams_uni = <extend_streams_fn>at(found, "ngtcp2_conn_extend_max_streams_uni")
    ngtcp2_conn_open_uni_stream = <open_stream_fn>at(found, "ngtcp2_conn_open_uni_stream")
    ngtcp2_conn_shutdown_stream = <shutdown_stream_fn>at(found, "ngtcp2_conn_shutdown_stream")
    ngtcp2_conn_shutdown_stream_read = <shutdown_stream_fn>at(found, "ngtcp2_conn_shutdown_stream_read")
    ngtcp2_conn_shutdown_stream_write = <shutdown_stream_fn>at(found, "ngtcp2_conn_shutdown_stream_write")
    ngtcp2_conn_set_tls_native_handle = <set_handle_fn>at(found, "ngtcp2_conn_set_tls_native_handle")
    ngtcp2_conn_set_keep_alive_timeout = <set_time_fn>at(found, "ngtcp2_conn_set_keep_alive_timeout")
    ngtcp2_settings_default = <settings_default_fn>at(found, "ngtcp2_settings_default_versioned")
    ngtcp2_transport_params_default = <params_default_fn>at(found, "ngtcp2_transport_params_default_versioned")
    ngtcp2_ccerr_default = <error_default_fn>at(found, "ngtcp2_ccerr_default")
    ngtcp2_ccerr_set_transport_error = <error_set_fn>at(found, "ngtcp2_ccerr_set_transport_error")
    ngtcp2_ccerr_set_application_error = <error_set_fn>at(found, "ngtcp2_ccerr_set_application_error")
    ngtcp2_ccerr_set_liberr = <error_liberr_fn>at(found, "ngtcp2_ccerr_set_liberr")
    ngtcp2_ccerr_set_tls_alert = <error_alert_fn>at(found, "ngtcp2_ccerr_set_tls_alert")
    ngtcp2_strerror = <strerror_fn>at(found, "ngtcp2_strerror")
    ngtcp2_crypto_ossl_ctx_new = <ossl_new_fn>at(found, "ngtcp2_crypto_ossl_ctx_new")
    ngtcp2_crypto_ossl_ctx_del = <conn_fn>at(found, "ngtcp2_crypto_ossl_ctx_del")
    ngtcp2_crypto_ossl_configure_server_session = <configure_fn>at(found, "ngtcp2_crypto_ossl_configure_server_session")
    ngtcp2_crypto_generate_stateless_reset_token = <reset_token_fn>at(found, "ngtcp2_crypto_generate_stateless_reset_token")
    ngtcp2_crypto_generate_retry_token2 = <make_retry_token_fn>at(found, "ngtcp2_crypto_generate_retry_token2")
    ngtcp2_crypto_verify_retry_token2 = <verify_retry_token_fn>at(found, "ngtcp2_crypto_verify_retry_token2")
    ngtcp2_crypto_write_retry = <write_retry_fn>at(found, "ngtcp2_crypto_write_retry")
    ngtcp2_crypto_write_connection_close = <crypto_close_fn>at(found, "ngtcp2_crypto_write_connection_close")
    memset(&crypto_callbacks, 0, sizeof(crypto_callbacks))
    crypto_callbacks.recv_client_initial = at(found, "ngtcp2_crypto_recv_client_initial_cb")
    crypto_callbacks.recv_crypto_data = at(found, "ngtcp2_crypto_recv_crypto_data_cb")
    crypto_callbacks.encrypt = at(found, "ngtcp2_crypto_encrypt_cb")
    crypto_callbacks.decrypt = at(found, "ngtcp2_crypto_decrypt_cb")
    crypto_callbacks.hp_mask = at(found, "ngtcp2_crypto_hp_mask_cb")
    crypto_callbacks.update_key = at(found, "ngtcp2_crypto_update_key_cb")
    crypto_callbacks.delete_crypto_aead_ctx = at(found, "ngtcp2_crypto_delete_crypto_aead_ctx_cb")
    crypto_callbacks.delete_crypto_cipher_ctx = at(found, "ngtcp2_crypto_delete_crypto_cipher_ctx_cb")
    crypto_callbacks.get_path_challenge_data = at(found, "ngtcp2_crypto_get_path_challenge_data_cb")
    crypto_callbacks.version_negotiation = at(found, "ngtcp2_crypto_version_negotiation_cb")
    callbacks_version = 4 if found.number >= STOP_SENDING_SINCE else 1
    ngtcp2_settings_default(NGTCP2_SETTINGS_V1, &settings)
    ngtcp2_transport_params_default(NGTCP2_TRANSPORT_PARAMS_V1, &params)
    if settings.max_tx_udp_payload_size != 1452 or settings.ack_thresh != 2 or settings.handshake_timeout != <uint64_t>-1 \
            or params.ack_delay_exponent != 3 or params.active_connection_id_limit != 2:
        raise ImportError(f"HTTP/3: the structures of {found.version} are not laid out as expected")
    if (<init_fn>at(found, "ngtcp2_crypto_ossl_init"))() != 0:
        raise ImportError(f"HTTP/3: {found.version} cannot use this OpenSSL")
    library = found
    return 0
