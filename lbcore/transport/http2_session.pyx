"""A session of HTTP/2 over a socket: input goes through the library, and the library's output is sent once for each batch of events.

The library (`lbcore.http2`) parses and serialises frames, and does the flow control; what its callbacks record is in `flow`.

    receive:  socket ─► library ─► callbacks record ─► flow_ready
    send:     flow.output ─► library ─► socket.output ─► one call
"""

import logging

from libc.stdint cimport int32_t, int64_t, uint32_t, uint8_t
from libc.string cimport memcpy

from lbcore.http.buffer cimport Buffer, buffer_acquire, buffer_len, buffer_release, buffer_reserve, buffer_room
from lbcore.http.fields cimport list_status
from lbcore.http.heap cimport LibraryMemory
from lbcore.http.span cimport Span, span_of
from lbcore.http2.memory cimport memory_is_owned, own_memory
from lbcore.http2.nghttp2 cimport *
from lbcore.transport.epoll cimport EPOLLERR, EPOLLHUP, EPOLLOUT
from lbcore.transport.fault cimport is_gone
from lbcore.transport.flow cimport (
    BUFFERED_BYTES, CREDIT, DEFAULT_URGENCY, FLOW_BYTES, FLOW_CLOSED, FLOW_INPUT, FLOW_ROOM, FRAME_CREDIT, RESET_CANCELLED,
    RESET_CONNECT, RESET_MALFORMED, RESET_NO_ERROR, SESSION_WINDOW, STREAM_WINDOW, Flow, FlowSession,
    blocks_add, blocks_copy, blocks_free, blocks_move, drop_trailers, queue_add, queue_free, queue_len, queue_take,
)
from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED, OwnedSocket

cdef enum:
    BATCH_BYTES = 53000        # serialised output that is sent with one call; with one more frame it fits into a large block
    HEADER_BLOCK_BYTES = 2097152       # most bytes of a head that is sent
    PREFACE_BYTES = 24
    SILENT_BYTES = 64          # bytes of the peer that cost 1 if the library ignores them without a callback

_log = logging.getLogger("lbcore.transport")


cdef uint32_t code_of(int error) noexcept:
    """HTTP/2's number of a FlowError."""
    if error == RESET_NO_ERROR:
        return NGHTTP2_NO_ERROR
    if error == RESET_MALFORMED:
        return NGHTTP2_PROTOCOL_ERROR
    if error == RESET_CANCELLED:
        return NGHTTP2_CANCEL
    return NGHTTP2_CONNECT_ERROR if error == RESET_CONNECT else NGHTTP2_INTERNAL_ERROR


cdef inline int32_t number_at(const uint8_t* bytes) noexcept:
    """31 bits; the one in front is reserved."""
    return (bytes[0] & 0x7F) << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3]


# The callbacks of the library. `data` is the Http2Session, borrowed.

cdef int on_begin_headers(void* session, const FrameHead* frame, void* data) noexcept:
    cdef Http2Session self = <Http2Session>data
    self.called_back = True
    self.section = <Flow*>nghttp2_session_get_stream_user_data(session, frame.stream_id)
    if self.section == NULL:
        self.section = self.begin_section(frame.stream_id)
        if self.section == NULL:
            self.note_late(frame.stream_id)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
        nghttp2_session_set_stream_user_data(session, frame.stream_id, self.section)
        self.newest_id = frame.stream_id
    return 0


cdef int on_header(void* session, const FrameHead* frame, const uint8_t* name, size_t name_length, const uint8_t* value,
                   size_t value_length, uint8_t flags, void* data) noexcept:
    cdef Http2Session self = <Http2Session>data
    self.called_back = True
    if self.section == NULL or self.section.id != frame.stream_id:
        return 0
    return self.take_field(self.section, span_of(<const char*>name, <Py_ssize_t>name_length),
                           span_of(<const char*>value, <Py_ssize_t>value_length))


