# The functions of ngtcp2 (1.22 or later) and of its part for OpenSSL that lbcore uses, as pointers. NULL before `load`.
#
# Structs are versioned: the library is told which version of a struct it gets, and fills in what later ones have.
# The library calls callbacks on the calling thread, which holds the GIL. A callback must neither raise, nor read or write
# packets of the connection, nor delete it.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from lbcore.http.heap cimport LibraryMemory

cdef enum:
    CID_BYTES = 20             # NGTCP2_MAX_CIDLEN
    TOKEN_BYTES = 16           # NGTCP2_STATELESS_RESET_TOKENLEN
    LEAST_DATAGRAM = 1200      # NGTCP2_MAX_UDP_PAYLOAD_SIZE: a datagram with an Initial packet has as many bytes
    QUIC_V1 = 1
    LEVEL_1RTT = 2             # NGTCP2_ENCRYPTION_LEVEL_1RTT

    NGTCP2_PKT_INFO_V1 = 1
    NGTCP2_SETTINGS_V1 = 1
    NGTCP2_TRANSPORT_PARAMS_V1 = 1

    NGTCP2_ERR_STREAM_DATA_BLOCKED = -208
    NGTCP2_ERR_CRYPTO = -213
    NGTCP2_ERR_STREAM_SHUT_WR = -219
    NGTCP2_ERR_STREAM_NOT_FOUND = -220
    NGTCP2_ERR_CLOSING = -223
    NGTCP2_ERR_DRAINING = -224
    NGTCP2_ERR_WRITE_MORE = -230
    NGTCP2_ERR_RETRY = -231
    NGTCP2_ERR_DROP_CONN = -232
    NGTCP2_ERR_VERSION_NEGOTIATION = -235
    NGTCP2_ERR_HANDSHAKE_TIMEOUT = -236
    NGTCP2_ERR_IDLE_CLOSE = -238
    NGTCP2_ERR_CALLBACK_FAILURE = -502

    NGTCP2_CONNECTION_REFUSED = 2
    NGTCP2_STREAM_DATA_FLAG_FIN = 1
    NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET = 1
    NGTCP2_WRITE_STREAM_FLAG_MORE = 1
    NGTCP2_WRITE_STREAM_FLAG_FIN = 2
    NGTCP2_TOKEN_TYPE_RETRY = 1
    NGTCP2_PKT_INITIAL = 0x10
    NGTCP2_PATH_VALIDATION_RESULT_SUCCESS = 0


cdef struct Cid:               # ngtcp2_cid
    size_t length
    uint8_t data[CID_BYTES]

cdef struct Vec:               # ngtcp2_vec, nghttp3_vec
    uint8_t* base
    size_t length

cdef struct PacketHead:        # ngtcp2_pkt_hd
    Cid dcid
    Cid scid
    int64_t number
    const uint8_t* token
    size_t token_length
    size_t number_length
    size_t length
    uint32_t version
    uint8_t type
    uint8_t flags

cdef struct VersionCid:        # ngtcp2_version_cid
    uint32_t version
    const uint8_t* dcid
    size_t dcid_length
    const uint8_t* scid
    size_t scid_length

cdef struct PacketInfo:        # ngtcp2_pkt_info, aligned to 8 bytes
    uint64_t ecn               # its low byte

cdef struct Addr:              # ngtcp2_addr
    void* address              # struct sockaddr
    uint32_t length

cdef struct Path:              # ngtcp2_path
    Addr local
    Addr remote
    void* user_data

cdef struct PathStorage:       # ngtcp2_path_storage
    Path path
    uint8_t local[28]          # struct sockaddr_in6 at most
    uint8_t remote[28]

cdef struct PreferredAddr:     # ngtcp2_preferred_addr
    Cid cid
    uint32_t ipv4[4]
    uint32_t ipv6[7]
    uint8_t ipv4_present
    uint8_t ipv6_present
    uint8_t token[TOKEN_BYTES]

cdef struct VersionInfo:       # ngtcp2_version_info
    uint32_t chosen
    const uint8_t* available
    size_t available_length

