"""A session of HTTP/3 over a connection of QUIC (RFC 9114): ngtcp2 has the packets, nghttp3 the frames in the streams.

    receive:  datagram ─► ngtcp2 ─► nghttp3 ─► callbacks record ─► flow_ready
    send:     flow.output ─► nghttp3 ─► ngtcp2 ─► as many packets as one call takes

What was put stays in memory until the peer has acknowledged it, because packets may be lost.
"""

import logging

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from lbcore.http.fields cimport list_status
from lbcore.http.heap cimport library_memory
from lbcore.http.span cimport Span, span_of
from lbcore.http3.nghttp3 cimport *
from lbcore.http3.ngtcp2 cimport *
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.selection.clock cimport monotonic_ns
from lbcore.state.layout cimport (
    ERROR_ABUSE, ERROR_BAD_REQUEST, ERROR_TLS, HANDSHAKE_CERTIFICATE, HANDSHAKE_CLOSED, HANDSHAKE_GARBAGE, HANDSHAKE_REFUSED,
    HANDSHAKE_UNSHARED,
)
from lbcore.tls.openssl cimport ERR_clear_error, RAND_bytes, SSL_set_ex_data, clear_errors
from lbcore.transport.flow cimport (
    BUFFERED_BYTES, CREDIT, DEFAULT_URGENCY, FLOW_BYTES, FLOW_CLOSED, FLOW_INPUT, FLOW_ROOM, FRAME_CREDIT, RESET_CONNECT,
    RESET_INTERNAL, RESET_MALFORMED, RESET_NO_ERROR, Flow, blocks_acknowledge, blocks_add, blocks_free, blocks_give, drop_trailers,
    queue_add, queue_free, queue_len, queue_take,
)
from lbcore.transport.quic cimport OUTPUT, OUTPUT_BYTES, QuicSession

cdef enum:
    BLOCKED_STREAMS = 16       # streams that may wait for the table by which fields are encoded
    FLOW_UNACKNOWLEDGED = 1048576      # sent and unacknowledged bytes of a flow that stop its source ...
    UNACKNOWLEDGED_BYTES = 4194304     # ... and of all flows of a session
    PIECE_BYTES = 16384        # given to the library at once, of one flow
    PIECES = 16

_log = logging.getLogger("lbcore.transport")


cdef uint64_t code_of(int error) noexcept:
    """HTTP/3's number of a FlowError."""
    if error == RESET_NO_ERROR:
        return H3_NO_ERROR
    if error == RESET_MALFORMED:
        return H3_MESSAGE_ERROR
    if error == RESET_CONNECT:
        return H3_CONNECT_ERROR
    return H3_INTERNAL_ERROR if error == RESET_INTERNAL else H3_REQUEST_CANCELLED


# The callbacks of ngtcp2. `data` is the Http3Session, borrowed.

cdef void* on_conn(ConnRef* reference) noexcept:
    return (<Http3Session>reference.user_data).conn


cdef void on_rand(uint8_t* into, size_t length, const void* context) noexcept:
    RAND_bytes(into, <int>length)


cdef int on_new_id(void* conn, Cid* cid, uint8_t* token, size_t length, void* data) noexcept:
    cdef Http3Session self = <Http3Session>data
    self.endpoint.make_id(cid, length)
    if self.endpoint.reset_token(token, cid) or self.endpoint.add_id(cid, self) < 0:
        return NGTCP2_ERR_CALLBACK_FAILURE
    return 0


cdef int on_remove_id(void* conn, const Cid* cid, void* data) noexcept:
    (<Http3Session>data).endpoint.remove_id(cid)
    return 0


cdef int on_tx_key(void* conn, int level, void* data) noexcept:
    cdef Http3Session self = <Http3Session>data
    if level != LEVEL_1RTT or self.http != NULL:
        return 0
    return NGTCP2_ERR_CALLBACK_FAILURE if self.begin_http() < 0 else 0


cdef int on_handshake(void* conn, void* data) noexcept:
    (<Http3Session>data).shook_hands = True
    return 0


cdef int on_path(void* conn, uint32_t flags, const Path* path, const Path* fallback, int result, void* data) noexcept:
    if result == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS:
        (<Http3Session>data).moved = True
    return 0