cdef int on_invalid_header(void* session, const FrameHead* frame, const uint8_t* name, size_t name_length,
                           const uint8_t* value, size_t value_length, uint8_t flags, void* data) noexcept:
    """Make the message malformed: the library would ignore the invalid field."""
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE


cdef int on_frame(void* session, const FrameHead* frame, void* data) noexcept:
    cdef Http2Session self = <Http2Session>data
    cdef Flow* flow
    self.called_back = True
    if frame.type == NGHTTP2_DATA or frame.type == NGHTTP2_HEADERS:
        if frame.type == NGHTTP2_HEADERS:
            flow = self.section
            self.section = NULL
            if flow == NULL or flow.id != frame.stream_id:
                return 0
            self.section_complete(flow)
            self.mark(flow, FLOW_INPUT)
        elif frame.length == 0 and not frame.flags & NGHTTP2_FLAG_END_STREAM:
            self.charge(1)
        if frame.flags & NGHTTP2_FLAG_END_STREAM:
            flow = <Flow*>nghttp2_session_get_stream_user_data(session, frame.stream_id)
            if flow != NULL:
                flow.ended = True
                self.mark(flow, FLOW_INPUT)
    else:
        if frame.type == NGHTTP2_RST_STREAM:
            flow = <Flow*>nghttp2_session_get_stream_user_data(session, frame.stream_id)
            if flow != NULL:
                flow.reset_by_peer = True
        self.charge(1)
    self.frame_received(frame)
    return 0


cdef int on_invalid_frame(void* session, const FrameHead* frame, int error, void* data) noexcept:
    (<Http2Session>data).charge(1)
    if frame.type == NGHTTP2_HEADERS and nghttp2_session_get_stream_user_data(session, frame.stream_id) == NULL:
        (<Http2Session>data).note_late(frame.stream_id)        # refused by the library
    return 0


cdef int on_chunk(void* session, uint8_t flags, int32_t stream_id, const uint8_t* bytes, size_t length, void* data) noexcept:
    cdef Http2Session self = <Http2Session>data
    cdef Flow* flow = <Flow*>nghttp2_session_get_stream_user_data(session, stream_id)
    self.called_back = True
    if flow == NULL or flow.discards:
        nghttp2_session_consume(session, stream_id, length)
        return 0
    if queue_add(&flow.input, <const char*>bytes, <Py_ssize_t>length) < 0:
        return NGHTTP2_ERR_CALLBACK_FAILURE
    self.mark(flow, FLOW_INPUT)
    return 0


cdef int on_close(void* session, int32_t stream_id, uint32_t code, void* data) noexcept:
    cdef Http2Session self = <Http2Session>data
    cdef Flow* flow = <Flow*>nghttp2_session_get_stream_user_data(session, stream_id)
    if flow == NULL:
        return 0
    if self.section == flow:
        self.section = NULL
    flow.closed = True
    flow.code = code
    if not flow.ended and not flow.reset_by_peer:
        self.note_late(stream_id)
    self.mark(flow, FLOW_CLOSED)
    return 0


cdef ssize_t on_read(void* session, int32_t stream_id, uint8_t* into, size_t length, uint32_t* flags, DataSource* source,
                     void* data) noexcept:
    """Return the number of bytes of a flow's output that go into the next frame."""
    cdef Http2Session self = <Http2Session>data
    cdef Flow* flow = <Flow*>source.ptr
    cdef Py_ssize_t n = flow.output.waiting
    if n == 0 and not flow.put_ended:
        flow.deferred = True
        return NGHTTP2_ERR_DEFERRED
    if n > <Py_ssize_t>length:
        n = <Py_ssize_t>length
    if n:
        flags[0] |= NGHTTP2_DATA_FLAG_NO_COPY
    if flow.put_ended and n == flow.output.waiting:
        flags[0] |= NGHTTP2_DATA_FLAG_EOF
        flow.eof = True
        if flow.trailers != NULL:
            flags[0] |= NGHTTP2_DATA_FLAG_NO_END_STREAM
            if nghttp2_submit_trailer(session, stream_id, flow.trailers.fields, flow.trailers.count) < 0:
                return NGHTTP2_ERR_CALLBACK_FAILURE
            if not flow.keeps:
                drop_trailers(flow)
    return n