cdef struct TransportParams:   # ngtcp2_transport_params
    PreferredAddr preferred_addr
    Cid original_dcid
    Cid initial_scid
    Cid retry_scid
    uint64_t initial_max_stream_data_bidi_local
    uint64_t initial_max_stream_data_bidi_remote
    uint64_t initial_max_stream_data_uni
    uint64_t initial_max_data
    uint64_t initial_max_streams_bidi
    uint64_t initial_max_streams_uni
    uint64_t max_idle_timeout              # ns
    uint64_t max_udp_payload_size
    uint64_t active_connection_id_limit
    uint64_t ack_delay_exponent
    uint64_t max_ack_delay
    uint64_t max_datagram_frame_size
    uint8_t stateless_reset_token_present
    uint8_t disable_active_migration
    uint8_t original_dcid_present
    uint8_t initial_scid_present
    uint8_t retry_scid_present
    uint8_t preferred_addr_present
    uint8_t stateless_reset_token[TOKEN_BYTES]
    uint8_t grease_quic_bit
    VersionInfo version_info
    uint8_t version_info_present

cdef struct Settings:          # ngtcp2_settings, the first version
    void* qlog_write
    int cc_algo
    uint64_t initial_ts
    uint64_t initial_rtt
    void* log_printf
    size_t max_tx_udp_payload_size
    const uint8_t* token
    size_t token_length
    int token_type
    void* rand_ctx
    uint64_t max_window
    uint64_t max_stream_window
    size_t ack_thresh
    uint8_t no_tx_udp_payload_size_shaping
    uint64_t handshake_timeout
    const uint32_t* preferred_versions
    size_t preferred_versions_length
    const uint32_t* available_versions
    size_t available_versions_length
    uint32_t original_version
    uint8_t no_pmtud
    uint32_t initial_pkt_num

cdef struct ConnRef            # ngtcp2_crypto_conn_ref

ctypedef void* (*conn_of_fn)(ConnRef* reference) noexcept

cdef struct ConnRef:
    conn_of_fn get_conn
    void* user_data

cdef struct CloseError:        # ngtcp2_ccerr
    int type
    uint64_t code
    uint64_t frame_type
    const uint8_t* reason
    size_t reason_length

ctypedef int (*recv_data_fn)(void* conn, uint32_t flags, int64_t stream_id, uint64_t offset, const uint8_t* bytes, size_t length,
                             void* data, void* stream_data) noexcept
ctypedef int (*acked_fn)(void* conn, int64_t stream_id, uint64_t offset, uint64_t length, void* data, void* stream_data) noexcept
ctypedef int (*close_stream_fn)(void* conn, uint32_t flags, int64_t stream_id, uint64_t code, void* data, void* stream_data) noexcept
ctypedef void (*rand_fn)(uint8_t* into, size_t length, const void* context) noexcept
ctypedef int (*new_cid_fn)(void* conn, Cid* cid, uint8_t* token, size_t length, void* data) noexcept
ctypedef int (*remove_cid_fn)(void* conn, const Cid* cid, void* data) noexcept
ctypedef int (*path_validation_fn)(void* conn, uint32_t flags, const Path* path, const Path* fallback, int result, void* data) noexcept
ctypedef int (*reset_stream_fn)(void* conn, int64_t stream_id, uint64_t final_size, uint64_t code, void* data, void* stream_data) noexcept
ctypedef int (*more_stream_data_fn)(void* conn, int64_t stream_id, uint64_t most, void* data, void* stream_data) noexcept
ctypedef int (*stop_sending_fn)(void* conn, int64_t stream_id, uint64_t code, void* data, void* stream_data) noexcept
ctypedef int (*key_fn)(void* conn, int level, void* data) noexcept
ctypedef int (*done_fn)(void* conn, void* data) noexcept

cdef struct Callbacks:         # ngtcp2_callbacks, the fourth version; the first ends before begin_path_validation
    void* client_initial
    void* recv_client_initial
    void* recv_crypto_data
    done_fn handshake_completed
    void* recv_version_negotiation
    void* encrypt
    void* decrypt
    void* hp_mask
    recv_data_fn recv_stream_data
    acked_fn acked_stream_data_offset
    void* stream_open
    close_stream_fn stream_close
    void* recv_stateless_reset
    void* recv_retry
    void* extend_max_local_streams_bidi
    void* extend_max_local_streams_uni
    rand_fn rand
    new_cid_fn get_new_connection_id
    remove_cid_fn remove_connection_id
    void* update_key
    path_validation_fn path_validation
    void* select_preferred_addr
    reset_stream_fn stream_reset
    void* extend_max_remote_streams_bidi
    void* extend_max_remote_streams_uni
    more_stream_data_fn extend_max_stream_data
    void* dcid_status
    void* handshake_confirmed
    void* recv_new_token
    void* delete_crypto_aead_ctx
    void* delete_crypto_cipher_ctx
    void* recv_datagram
    void* ack_datagram
    void* lost_datagram
    void* get_path_challenge_data
    void* stream_stop_sending
    void* version_negotiation
    void* recv_rx_key
    key_fn recv_tx_key
    void* tls_early_data_rejected
    void* begin_path_validation
    void* recv_stateless_reset2
    void* get_new_connection_id2
    void* dcid_status2
    void* get_path_challenge_data2
    stop_sending_fn recv_stop_sending