cdef int on_data(void* conn, uint32_t flags, int64_t stream_id, uint64_t offset, const uint8_t* bytes, size_t length, void* data,
                 void* stream_data) noexcept:
    cdef Http3Session self = <Http3Session>data
    cdef ssize_t used
    if self.http == NULL:
        return NGTCP2_ERR_CALLBACK_FAILURE
    used = nghttp3_conn_read_stream2(self.http, stream_id, bytes, length, flags & NGTCP2_STREAM_DATA_FLAG_FIN, monotonic_ns())
    if used < 0:
        if (used != NGHTTP3_ERR_MALFORMED_HTTP_HEADER and used != NGHTTP3_ERR_MALFORMED_HTTP_MESSAGING) or stream_id & 3 != 0:
            self.error = <int>used
            return NGTCP2_ERR_CALLBACK_FAILURE
        # A request that is malformed ends its stream, and no other (RFC 9114 section 4.1.2).
        self.refuse(stream_id)
        used = <ssize_t>length
    ngtcp2_conn_extend_max_stream_offset(conn, stream_id, <uint64_t>used)
    ngtcp2_conn_extend_max_offset(conn, <uint64_t>used)
    if length == 0 and not flags & NGTCP2_STREAM_DATA_FLAG_FIN:
        self.charge(1)
    return 0


cdef int on_acked(void* conn, int64_t stream_id, uint64_t offset, uint64_t length, void* data, void* stream_data) noexcept:
    cdef Http3Session self = <Http3Session>data
    if self.http != NULL and nghttp3_conn_add_ack_offset(self.http, stream_id, length) != 0:
        return NGTCP2_ERR_CALLBACK_FAILURE
    return 0


cdef int on_close(void* conn, uint32_t flags, int64_t stream_id, uint64_t code, void* data, void* stream_data) noexcept:
    cdef Http3Session self = <Http3Session>data
    cdef int result = 0
    if self.http != NULL:
        result = nghttp3_conn_close_stream(self.http, stream_id,
                                           code if flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET else <uint64_t>H3_NO_ERROR)
        if result == NGHTTP3_ERR_STREAM_NOT_FOUND:
            self.charge(1)          # nothing of a request has come on it
        elif result != 0:
            self.error = result
            return NGTCP2_ERR_CALLBACK_FAILURE
    if stream_id & 3 == 0:
        ngtcp2_conn_extend_max_streams_bidi(conn, 1)
        self.stream_limit += 1
        if self.http != NULL:
            nghttp3_conn_set_max_client_streams_bidi(self.http, self.stream_limit)
    elif stream_id & 3 == 2:
        ngtcp2_conn_extend_max_streams_uni(conn, 1)
        self.charge(1)
    return 0


cdef int on_reset(void* conn, int64_t stream_id, uint64_t final_size, uint64_t code, void* data, void* stream_data) noexcept:
    """The peer has reset its side of a stream."""
    cdef Http3Session self = <Http3Session>data
    cdef Flow* flow
    if self.http == NULL:
        return 0
    flow = self.flow_of(stream_id)
    if nghttp3_conn_shutdown_stream_read(self.http, stream_id) != 0:
        return NGTCP2_ERR_CALLBACK_FAILURE
    if flow != NULL and not flow.ended and not flow.discards:
        self.doom(flow, H3_REQUEST_CANCELLED)
    return 0


cdef int on_stop(void* conn, int64_t stream_id, uint64_t code, void* data, void* stream_data) noexcept:
    """The peer refuses the rest of our side of a stream (STOP_SENDING)."""
    cdef Http3Session self = <Http3Session>data
    cdef Flow* flow
    if self.http == NULL:
        return 0
    flow = self.flow_of(stream_id)
    if flow != NULL:
        self.doom(flow, H3_REQUEST_CANCELLED)
    return 0


cdef int on_more_stream_data(void* conn, int64_t stream_id, uint64_t most, void* data, void* stream_data) noexcept:
    cdef Http3Session self = <Http3Session>data
    if self.http != NULL and nghttp3_conn_unblock_stream(self.http, stream_id) != 0:
        return NGTCP2_ERR_CALLBACK_FAILURE
    return 0