cdef int on_send_data(void* session, const FrameHead* frame, const uint8_t* head, size_t length, DataSource* source,
                      void* data) noexcept:
    """Write a DATA frame with the first bytes of a flow's output."""
    cdef Http2Session self = <Http2Session>data
    cdef Flow* flow = <Flow*>source.ptr
    cdef Buffer* output = &self.socket.output
    if buffer_len(output) >= BATCH_BYTES:
        self.batch_full = True
        return NGHTTP2_ERR_WOULDBLOCK
    if buffer_reserve(output, <Py_ssize_t>length + 9) < 0:
        return NGHTTP2_ERR_CALLBACK_FAILURE
    memcpy(output.base + output.end, head, 9)
    if flow.keeps:
        blocks_copy(&flow.output, output.base + output.end + 9, <Py_ssize_t>length)
        self.keep_sent(flow, <Py_ssize_t>length)
    else:
        blocks_move(&flow.output, output.base + output.end + 9, <Py_ssize_t>length)
    output.end += <Py_ssize_t>length + 9
    self.buffered -= <Py_ssize_t>length
    if self.credit < CREDIT:
        self.credit += FRAME_CREDIT
    if flow.full and flow.output.waiting <= (0 if self.buffered > BUFFERED_BYTES else FLOW_BYTES // 2):
        flow.full = False
        self.mark(flow, FLOW_ROOM)
    return 0


cdef void* CALLBACKS = NULL


cdef int make_callbacks() except -1:
    global CALLBACKS
    if CALLBACKS != NULL:
        return 0
    if nghttp2_session_callbacks_new(&CALLBACKS):
        raise MemoryError
    nghttp2_session_callbacks_set_on_begin_headers_callback(CALLBACKS, on_begin_headers)
    nghttp2_session_callbacks_set_on_header_callback(CALLBACKS, on_header)
    nghttp2_session_callbacks_set_on_invalid_header_callback(CALLBACKS, on_invalid_header)
    nghttp2_session_callbacks_set_on_frame_recv_callback(CALLBACKS, on_frame)
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(CALLBACKS, on_invalid_frame)
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(CALLBACKS, on_chunk)
    nghttp2_session_callbacks_set_on_stream_close_callback(CALLBACKS, on_close)
    nghttp2_session_callbacks_set_send_data_callback(CALLBACKS, on_send_data)
    return 0


cdef class Http2Session(FlowSession):
    """The session of one connection, which opens and frees it. Subclasses implement the calls for events of their side."""

    def __dealloc__(self):
        self.free()

    cdef int open(self, OwnedSocket socket, bint is_server, uint32_t streams, uint32_t decoder_bytes, uint32_t encoder_bytes) except -1:
        """Begin the session over a socket in the reactor, with our SETTINGS.

        streams        most streams that the peer may have open at a time.
        decoder_bytes  size of the table by which the peer may encode fields; `encoder_bytes`: largest size of ours.
        """
        cdef void* option = NULL
        cdef Setting settings[6]
        cdef LibraryMemory memory
        cdef int result
        make_callbacks()
        self.socket = socket
        self.reactor = socket.reactor
        if nghttp2_option_new(&option):
            raise MemoryError
        nghttp2_option_set_no_auto_window_update(option, 1)
        nghttp2_option_set_no_closed_streams(option, 1)
        nghttp2_option_set_max_outbound_ack(option, 100)
        nghttp2_option_set_max_send_header_block_length(option, HEADER_BLOCK_BYTES)
        nghttp2_option_set_max_deflate_dynamic_table_size(option, encoder_bytes)
        nghttp2_option_set_builtin_recv_extension_type(option, NGHTTP2_PRIORITY_UPDATE)
        if nghttp2_option_set_stream_reset_rate_limit != NULL:
            nghttp2_option_set_stream_reset_rate_limit(option, 1 << 30, 1 << 30)       # `charge` limits resets
        own_memory(&self.memory, &memory)
        if is_server:
            self.frame_left = PREFACE_BYTES
            result = nghttp2_session_server_new3(&self.session, CALLBACKS, <void*>self, option, &memory)
        else:
            nghttp2_option_set_peer_max_concurrent_streams(option, 100)
            result = nghttp2_session_client_new3(&self.session, CALLBACKS, <void*>self, option, &memory)
        memory_is_owned(&self.memory)
        nghttp2_option_del(option)
        if result:
            self.session = NULL
            raise MemoryError
        self.is_server = is_server
        self.credited_ms = self.reactor.now_ms
        settings[0].id = NGHTTP2_SETTINGS_HEADER_TABLE_SIZE
        settings[0].value = decoder_bytes
        settings[1].id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
        settings[1].value = STREAM_WINDOW
        if is_server:
            settings[2].id = NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
            settings[2].value = streams
            settings[3].id = NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL
            settings[3].value = 1
            settings[4].id = NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES
            settings[4].value = 1
        else:
            settings[2].id = NGHTTP2_SETTINGS_ENABLE_PUSH
            settings[2].value = 0
        if nghttp2_submit_settings(self.session, NGHTTP2_FLAG_NONE, settings, 5 if is_server else 3) \
                or nghttp2_session_set_local_window_size(self.session, NGHTTP2_FLAG_NONE, 0, SESSION_WINDOW):
            raise MemoryError
        return 0

    cdef void free(self) noexcept:
        """Free the library's memory, but not the flows, which belong to the owner. Safe to call twice; not from a callback."""
        cdef void* session = self.session
        self.session = NULL
        self.first_ready = self.last_ready = self.section = NULL
        if session != NULL:
            nghttp2_session_del(session)

    cdef void end_abuse(self) noexcept:
        nghttp2_session_terminate_session(self.session, NGHTTP2_ENHANCE_YOUR_CALM)

    cdef void look_through(self, const uint8_t* bytes, Py_ssize_t length) noexcept:
        """Find the frames in what the peer has sent, before the library reads them. O(frames)."""
        cdef const uint8_t* head
        cdef Py_ssize_t n
        while length > 0:
            if self.frame_left:
                n = min(self.frame_left, length)
                self.frame_left -= n
                bytes += n
                length -= n
                continue
            if self.head_have == 0 and length >= FRAME_HEAD_BYTES:
                head, n = bytes, FRAME_HEAD_BYTES
            else:
                n = min(<Py_ssize_t>(FRAME_HEAD_BYTES - self.head_have), length)
                memcpy(self.frame_head + self.head_have, bytes, n)
                self.head_have += <int>n
                head = self.frame_head
            bytes += n
            length -= n
            if head == self.frame_head:
                if self.head_have < FRAME_HEAD_BYTES:
                    return
                self.head_have = 0
            self.frame_left = head[0] << 16 | head[1] << 8 | head[2]
            if head[3] <= NGHTTP2_PRIORITY or head[3] == NGHTTP2_PRIORITY_UPDATE:
                self.look_at(head, bytes, min(length, self.frame_left))

    cdef void look_at(self, const uint8_t* head, const uint8_t* bytes, Py_ssize_t length) noexcept:
        """End the connection of a peer that breaks rules which the library lets pass: it forgets streams that have ended, and ignores
        what comes for them (RFC 9113 section 5.1), all of PRIORITY (section 6.3; RFC 7540 section 5.3.1), and a PRIORITY_UPDATE of
        the connection (RFC 9218 section 7.1)."""
        cdef int32_t stream_id = number_at(head + 5)
        if head[3] == NGHTTP2_PRIORITY_UPDATE:
            if length >= 4 and number_at(bytes) == 0:
                nghttp2_session_terminate_session(self.session, NGHTTP2_PROTOCOL_ERROR)
        elif head[3] == NGHTTP2_PRIORITY:
            if stream_id == 0 or self.frame_left == 5 and length >= 4 and number_at(bytes) == stream_id:
                nghttp2_session_terminate_session(self.session, NGHTTP2_PROTOCOL_ERROR)
        elif stream_id <= self.newest_id and stream_id & 1 \
                and nghttp2_session_get_stream_user_data(self.session, stream_id) == NULL and not self.may_be_late(stream_id):
            nghttp2_session_terminate_session(self.session, NGHTTP2_STREAM_CLOSED)

    cdef void note_late(self, int32_t stream_id) noexcept:
        """Remember that a stream ended before the peer had ended its side."""
        cdef int32_t forgotten = self.late[self.late_at]
        if forgotten > self.late_before:
            self.late_before = forgotten
        self.late[self.late_at] = stream_id
        self.late_at = (self.late_at + 1) % LATE_STREAMS
        self.late_bytes = min(self.late_bytes + LATE_BYTES, <Py_ssize_t>(LATE_STREAMS * LATE_BYTES))

    cdef void charge_silent(self, Py_ssize_t count) noexcept:
        """Charge for input that the library has ignored. What was on its way when lbcore ended a stream is free: a body that nobody wants
        is no flood."""
        cdef Py_ssize_t late = min(count, self.late_bytes)
        self.late_bytes -= late
        self.charge(<int>((count - late) // SILENT_BYTES))

    cdef bint may_be_late(self, int32_t stream_id) noexcept:
        """Whether frames of a stream that has ended may have been on their way when it did."""
        cdef int i
        if stream_id <= self.late_before:
            return True
        for i in range(LATE_STREAMS):
            if self.late[i] == stream_id:
                return True
        return False

    cdef bint is_finished(self) noexcept:
        """Whether the library has nothing more to receive or to send: after an error, or because all streams have ended after a
        GOAWAY."""
        if self.graceful and not self.abused:
            return False
        return self.session == NULL or (not nghttp2_session_want_read(self.session) and not nghttp2_session_want_write(self.session))

    # Input

    cdef int receive(self) except -1:
        """Process the socket's input, also while the peer does not take our output: one that waits for us to read, before it reads
        itself, would wait for ever (RFC 9113 section 5.2.2). Sets `ended` and `broken`."""
        cdef OwnedSocket socket = self.socket
        cdef Buffer* input = &socket.input
        cdef Py_ssize_t n
        cdef ssize_t used
        while self.session != NULL and not self.broken:
            if buffer_len(input) == 0:
                if not socket.readable:
                    break
                if buffer_acquire(input) < 0:
                    raise MemoryError
                input.start = input.end = 0
                n = socket.receive(input, buffer_room(input))
                if n == IO_AGAIN:
                    break
                if n <= 0:
                    self.ended = True
                    self.broken = n < 0
                    break
                self.bytes_in += n
            if not nghttp2_session_want_read(self.session) and (self.abused or not self.graceful):
                input.start = input.end            # input behind the end of the session has no meaning
                break
            if self.is_server:
                self.look_through(<const uint8_t*>(input.base + input.start), buffer_len(input))
            self.called_back = False
            used = nghttp2_session_mem_recv(self.session, <const uint8_t*>(input.base + input.start), <size_t>buffer_len(input))
            if not self.called_back:
                self.charge_silent(buffer_len(input))
            input.start = input.end
            if used < 0:
                self.ended = self.failed = True
                if used == NGHTTP2_ERR_FLOODED:
                    self.abused = True
                break
            self.serve_ready()
            if self.session != NULL and socket.readable:
                self.send()
        if buffer_len(input) == 0:
            buffer_release(input)
        if self.session != NULL and self.socket.reactor is not None:
            self.reactor.touch(self)
        return 0

    # Output

    cdef int on_batch_end(self) except -1:
        if self.session != NULL:
            self.send()
            if self.deaf and self.socket.readable and not self.ended:
                self.receive()
            self.after_send()
        return 0

    cdef int encode(self) except -1:
        """Have the library append frames to `socket.output`, up to one batch."""
        cdef Buffer* output = &self.socket.output
        cdef const uint8_t* frames
        cdef Py_ssize_t before = buffer_len(output)
        cdef ssize_t n = 0
        self.batch_full = False
        while buffer_len(output) < BATCH_BYTES:
            n = nghttp2_session_mem_send(self.session, &frames)
            if n <= 0:
                break
            if buffer_reserve(output, n) < 0:
                n = -1
                break
            memcpy(output.base + output.end, frames, n)
            output.end += n
        else:
            self.batch_full = True
        self.bytes_out += buffer_len(output) - before
        if n < 0:
            self.broken = self.failed = True
        return 0

    cdef int send(self) except -1:
        """Send the output as far as the socket takes it, and resume the sources that wait for room."""
        cdef int result
        while self.session != NULL and not self.blocked and not self.broken and not self.failed and not self.deaf:
            self.encode()
            if buffer_len(&self.socket.output):
                result = self.socket.push()
                if result == IO_FAILED:
                    self.lose_peer()
                elif result == IO_AGAIN:
                    self.blocked = True
            if self.first_ready != NULL:
                self.serve_ready()
            elif not self.batch_full and not (self.resets and self.reset_ended()):
                break
        return 0

    cdef void lose_peer(self) noexcept:
        """The socket takes nothing more. What a server has sent before that is read, up to the end which it leads to."""
        if not self.asks or not is_gone(self.socket.fault):
            self.broken = True
            return
        self.deaf = True
        self.blocked = False
        buffer_release(&self.socket.output)
        self.socket.readable = True

    cdef bint reset_ended(self) noexcept:
        """Reset the flows of `resets` whose last frame the library has sent. Returns whether there was one.

        Not before: a stream for which a reset is submitted gets none of its frames that wait, be it the whole answer or its trailers.
        """
        cdef Flow* flow = self.newest
        cdef bint found = False
        while flow != NULL:
            if flow.resets_after and not flow.closed and nghttp2_session_get_stream_local_close(self.session, <int32_t>flow.id) == 1:
                flow.resets_after = False
                self.resets -= 1
                nghttp2_submit_rst_stream(self.session, NGHTTP2_FLAG_NONE, <int32_t>flow.id, NGHTTP2_NO_ERROR)
                found = True
            flow = flow.older
        return found

    # Streams

    cdef int put(self, Flow* flow, Span data) except -1:
        if self.session == NULL or flow.closed:
            return 0
        if blocks_add(&flow.output, data.ptr, data.len) < 0:
            raise MemoryError
        self.buffered += data.len
        flow.full = flow.output.waiting >= FLOW_BYTES or self.buffered >= BUFFERED_BYTES
        return self.resume(flow)

    cdef int resume(self, Flow* flow) except -1:
        if self.session == NULL:
            return 0
        if flow.deferred:
            flow.deferred = False
            nghttp2_session_resume_data(self.session, <int32_t>flow.id)
        return self.reactor.touch(self)

    cdef int consume(self, Flow* flow, Py_ssize_t count) except -1:
        queue_take(&flow.input, count)
        if self.session == NULL:
            return 0
        nghttp2_session_consume(self.session, <int32_t>flow.id, <size_t>count)
        return self.reactor.touch(self)

    cdef int reset(self, Flow* flow, int error) except -1:
        if self.session == NULL or flow.closed:
            return 0
        nghttp2_submit_rst_stream(self.session, NGHTTP2_FLAG_NONE, <int32_t>flow.id, code_of(error))
        return self.reactor.touch(self)

    cdef void make_incremental(self, Flow* flow) noexcept:
        cdef ExtendedPriority priority
        priority.urgency = DEFAULT_URGENCY
        priority.incremental = 1
        nghttp2_session_change_extpri_stream_priority(self.session, <int32_t>flow.id, &priority, 0)

    cdef int submit_request(self, Flow* flow, bint has_body) except -1:
        """Begin a stream with the head that is in `list`; a body is put afterwards. The library copies the fields."""
        cdef DataProvider provider
        cdef DataProvider* body = NULL
        cdef int32_t stream_id
        if has_body:
            provider.source.ptr = flow
            provider.read = on_read
            body = &provider
        else:
            flow.put_ended = flow.eof = True
        stream_id = nghttp2_submit_request(self.session, NULL, self.list.fields, <size_t>self.list.count, body, flow)
        if stream_id < 0:
            raise MemoryError
        flow.id = stream_id
        return self.reactor.touch(self)

    cdef int submit_response(self, Flow* flow, bint has_body) except -1:
        cdef DataProvider provider
        cdef DataProvider* body = NULL
        if self.session == NULL or flow.closed:
            return 0
        if has_body:
            provider.source.ptr = flow
            provider.read = on_read
            body = &provider
        else:
            flow.put_ended = flow.eof = True
        if nghttp2_submit_response(self.session, <int32_t>flow.id, self.list.fields, <size_t>self.list.count, body):
            raise MemoryError
        return self.reactor.touch(self)

    cdef int submit_interim(self, Flow* flow, int status) except -1:
        if self.session == NULL or flow.closed:
            return 0
        if (status and list_status(status, 0, self.list) < 0) or nghttp2_submit_headers(
                self.session, NGHTTP2_FLAG_NONE, <int32_t>flow.id, NULL, self.list.fields, <size_t>self.list.count, NULL) < 0:
            raise MemoryError
        return self.reactor.touch(self)

    cdef int end_both(self, Flow* flow) except -1:
        if self.session == NULL or flow.closed:
            return 0
        if not flow.resets_after:
            flow.resets_after = True
            self.resets += 1
        return self.reactor.touch(self)

    cdef void release(self, Flow* flow) noexcept:
        cdef Py_ssize_t held = queue_len(&flow.input)
        self.unmark(flow)
        if flow.resets_after:
            flow.resets_after = False
            self.resets -= 1
        if self.section == flow:
            self.section = NULL
        if not flow.closed and flow.id and self.session != NULL:
            nghttp2_session_set_stream_user_data(self.session, <int32_t>flow.id, NULL)
        self.buffered -= flow.output.waiting
        self.end_keeping(flow)
        if held and self.session != NULL:
            nghttp2_session_consume_connection(self.session, <size_t>held)
        queue_free(&flow.input)
        blocks_free(&flow.output)
        drop_trailers(flow)

    # Of the connection

    cdef int socket_event(self, uint32_t events) except -1:
        """Send and receive after an event of the socket, which has passed `socket.note`."""
        cdef OwnedSocket socket = self.socket
        cdef int result
        if events & EPOLLOUT and self.blocked:
            result = socket.push()
            if result == IO_FAILED:
                self.lose_peer()
            elif result == 0:
                self.blocked = False
                self.reactor.touch(self)
        if (socket.readable or buffer_len(&socket.input)) and not self.broken:
            self.receive()
        if events & (EPOLLERR | EPOLLHUP) and self.blocked:
            self.broken = True
        return 0

    cdef int set_timer(self, int64_t delay_ms) except -1:
        return self.reactor.arm(self.socket, delay_ms)

    cdef void batch_end_failed(self, object error) noexcept:
        if self.socket.owner is not None:
            self.socket.fail(error)

    # Implemented by the sides

    cdef Flow* begin_section(self, int32_t stream_id) noexcept:
        """The flow of a stream that has just begun with a field section. NULL refuses the stream."""
        return NULL

    cdef int take_field(self, Flow* flow, Span name, Span value) noexcept:
        """Take a field of the present section. Returns 0, or NGHTTP2_ERR_…"""
        return 0

    cdef void section_complete(self, Flow* flow) noexcept:
        """A field section is complete: a head, or trailers if there was a head before."""
        flow.head_complete = True

    cdef void frame_received(self, const FrameHead* frame) noexcept:
        """A frame, or a field section, was received completely."""
        pass

    cdef int after_send(self) except -1:
        """The output of a batch was handed to the socket, or waits for it."""
        return 0