ctypedef ssize_t (*write_packet_fn)(void* conn, Path* path, PacketInfo* info, uint8_t* into, size_t length, uint64_t now,
                                    void* data) noexcept

ctypedef int (*decode_version_cid_fn)(VersionCid* into, const uint8_t* packet, size_t length, size_t short_length) noexcept
ctypedef int (*accept_fn)(PacketHead* into, const uint8_t* packet, size_t length) noexcept
ctypedef ssize_t (*write_version_negotiation_fn)(uint8_t* into, size_t size, uint8_t random, const uint8_t* dcid, size_t dcid_length,
                                                 const uint8_t* scid, size_t scid_length, const uint32_t* versions,
                                                 size_t count) noexcept
ctypedef ssize_t (*write_stateless_reset_fn)(uint8_t* into, size_t size, const uint8_t* token, const uint8_t* random,
                                             size_t random_length) noexcept
ctypedef int (*server_new_fn)(void** conn, const Cid* dcid, const Cid* scid, const Path* path, uint32_t version, int callbacks_version,
                              const Callbacks* callbacks, int settings_version, const Settings* settings, int params_version,
                              const TransportParams* params, const LibraryMemory* memory, void* data) noexcept
ctypedef void (*conn_fn)(void* conn) noexcept
ctypedef int (*read_packet_fn)(void* conn, const Path* path, int info_version, const PacketInfo* info, const uint8_t* packet,
                               size_t length, uint64_t now) noexcept
ctypedef ssize_t (*writev_stream_fn)(void* conn, Path* path, int info_version, PacketInfo* info, uint8_t* into, size_t size,
                                     ssize_t* taken, uint32_t flags, int64_t stream_id, const Vec* pieces, size_t count,
                                     uint64_t now) noexcept
ctypedef ssize_t (*write_aggregate_fn)(void* conn, Path* path, int info_version, PacketInfo* info, uint8_t* into, size_t size,
                                       size_t* segment, write_packet_fn write, uint64_t now) noexcept
ctypedef ssize_t (*write_close_fn)(void* conn, Path* path, int info_version, PacketInfo* info, uint8_t* into, size_t size,
                                   const CloseError* error, uint64_t now) noexcept
ctypedef uint64_t (*time_fn)(void* conn) noexcept
ctypedef int (*handle_expiry_fn)(void* conn, uint64_t now) noexcept
ctypedef int (*ask_conn_fn)(void* conn) noexcept
ctypedef size_t (*count_fn)(void* conn) noexcept
ctypedef size_t (*get_scid_fn)(void* conn, Cid* into) noexcept
ctypedef uint8_t (*alert_fn)(void* conn) noexcept
ctypedef const Path* (*get_path_fn)(void* conn) noexcept
ctypedef const TransportParams* (*remote_params_fn)(void* conn) noexcept
ctypedef int (*extend_stream_fn)(void* conn, int64_t stream_id, uint64_t count) noexcept
ctypedef void (*extend_fn)(void* conn, uint64_t count) noexcept
ctypedef void (*extend_streams_fn)(void* conn, size_t count) noexcept
ctypedef int (*open_stream_fn)(void* conn, int64_t* stream_id, void* data) noexcept
ctypedef int (*shutdown_stream_fn)(void* conn, uint32_t flags, int64_t stream_id, uint64_t code) noexcept
ctypedef int (*set_stream_data_fn)(void* conn, int64_t stream_id, void* data) noexcept
ctypedef void (*set_handle_fn)(void* conn, void* handle) noexcept
ctypedef void (*set_time_fn)(void* conn, uint64_t time) noexcept
ctypedef void (*settings_default_fn)(int version, Settings* settings) noexcept
ctypedef void (*params_default_fn)(int version, TransportParams* params) noexcept
ctypedef void (*error_default_fn)(CloseError* error) noexcept
ctypedef void (*error_set_fn)(CloseError* error, uint64_t code, const uint8_t* reason, size_t length) noexcept
ctypedef void (*error_liberr_fn)(CloseError* error, int liberr, const uint8_t* reason, size_t length) noexcept
ctypedef void (*error_alert_fn)(CloseError* error, uint8_t alert, const uint8_t* reason, size_t length) noexcept
ctypedef const char* (*strerror_fn)(int error) noexcept
ctypedef int (*init_fn)() noexcept
ctypedef int (*ossl_new_fn)(void** context, void* ssl) noexcept
ctypedef int (*configure_fn)(void* ssl) noexcept
ctypedef int (*reset_token_fn)(uint8_t* token, const uint8_t* secret, size_t length, const Cid* cid) noexcept
ctypedef ssize_t (*make_retry_token_fn)(uint8_t* token, const uint8_t* secret, size_t length, uint32_t version, const void* remote,
                                        uint32_t remote_length, const Cid* retry_scid, const Cid* dcid, uint64_t now) noexcept