cdef ssize_t write_packet(void* conn, Path* path, PacketInfo* info, uint8_t* into, size_t size, uint64_t now_ns, void* data) noexcept:
    """Write the next packet, with as much of the streams' output as it takes."""
    cdef Http3Session self = <Http3Session>data
    cdef Vec pieces[PIECES]
    cdef int64_t stream_id
    cdef int fin
    cdef ssize_t count, taken, written
    cdef uint32_t flags
    while True:
        stream_id = -1
        fin = 0
        count = 0
        if self.http != NULL and ngtcp2_conn_get_max_data_left(conn):
            count = nghttp3_conn_writev_stream(self.http, &stream_id, &fin, pieces, PIECES)
            if count < 0:
                self.error = <int>count
                return NGTCP2_ERR_CALLBACK_FAILURE
        flags = NGTCP2_WRITE_STREAM_FLAG_MORE | (NGTCP2_WRITE_STREAM_FLAG_FIN if fin else 0)
        taken = -1
        written = ngtcp2_conn_writev_stream(conn, path, NGTCP2_PKT_INFO_V1, info, into, size, &taken, flags, stream_id, pieces,
                                            <size_t>count, now_ns)
        if written == NGTCP2_ERR_STREAM_DATA_BLOCKED:
            nghttp3_conn_block_stream(self.http, stream_id)
            continue
        if written == NGTCP2_ERR_STREAM_SHUT_WR or written == NGTCP2_ERR_STREAM_NOT_FOUND:
            nghttp3_conn_shutdown_stream_write(self.http, stream_id)
            continue
        if taken >= 0 and stream_id >= 0 and nghttp3_conn_add_write_offset(self.http, stream_id, <size_t>taken) != 0:
            return NGTCP2_ERR_CALLBACK_FAILURE
        if written != NGTCP2_ERR_WRITE_MORE:
            self.all_written = written == 0
            return written


# The callbacks of nghttp3. `data` is the Http3Session, `stream_data` the Flow, both borrowed.

cdef int on_begin(void* http, int64_t stream_id, void* data, void* stream_data) noexcept:
    cdef Flow* flow = (<Http3Session>data).begin_section(stream_id)
    if flow == NULL or nghttp3_conn_set_stream_user_data(http, stream_id, flow) != 0:
        return NGHTTP3_ERR_CALLBACK_FAILURE
    return 0


cdef int on_header(void* http, int64_t stream_id, int32_t token, void* name, void* value, uint8_t flags, void* data,
                   void* stream_data) noexcept:
    cdef Http3Session self = <Http3Session>data
    cdef Flow* flow = <Flow*>stream_data
    cdef Vec first = nghttp3_rcbuf_get_buf(name), second = nghttp3_rcbuf_get_buf(value)
    if flow == NULL or flow.events & FLOW_CLOSED:
        return 0
    if self.take_field(flow, span_of(<const char*>first.base, <Py_ssize_t>first.length),
                       span_of(<const char*>second.base, <Py_ssize_t>second.length)) < 0:
        self.doom(flow, H3_MESSAGE_ERROR)
    return 0


cdef int on_head_complete(void* http, int64_t stream_id, int fin, void* data, void* stream_data) noexcept:
    cdef Flow* flow = <Flow*>stream_data
    if flow != NULL:
        flow.head_complete = True
        (<Http3Session>data).mark(flow, FLOW_INPUT)
    return 0


cdef int on_trailers_complete(void* http, int64_t stream_id, int fin, void* data, void* stream_data) noexcept:
    cdef Flow* flow = <Flow*>stream_data
    if flow != NULL:
        (<Http3Session>data).mark(flow, FLOW_INPUT)
    return 0


cdef int on_body(void* http, int64_t stream_id, const uint8_t* bytes, size_t length, void* data, void* stream_data) noexcept:
    cdef Http3Session self = <Http3Session>data
    cdef Flow* flow = <Flow*>stream_data
    if flow == NULL or flow.discards:
        ngtcp2_conn_extend_max_stream_offset(self.conn, stream_id, length)
        ngtcp2_conn_extend_max_offset(self.conn, length)
        return 0
    if queue_add(&flow.input, <const char*>bytes, <Py_ssize_t>length) < 0:
        return NGHTTP3_ERR_CALLBACK_FAILURE
    self.mark(flow, FLOW_INPUT)
    return 0


cdef int on_deferred(void* http, int64_t stream_id, size_t count, void* data, void* stream_data) noexcept:
    cdef Http3Session self = <Http3Session>data
    ngtcp2_conn_extend_max_stream_offset(self.conn, stream_id, count)
    ngtcp2_conn_extend_max_offset(self.conn, count)
    return 0


