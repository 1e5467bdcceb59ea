"""HTTP/3 towards a client (RFC 9114): a connection of QUIC, by the settings of the entry point's TLS. The streams are those of
`flow_client`.
"""

import logging

cimport cython
from libc.stdint cimport UINT64_MAX, int64_t, uint8_t, uint64_t

from lbcore.http.head cimport ClientAddress
from lbcore.http.heap cimport library_memory
from lbcore.http.span cimport Span
from lbcore.http3.nghttp3 cimport *
from lbcore.http3.ngtcp2 cimport *
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.state.layout cimport ERROR_ABUSE, ERROR_CLIENT_TIMEOUT
from lbcore.tls.handshake cimport accept
from lbcore.tls.openssl cimport (
    CTRL_MIN_VERSION, ERR_clear_error, SSL_CIPHER_standard_name, SSL_ctrl, SSL_get_current_cipher, SSL_set_ex_data, TLS_1_3,
)
from lbcore.transport.address cimport read_address
from lbcore.transport.flow cimport FLOW_CLOSED, RESET_CANCELLED, SESSION_WINDOW, STREAM_WINDOW, Flow
from lbcore.transport.flow_client cimport SHUTDOWN_FINAL, FlowConnection, FlowStream, stream_of, stream_take
from lbcore.transport.http3_session cimport Http3Session, callbacks, on_conn
from lbcore.transport.inet cimport sockaddr_storage
from lbcore.transport.quic cimport OWN_CID_BYTES, QuicEndpoint, QuicSession
from lbcore.transport.reactor cimport Timed
from lbcore.transport.tls cimport TlsEncryption

cdef enum:
    UNI_WINDOW = 65536         # bytes of a control stream that the client may send before they are consumed
    UNI_STREAMS = 16           # that the client may have open: three are needed, others have types that are unknown
    CLIENT_IDS = 8             # connection ids of the client that are kept for changes of its address
    NOTICE_LEAST_MS = 50
    NOTICE_MOST_MS = 1000      # longest time between the two GOAWAYs of a graceful shutdown

cdef uint64_t MS_NS = 1000000
cdef uint64_t HANDSHAKE_NS = 10000 * MS_NS
cdef uint64_t ALIVE_NS = 10000 * MS_NS      # between packets that keep a connection alive while a request is under way

_log = logging.getLogger("lbcore.transport")