ctypedef int (*verify_retry_token_fn)(Cid* dcid, const uint8_t* token, size_t token_length, const uint8_t* secret, size_t length,
                                      uint32_t version, const void* remote, uint32_t remote_length, const Cid* retry_scid,
                                      uint64_t timeout, uint64_t now) noexcept
ctypedef ssize_t (*crypto_close_fn)(uint8_t* into, size_t size, uint32_t version, const Cid* dcid, const Cid* scid, uint64_t code,
                                    const uint8_t* reason, size_t length) noexcept
ctypedef ssize_t (*write_retry_fn)(uint8_t* into, size_t size, uint32_t version, const Cid* dcid, const Cid* scid, const Cid* odcid,
                                   const uint8_t* token, size_t token_length) noexcept

cdef decode_version_cid_fn ngtcp2_pkt_decode_version_cid
cdef accept_fn ngtcp2_accept
cdef write_version_negotiation_fn ngtcp2_pkt_write_version_negotiation
cdef write_stateless_reset_fn ngtcp2_pkt_write_stateless_reset
cdef server_new_fn ngtcp2_conn_server_new
cdef conn_fn ngtcp2_conn_del
cdef read_packet_fn ngtcp2_conn_read_pkt
cdef writev_stream_fn ngtcp2_conn_writev_stream
cdef write_aggregate_fn ngtcp2_conn_write_aggregate_pkt
cdef write_close_fn ngtcp2_conn_write_connection_close
cdef time_fn ngtcp2_conn_get_expiry
cdef time_fn ngtcp2_conn_get_max_data_left
cdef time_fn ngtcp2_conn_get_pto
cdef handle_expiry_fn ngtcp2_conn_handle_expiry
cdef ask_conn_fn ngtcp2_conn_get_handshake_completed
cdef get_scid_fn ngtcp2_conn_get_scid
cdef alert_fn ngtcp2_conn_get_tls_alert
cdef get_path_fn ngtcp2_conn_get_path
cdef remote_params_fn ngtcp2_conn_get_remote_transport_params
cdef extend_stream_fn ngtcp2_conn_extend_max_stream_offset
cdef extend_fn ngtcp2_conn_extend_max_offset
cdef extend_streams_fn ngtcp2_conn_extend_max_streams_bidi
cdef extend_streams_fn ngtcp2_conn_extend_max_streams_uni
cdef open_stream_fn ngtcp2_conn_open_uni_stream
cdef shutdown_stream_fn ngtcp2_conn_shutdown_stream
cdef shutdown_stream_fn ngtcp2_conn_shutdown_stream_read
cdef shutdown_stream_fn ngtcp2_conn_shutdown_stream_write
cdef set_handle_fn ngtcp2_conn_set_tls_native_handle
cdef set_time_fn ngtcp2_conn_set_keep_alive_timeout
cdef settings_default_fn ngtcp2_settings_default
cdef params_default_fn ngtcp2_transport_params_default
cdef error_default_fn ngtcp2_ccerr_default
cdef error_set_fn ngtcp2_ccerr_set_transport_error
cdef error_set_fn ngtcp2_ccerr_set_application_error
cdef error_liberr_fn ngtcp2_ccerr_set_liberr
cdef error_alert_fn ngtcp2_ccerr_set_tls_alert
cdef strerror_fn ngtcp2_strerror
cdef ossl_new_fn ngtcp2_crypto_ossl_ctx_new
cdef conn_fn ngtcp2_crypto_ossl_ctx_del
cdef configure_fn ngtcp2_crypto_ossl_configure_server_session
cdef reset_token_fn ngtcp2_crypto_generate_stateless_reset_token
cdef make_retry_token_fn ngtcp2_crypto_generate_retry_token2
cdef verify_retry_token_fn ngtcp2_crypto_verify_retry_token2
cdef write_retry_fn ngtcp2_crypto_write_retry
cdef crypto_close_fn ngtcp2_crypto_write_connection_close
cdef Callbacks crypto_callbacks            # those that the library has itself, for OpenSSL
cdef int callbacks_version                 # of Callbacks, that this library takes


cdef int load() except -1