cdef int on_end(void* http, int64_t stream_id, void* data, void* stream_data) noexcept:
    cdef Flow* flow = <Flow*>stream_data
    if flow != NULL:
        flow.ended = True
        (<Http3Session>data).mark(flow, FLOW_INPUT)
    return 0


cdef int on_stop_sending(void* http, int64_t stream_id, uint64_t code, void* data, void* stream_data) noexcept:
    """nghttp3 refuses the rest of the peer's side of a stream."""
    ngtcp2_conn_shutdown_stream_read((<Http3Session>data).conn, 0, stream_id, code)
    return 0


cdef int on_reset_stream(void* http, int64_t stream_id, uint64_t code, void* data, void* stream_data) noexcept:
    """nghttp3 refuses a stream: its message is malformed, or it began after GOAWAY."""
    cdef Http3Session self = <Http3Session>data
    cdef Flow* flow = <Flow*>stream_data
    ngtcp2_conn_shutdown_stream_write(self.conn, 0, stream_id, code)
    if flow != NULL:
        self.doom(flow, code)
    return 0


cdef int on_body_acked(void* http, int64_t stream_id, uint64_t count, void* data, void* stream_data) noexcept:
    cdef Http3Session self = <Http3Session>data
    cdef Flow* flow = <Flow*>stream_data
    if flow != NULL:
        self.unacknowledged -= <Py_ssize_t>count
        blocks_acknowledge(&flow.output, <Py_ssize_t>count)
        self.give_room(flow)
    return 0


cdef int on_stream_close(void* http, int64_t stream_id, uint64_t code, void* data, void* stream_data) noexcept:
    cdef Flow* flow = <Flow*>stream_data
    if flow != NULL:
        flow.closed = True
        flow.code = code
        (<Http3Session>data).mark(flow, FLOW_CLOSED)
    return 0


cdef ssize_t on_read(void* http, int64_t stream_id, Vec* pieces, size_t count, uint32_t* flags, void* data,
                     void* stream_data) noexcept:
    """Give the next bytes of a flow's output, which stay in their place until they are acknowledged."""
    cdef Http3Session self = <Http3Session>data
    cdef Flow* flow = <Flow*>stream_data
    cdef Span piece
    if flow == NULL:
        flags[0] |= NGHTTP3_DATA_FLAG_EOF
        return 0
    piece = blocks_give(&flow.output, PIECE_BYTES)
    if piece.len == 0 and not flow.put_ended:
        flow.deferred = True
        return NGHTTP3_ERR_WOULDBLOCK
    self.buffered -= piece.len
    self.unacknowledged += piece.len
    if self.credit < CREDIT:
        self.credit += FRAME_CREDIT
    if flow.put_ended and flow.output.waiting == 0:
        flags[0] |= NGHTTP3_DATA_FLAG_EOF
        flow.eof = True
        if flow.trailers != NULL:
            flags[0] |= NGHTTP3_DATA_FLAG_NO_END_STREAM
            if nghttp3_conn_submit_trailers(http, stream_id, flow.trailers.fields, flow.trailers.count) != 0:
                return NGHTTP3_ERR_CALLBACK_FAILURE
            drop_trailers(flow)
        if flow.resets_after:
            self.mark(flow, FLOW_ROOM)
    self.give_room(flow)
    if piece.len == 0:
        return 0
    pieces[0].base = <uint8_t*>piece.ptr
    pieces[0].length = <size_t>piece.len
    return 1


cdef H3DataReader READER
cdef Callbacks CALLBACKS
cdef H3Callbacks HTTP_CALLBACKS