@cython.final
cdef class Http3ClientSession(Http3Session):
    """The session of a connection: field sections become requests."""

    cdef Flow* begin_section(self, int64_t stream_id) noexcept:
        cdef FlowStream stream
        cdef int64_t limit_ms
        if self.connection is None:
            return NULL
        try:
            stream = stream_take(self.connection, stream_id)
            stream.began_ms = self.reactor.now_ms
            limit_ms = self.connection.entry_point.limits.header_timeout_ms
            if limit_ms:
                self.check_by(stream.began_ms + limit_ms)
        except Exception:
            return NULL
        return &stream.flow

    cdef int take_field(self, Flow* flow, Span name, Span value) noexcept:
        return 0 if self.connection is None else self.connection.take_field(flow, name, value)

    cdef int flow_ready(self, Flow* flow, uint8_t events) except -1:
        cdef FlowStream stream = <FlowStream>flow.owner
        if flow.resets_after and flow.eof and not events & FLOW_CLOSED:
            flow.resets_after = False
            self.end_both(flow)
        try:
            return stream.ready(events)
        except Exception as error:
            return stream.failed(error)

    cdef int handshake_complete(self) except -1:
        cdef Http3ClientConnection connection = self.connection
        connection.tls_cipher = SSL_CIPHER_standard_name(SSL_get_current_cipher(self.handshake.ssl))
        connection.server_name = self.handshake.server_name
        if self.handshake.asks_for_certificate:
            connection.tls_subject = self.handshake.peer_subject()
            connection.tls_chain = self.handshake.peer_chain()
        return 0

    cdef int address_changed(self) except -1:
        cdef Http3ClientConnection connection = self.connection
        read_address(<const sockaddr_storage*>ngtcp2_conn_get_path(self.conn).remote.address, &connection.address)
        connection.trusted = connection.entry_point.trusted.hold(&connection.address)
        return 0

    cdef int after_send(self) except -1:
        return 0 if self.connection is None else self.connection.proceed()

    cdef int closed(self) except -1:
        return 0 if self.connection is None else self.connection.close()

    cdef int set_timer(self, int64_t delay_ms) except -1:
        return 0 if self.connection is None else self.reactor.arm(self.connection.timer, delay_ms)

    cdef void use_changed(self) noexcept:
        """Keep a connection alive, before the idle timeout, while its client waits for an answer."""
        cdef const TransportParams* params
        cdef uint64_t every_ns = ALIVE_NS
        cdef int64_t idle_ms
        if self.conn == NULL or self.connection is None:
            return
        if self.open_flows:
            params = ngtcp2_conn_get_remote_transport_params(self.conn)
            idle_ms = self.connection.entry_point.limits.idle_timeout_ms
            if idle_ms:
                every_ns = min(every_ns, <uint64_t>idle_ms * MS_NS // 2)
            if params != NULL and params.max_idle_timeout:
                every_ns = min(every_ns, params.max_idle_timeout // 2)
        ngtcp2_conn_set_keep_alive_timeout(self.conn, every_ns if self.open_flows else UINT64_MAX)


@cython.final
cdef class Http3Timer(Timed):
    """The timer of a connection, which has no channel of its own."""

    cdef int on_timeout(self) except -1:
        cdef Http3ClientConnection connection = self.connection
        if connection is None:
            return 0
        connection.session.check_ms = 0
        return connection.check() if connection.is_open else 0

    cdef void fail(self, object error) noexcept:
        if self.connection is not None:
            self.connection.session.batch_end_failed(error)


@cython.final
cdef class Http3ClientConnection(FlowConnection):
    """A connection of HTTP/3. `Http3Endpoint.accept` makes it."""

    cdef int check(self) except -1:
        cdef int64_t limit_ms = self.entry_point.limits.header_timeout_ms, now_ms = self.session.reactor.now_ms
        cdef FlowStream stream = stream_of(self.session.newest)
        while stream is not None and limit_ms:
            if not stream.begun and not stream.flow.head_complete:
                if now_ms >= stream.began_ms + limit_ms:
                    self.entry_point.stats.errors[<int>ERROR_CLIENT_TIMEOUT] += 1
                    self.session.reset(&stream.flow, RESET_CANCELLED)
                else:
                    self.session.check_by(stream.began_ms + limit_ms)
            stream = stream_of(stream.flow.older)
        return FlowConnection.check(self)

    cdef int proceed(self) except -1:
        """Close if the session has ended. Called after anything was received or sent."""
        cdef Http3ClientSession session = self.session
        if not self.is_open:
            return 0
        if session.abused:
            self.entry_point.stats.errors[<int>ERROR_ABUSE] += 1
            session.close_quic(H3_EXCESSIVE_LOAD, True)
            return self.close()
        if self.shutdown == SHUTDOWN_FINAL and session.open_flows == 0:
            session.close_quic(H3_NO_ERROR, True)
            return self.close()
        return 0

    cdef bint handshake_holds(self) noexcept:
        cdef TlsEncryption encryption = <TlsEncryption>self.entry_point.encryption
        return encryption is None or self.session.handshake.holds_under(encryption.acceptor)

    # The end

    cdef int submit_notice(self) except -1:
        cdef Http3ClientSession session = self.session
        if session.http == NULL:
            return self.abort()
        nghttp3_conn_submit_shutdown_notice(session.http)
        self.notice_until_ms = session.reactor.now_ms + <int64_t>max(
            <uint64_t>NOTICE_LEAST_MS, min(<uint64_t>NOTICE_MOST_MS, 3 * ngtcp2_conn_get_pto(session.conn) // MS_NS))
        return 0

    cdef int submit_goaway(self) except -1:
        if self.session.http == NULL:
            return self.abort()
        nghttp3_conn_shutdown(self.session.http)
        return 0

    cdef int abort(self) except -1:
        if self.is_open:
            self.session.close_quic(H3_NO_ERROR if not self.session.shaking else NGTCP2_CONNECTION_REFUSED,
                                    not self.session.shaking)
        return self.close()

    cdef int close(self) except -1:
        """Abort the exchanges under way, and free the session. The client was told, or has gone. Safe to call twice."""
        cdef Http3ClientSession session = self.session
        cdef QuicEndpoint endpoint
        if not self.is_open:
            return 0
        self.is_open = False
        try:
            self.end_streams()
        finally:
            endpoint = session.endpoint
            self.timer.connection = None
            session.reactor.disarm(self.timer)
            self.leave()
            session.connection = None
            take_out(endpoint, session)
            session.free_quic()
        return 0


cdef int take_out(QuicEndpoint endpoint, Http3Session session) except -1:
    """Remove a session from the tables of its endpoint."""
    cdef Cid[32] ids
    cdef size_t i, count
    endpoint.unschedule(session)
    if session.shaking:
        session.shaking = False
        endpoint.shaking -= 1
    if session.first_id is not None and endpoint.first_ids.get(session.first_id) is session:
        del endpoint.first_ids[session.first_id]
        if session.first_id not in endpoint.ended:
            endpoint.remember_end(session.first_id, b"")
    if session.conn != NULL:
        count = ngtcp2_conn_get_scid(session.conn, NULL)
        if count <= 32:
            ngtcp2_conn_get_scid(session.conn, ids)
            for i in range(count):
                endpoint.remove_id(&ids[i])
    return 0


@cython.final
cdef class Http3Endpoint(QuicEndpoint):
    """HTTP/3 on one entry point."""

    cdef QuicSession accept(self, const Path* path, PacketHead* head, const Cid* original, bint validated, uint64_t now_ns):
        cdef Http3ClientSession session = Http3ClientSession.__new__(Http3ClientSession)
        cdef Http3ClientConnection connection = Http3ClientConnection.__new__(Http3ClientConnection)
        cdef EntryPoint entry_point = self.entry_point
        cdef TlsEncryption encryption = <TlsEncryption>entry_point.encryption
        cdef Settings settings
        cdef TransportParams params
        cdef ClientAddress local
        cdef Cid cid
        cdef bytes address = b""
        cdef const Callbacks* called = callbacks()
        if encryption.wants_address:
            read_address(<const sockaddr_storage*>path.local.address, &local)
            address = local.text[:local.text_len]
        session.reactor = self.reactor
        session.credited_ms = self.reactor.now_ms
        session.endpoint = self
        session.handshake = accept(encryption.acceptor, address)
        session.handshake.quic = True
        session.reference.get_conn = on_conn
        session.reference.user_data = <void*>session
        session.stream_limit = entry_point.http2.streams
        if SSL_ctrl(session.handshake.ssl, CTRL_MIN_VERSION, TLS_1_3, NULL) != 1 \
                or ngtcp2_crypto_ossl_ctx_new(&session.context, session.handshake.ssl) != 0:
            ERR_clear_error()
            raise MemoryError
        if ngtcp2_crypto_ossl_configure_server_session(session.handshake.ssl) != 0:
            ERR_clear_error()
            raise MemoryError
        SSL_set_ex_data(session.handshake.ssl, 0, &session.reference)
        ngtcp2_settings_default(NGTCP2_SETTINGS_V1, &settings)
        settings.initial_ts = now_ns
        settings.handshake_timeout = HANDSHAKE_NS
        if validated:
            settings.token = head.token
            settings.token_length = head.token_length
            settings.token_type = NGTCP2_TOKEN_TYPE_RETRY
        ngtcp2_transport_params_default(NGTCP2_TRANSPORT_PARAMS_V1, &params)
        params.original_dcid = original[0]
        params.original_dcid_present = 1
        if validated:
            params.retry_scid = head.dcid
            params.retry_scid_present = 1
        params.initial_max_streams_bidi = entry_point.http2.streams
        params.initial_max_streams_uni = UNI_STREAMS
        params.initial_max_data = SESSION_WINDOW
        params.initial_max_stream_data_bidi_remote = STREAM_WINDOW
        params.initial_max_stream_data_uni = UNI_WINDOW
        params.max_idle_timeout = <uint64_t>entry_point.limits.idle_timeout_ms * MS_NS
        params.active_connection_id_limit = CLIENT_IDS
        params.grease_quic_bit = 1
        self.make_id(&cid, OWN_CID_BYTES)
        if self.reset_token(params.stateless_reset_token, &cid) == 0:
            params.stateless_reset_token_present = 1
        if ngtcp2_conn_server_new(&session.conn, &head.scid, &cid, path, head.version, callbacks_version, called,
                                  NGTCP2_SETTINGS_V1, &settings, NGTCP2_TRANSPORT_PARAMS_V1, &params, library_memory(),
                                  <void*>session) != 0:
            session.conn = NULL
            raise MemoryError
        ngtcp2_conn_set_tls_native_handle(session.conn, session.context)
        if self.add_id(&cid, session) < 0:
            raise MemoryError
        session.first_id = (<const char*>head.dcid.data)[:head.dcid.length]
        self.first_ids[session.first_id] = session
        session.shaking = True
        self.shaking += 1
        read_address(<const sockaddr_storage*>path.remote.address, &connection.address)
        connection.entry_point = entry_point
        connection.dialer = self.dialer
        connection.connections = self.connections
        connection.version = 3
        connection.session = session
        connection.flows = session
        connection.timer = Http3Timer.__new__(Http3Timer)
        connection.timer.connection = connection
        connection.encrypted = True
        connection.tls_version = b"1.3"
        connection.server_name = b""
        connection.trusted = entry_point.trusted.hold(&connection.address)
        connection.opened_ms = connection.idle_ms = self.reactor.now_ms
        connection.is_open = True
        session.connection = connection
        connection.enter()
        session.check_by(connection.opened_ms)      # `check` then sets the timer by the limits
        return session