cdef const Callbacks* callbacks() except NULL:
    """The callbacks of ngtcp2. Loads the libraries. Raises ImportError."""
    global READER, CALLBACKS, HTTP_CALLBACKS
    load()
    load_http()
    READER.read = on_read
    CALLBACKS = crypto_callbacks
    CALLBACKS.handshake_completed = on_handshake
    CALLBACKS.recv_stream_data = on_data
    CALLBACKS.acked_stream_data_offset = on_acked
    CALLBACKS.stream_close = on_close
    CALLBACKS.rand = on_rand
    CALLBACKS.get_new_connection_id = on_new_id
    CALLBACKS.remove_connection_id = on_remove_id
    CALLBACKS.path_validation = on_path
    CALLBACKS.stream_reset = on_reset
    CALLBACKS.extend_max_stream_data = on_more_stream_data
    CALLBACKS.recv_tx_key = on_tx_key
    CALLBACKS.recv_stop_sending = on_stop
    memset(&HTTP_CALLBACKS, 0, sizeof(HTTP_CALLBACKS))
    HTTP_CALLBACKS.acked_stream_data = on_body_acked
    HTTP_CALLBACKS.stream_close = on_stream_close
    HTTP_CALLBACKS.recv_data = on_body
    HTTP_CALLBACKS.deferred_consume = on_deferred
    HTTP_CALLBACKS.begin_headers = on_begin
    HTTP_CALLBACKS.recv_header = on_header
    HTTP_CALLBACKS.end_headers = on_head_complete
    HTTP_CALLBACKS.recv_trailer = on_header
    HTTP_CALLBACKS.end_trailers = on_trailers_complete
    HTTP_CALLBACKS.stop_sending = on_stop_sending
    HTTP_CALLBACKS.end_stream = on_end
    HTTP_CALLBACKS.reset_stream = on_reset_stream
    return &CALLBACKS


cdef int cause_of(int error, int alert) noexcept:
    """The HandshakeCause of a handshake that has ended."""
    if error == NGTCP2_ERR_DRAINING:
        return HANDSHAKE_REFUSED
    if error != NGTCP2_ERR_CRYPTO:
        return HANDSHAKE_CLOSED if error in (NGTCP2_ERR_IDLE_CLOSE, NGTCP2_ERR_DROP_CONN, NGTCP2_ERR_HANDSHAKE_TIMEOUT) \
            else HANDSHAKE_GARBAGE
    if 42 <= alert <= 48 or alert == 116:      # of the client's certificate
        return HANDSHAKE_CERTIFICATE
    if alert in (40, 70, 112, 120):            # nothing in common: versions, suites, names, protocols
        return HANDSHAKE_UNSHARED
    return HANDSHAKE_GARBAGE


cdef class Http3Session(QuicSession):
    """The session of one connection. Subclasses implement the calls for events of their side."""

    def __dealloc__(self):
        self.free_quic()

    cdef void free_quic(self) noexcept:
        """Free the memory of the libraries. Safe to call twice; not from a callback."""
        cdef void* conn = self.conn
        self.conn = NULL
        self.first_ready = self.last_ready = NULL
        if self.http != NULL:
            nghttp3_conn_del(self.http)
            self.http = NULL
        if self.handshake is not None:
            if self.handshake.ssl != NULL:
                SSL_set_ex_data(self.handshake.ssl, 0, NULL)       # no callback comes for what is freed
            self.handshake.free()
            self.handshake = None
        if conn != NULL:
            ngtcp2_conn_del(conn)
        if self.context != NULL:
            ngtcp2_crypto_ossl_ctx_del(self.context)
            self.context = NULL
        ERR_clear_error()

    cdef int begin_http(self) noexcept:
        """Open our control streams, because there are keys for data. Returns 0, or -1 on failure."""
        cdef H3Settings settings
        cdef int64_t control, encoder, decoder
        cdef EntryPoint entry_point = self.endpoint.entry_point
        nghttp3_settings_default(NGHTTP3_SETTINGS_V1, &settings)
        settings.max_field_section_size = <uint64_t>entry_point.policy.max_header_bytes
        settings.qpack_max_dtable_capacity = entry_point.http2.decoder_bytes
        settings.qpack_encoder_max_dtable_capacity = entry_point.http2.encoder_bytes
        settings.qpack_blocked_streams = BLOCKED_STREAMS
        settings.enable_connect_protocol = 1
        if nghttp3_conn_server_new(&self.http, NGHTTP3_CALLBACKS_V1, &HTTP_CALLBACKS, NGHTTP3_SETTINGS_V1, &settings,
                                   library_memory(), <void*>self) != 0:
            self.http = NULL
            return -1
        nghttp3_conn_set_max_client_streams_bidi(self.http, self.stream_limit)
        if ngtcp2_conn_open_uni_stream(self.conn, &control, NULL) != 0 or ngtcp2_conn_open_uni_stream(self.conn, &encoder, NULL) != 0 \
                or ngtcp2_conn_open_uni_stream(self.conn, &decoder, NULL) != 0:
            return -1
        if nghttp3_conn_bind_control_stream(self.http, control) != 0 \
                or nghttp3_conn_bind_qpack_streams(self.http, encoder, decoder) != 0:
            return -1
        return 0

    cdef Flow* flow_of(self, int64_t stream_id) noexcept:
        return <Flow*>nghttp3_conn_get_stream_user_data(self.http, stream_id)

    cdef void refuse(self, int64_t stream_id) noexcept:
        """Reset a stream whose message is malformed, and skip the rest of it."""
        cdef Flow* flow = self.flow_of(stream_id)
        self.endpoint.entry_point.stats.errors[<int>ERROR_BAD_REQUEST] += 1
        nghttp3_conn_shutdown_stream_read(self.http, stream_id)
        if flow != NULL:
            self.doom(flow, H3_MESSAGE_ERROR)
        else:
            ngtcp2_conn_shutdown_stream(self.conn, 0, stream_id, H3_MESSAGE_ERROR)
            nghttp3_conn_shutdown_stream_write(self.http, stream_id)

    # Packets

    cdef int receive(self, const Path* path, const uint8_t* packet, size_t length, uint64_t now_ns) except -1:
        cdef PacketInfo info
        cdef int result
        if self.conn == NULL:
            return 0
        info.ecn = 0
        result = ngtcp2_conn_read_pkt(self.conn, path, NGTCP2_PKT_INFO_V1, &info, packet, length, now_ns)
        clear_errors()
        if result != 0:
            return self.fail(result)
        return self.after_library()

    cdef int expire(self, uint64_t now_ns) except -1:
        cdef int result
        if self.conn == NULL:
            return 0
        result = ngtcp2_conn_handle_expiry(self.conn, now_ns)
        if result != 0:
            return self.fail(result)
        return self.reactor.touch(self)

    cdef int after_library(self) except -1:
        """Process the events that callbacks have recorded."""
        if self.shook_hands:
            self.shook_hands = False
            self.shaking = False
            self.endpoint.shaking -= 1
            self.handshake_complete()
        if self.moved:
            self.moved = False
            self.address_changed()
        if self.first_ready != NULL:
            self.serve_ready()
        return 0 if self.conn == NULL else self.reactor.touch(self)

    cdef int on_batch_end(self) except -1:
        if self.conn == NULL:
            return 0
        self.flush()
        return self.after_send()

    cdef void batch_end_failed(self, object error) noexcept:
        try:
            self.shut(error)
        except Exception as again:
            _log.error("internal error while ending an exchange", exc_info=again)

    cdef int flush(self) except -1:
        """Send the output, as far as windows, congestion control and the socket allow."""
        cdef PathStorage storage
        cdef PacketInfo info
        cdef size_t segment
        cdef ssize_t n
        while self.conn != NULL:
            if self.endpoint.held is not None:
                if not self.waits:
                    self.waits = True
                    self.endpoint.waiting.append(self)
                break
            memset(&storage, 0, sizeof(storage))
            storage.path.local.address = storage.local
            storage.path.remote.address = storage.remote
            segment = 0
            self.all_written = False
            n = ngtcp2_conn_write_aggregate_pkt(self.conn, &storage.path, NGTCP2_PKT_INFO_V1, &info, OUTPUT, OUTPUT_BYTES, &segment,
                                                write_packet, monotonic_ns())
            if n < 0:
                return self.fail(<int>n)
            if n:
                self.endpoint.send(&storage.path, OUTPUT, <size_t>n, segment)
            if self.first_ready != NULL:
                self.serve_ready()
            elif n == 0 or self.all_written:
                break
        if self.conn != NULL:
            self.endpoint.schedule(self, ngtcp2_conn_get_expiry(self.conn))
        return 0

    cdef int fail(self, int error) except -1:
        """End after an error of the library: the peer has closed the connection, broken the protocol, or gone."""
        cdef EntryPoint entry_point
        cdef int http_error = self.error
        cdef int alert
        self.error = 0
        if self.conn == NULL:
            return 0
        entry_point = self.endpoint.entry_point
        alert = ngtcp2_conn_get_tls_alert(self.conn)
        if self.shaking:
            entry_point.stats.errors[<int>ERROR_TLS] += 1
            entry_point.stats.handshakes_failed[cause_of(error, alert)] += 1
        if error == NGTCP2_ERR_DRAINING or error == NGTCP2_ERR_IDLE_CLOSE or error == NGTCP2_ERR_DROP_CONN \
                or error == NGTCP2_ERR_HANDSHAKE_TIMEOUT or error == NGTCP2_ERR_CLOSING or error == NGTCP2_ERR_RETRY:
            self.is_drained = True             # nothing may be sent, or nobody would read it
            return self.closed()
        if not self.shaking:
            entry_point.stats.errors[<int>(ERROR_ABUSE if http_error == NGHTTP3_ERR_H3_EXCESSIVE_LOAD else ERROR_BAD_REQUEST)] += 1
        if http_error:
            self.close_quic(nghttp3_err_infer_quic_app_error_code(http_error), True)
        elif error == NGTCP2_ERR_CRYPTO and alert:
            self.close_quic(<uint64_t>0x100 + <uint64_t>alert, False)
        else:
            self.close_with(error)
        return self.closed()

    cdef int close_with(self, int error) except -1:
        """Close the connection for an error of the library."""
        cdef CloseError reason
        ngtcp2_ccerr_default(&reason)
        ngtcp2_ccerr_set_liberr(&reason, error, NULL, 0)
        return self.say_closed(&reason)

    cdef int close_quic(self, uint64_t code, bint application) except -1:
        """Close the connection with a code, of HTTP/3 (`application`) or QUIC."""
        cdef CloseError reason
        ngtcp2_ccerr_default(&reason)
        if application:
            ngtcp2_ccerr_set_application_error(&reason, code, NULL, 0)
        else:
            ngtcp2_ccerr_set_transport_error(&reason, code, NULL, 0)
        return self.say_closed(&reason)

    cdef int say_closed(self, const CloseError* reason) except -1:
        cdef PathStorage storage
        cdef PacketInfo info
        cdef ssize_t n
        cdef bytes last = b""
        if self.conn == NULL or self.is_drained:
            return 0
        self.is_drained = True
        memset(&storage, 0, sizeof(storage))
        storage.path.local.address = storage.local
        storage.path.remote.address = storage.remote
        n = ngtcp2_conn_write_connection_close(self.conn, &storage.path, NGTCP2_PKT_INFO_V1, &info, OUTPUT, LEAST_DATAGRAM, reason,
                                               monotonic_ns())
        if n > 0:
            self.endpoint.send(&storage.path, OUTPUT, <size_t>n, <size_t>n)
            last = (<const char*>OUTPUT)[:n]
        return self.endpoint.remember_end(self.first_id, last)

    cdef int shut(self, object error) except -1:
        """Close after an internal error."""
        if self.conn == NULL:
            return 0
        _log.error("internal error on a connection of entry point %s", self.endpoint.entry_point.name, exc_info=error)
        self.close_quic(H3_INTERNAL_ERROR, True)
        return self.closed()

    # Streams

    cdef void doom(self, Flow* flow, uint64_t code) noexcept:
        """Reset both sides of a stream, and end its exchange as if the stream were closed. Safe in callbacks."""
        ngtcp2_conn_shutdown_stream(self.conn, 0, flow.id, code)
        nghttp3_conn_shutdown_stream_write(self.http, flow.id)
        flow.discards = True
        self.mark(flow, FLOW_CLOSED)

    cdef void give_room(self, Flow* flow) noexcept:
        """Have the source continue, if enough of the output was sent and acknowledged. That of a flow of which nothing is left does
        not wait for others: nothing would call it afterwards."""
        if flow.full and flow.output.waiting <= (0 if self.buffered > BUFFERED_BYTES else FLOW_BYTES // 2) \
                and flow.output.unacknowledged < FLOW_UNACKNOWLEDGED \
                and (self.unacknowledged < UNACKNOWLEDGED_BYTES or flow.output.unacknowledged == 0 and flow.output.waiting == 0):
            flow.full = False
            self.mark(flow, FLOW_ROOM)

    cdef int resume(self, Flow* flow) except -1:
        if self.conn == NULL:
            return 0
        if flow.deferred:
            flow.deferred = False
            nghttp3_conn_resume_stream(self.http, flow.id)
        return self.reactor.touch(self)

    cdef int put(self, Flow* flow, Span data) except -1:
        if self.conn == NULL or flow.closed:
            return 0
        if blocks_add(&flow.output, data.ptr, data.len) < 0:
            raise MemoryError
        self.buffered += data.len
        flow.full = flow.output.waiting >= FLOW_BYTES or self.buffered >= BUFFERED_BYTES \
            or flow.output.unacknowledged >= FLOW_UNACKNOWLEDGED or self.unacknowledged >= UNACKNOWLEDGED_BYTES
        return self.resume(flow)

    cdef int consume(self, Flow* flow, Py_ssize_t count) except -1:
        queue_take(&flow.input, count)
        if self.conn == NULL or count == 0:
            return 0
        ngtcp2_conn_extend_max_stream_offset(self.conn, flow.id, <uint64_t>count)
        ngtcp2_conn_extend_max_offset(self.conn, <uint64_t>count)
        return self.reactor.touch(self)

    cdef int reset(self, Flow* flow, int error) except -1:
        if self.conn == NULL or flow.closed:
            return 0
        ngtcp2_conn_shutdown_stream(self.conn, 0, flow.id, code_of(error))
        nghttp3_conn_shutdown_stream_write(self.http, flow.id)
        flow.discards = True
        self.mark(flow, FLOW_CLOSED)       # the library closes the stream later, when the peer has ended its side
        return self.reactor.touch(self)

    cdef void make_incremental(self, Flow* flow) noexcept:
        cdef H3Priority priority
        priority.urgency = DEFAULT_URGENCY
        priority.incremental = 1
        priority.unused[0] = priority.unused[1] = priority.unused[2] = 0
        if self.http != NULL:
            nghttp3_conn_set_server_stream_priority(self.http, flow.id, NGHTTP3_PRI_V1, &priority)

    cdef int submit_response(self, Flow* flow, bint has_body) except -1:
        if self.conn == NULL or flow.closed:
            return 0
        if not has_body:
            flow.put_ended = flow.eof = True
        if nghttp3_conn_submit_response(self.http, flow.id, self.list.fields, <size_t>self.list.count,
                                        &READER if has_body else NULL) != 0:
            raise MemoryError
        return self.reactor.touch(self)

    cdef int submit_interim(self, Flow* flow, int status) except -1:
        if self.conn == NULL or flow.closed:
            return 0
        if (status and list_status(status, 0, self.list) < 0) \
                or nghttp3_conn_submit_info(self.http, flow.id, self.list.fields, <size_t>self.list.count) != 0:
            raise MemoryError
        return self.reactor.touch(self)

    cdef int end_both(self, Flow* flow) except -1:
        if self.conn == NULL or flow.closed or flow.ended:
            return 0
        if not flow.eof:
            flow.resets_after = True
            return 0
        ngtcp2_conn_shutdown_stream_read(self.conn, 0, flow.id, H3_NO_ERROR)
        nghttp3_conn_shutdown_stream_read(self.http, flow.id)
        return self.reactor.touch(self)

    cdef void release(self, Flow* flow) noexcept:
        cdef Py_ssize_t held = queue_len(&flow.input)
        self.unmark(flow)
        if self.http != NULL:
            nghttp3_conn_set_stream_user_data(self.http, flow.id, NULL)
        if self.conn != NULL and held:
            ngtcp2_conn_extend_max_offset(self.conn, <uint64_t>held)
        self.buffered -= flow.output.waiting
        self.unacknowledged -= flow.output.unacknowledged
        queue_free(&flow.input)
        blocks_free(&flow.output)
        drop_trailers(flow)

    cdef void end_abuse(self) noexcept:
        self.reactor.touch(self)               # `after_send` closes it

    # Implemented by the sides

    cdef Flow* begin_section(self, int64_t stream_id) noexcept:
        """The flow of a stream that has just begun. NULL ends the connection."""
        return NULL

    cdef int take_field(self, Flow* flow, Span name, Span value) noexcept:
        """Take a field of a head, or of trailers. Returns 0, or -1 if the message is malformed."""
        return 0

    cdef int handshake_complete(self) except -1:
        return 0

    cdef int address_changed(self) except -1:
        return 0

    cdef int after_send(self) except -1:
        """The output of a batch was sent, or waits. The session may be closed."""
        return 0

    cdef int closed(self) except -1:
        """The connection has ended, and the peer was told if possible: end the streams, and free the session."""
        return 0
