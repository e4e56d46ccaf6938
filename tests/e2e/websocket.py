# SPDX-License-Identifier: Apache-2.0
"""A WebSocket client made of bytes (RFC 6455), as a socket for the raw client.

    b.client(at='ws', wrap=Ws('/mqtt'))                    # the upgrade, checked; then frames
    b.client(at='wss', wrap=Ws('/mqtt', over=Tls()))

    c.sock.send_frame(PING, b'x')       # any frames; what MQTT sends goes in a binary one each
    c.sock.controls                     # (opcode, payload) of PING, PONG and CLOSE that have come

It is as lenient in what it sends as it is told to be, and strict in what it takes: a frame that a
server may not send raises WireError. Shares nothing with proto/. A PING is answered; so is a CLOSE.
"""
import base64
import hashlib
import os
import re
import socket
import struct

from raw import Unexpected, WireError

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
HEAD_BYTES_MAX = 4096  # of an answer


def frame(opcode, payload=b'', fin=True, mask=None, rsv=0, length_bytes=None, length=None):
    """One frame. mask: 4 bytes, at random if None, b'' for none. length_bytes: 0, 2 or 8 of an
    extended length, the shortest if None; length: a lie."""
    size = len(payload) if length is None else length
    if length_bytes is None:
        length_bytes = 0 if size < 126 else 2 if size < 65536 else 8
    mask = os.urandom(4) if mask is None else mask
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    marked = 0x80 if mask else 0
    head = bytes([first, marked | {0: size, 2: 126, 8: 127}[length_bytes]])
    head += {0: b'', 2: struct.pack('>H', size & 0xFFFF), 8: struct.pack('>Q', size)}[length_bytes]
    return head + mask + (masked(payload, mask) if mask else payload)


def masked(payload, mask):
    whole = int.from_bytes(payload, 'little') ^ int.from_bytes(
        (mask * (len(payload) // 4 + 1))[:len(payload)], 'little')
    return whole.to_bytes(len(payload), 'little')


def close_payload(code, reason=b''):
    return struct.pack('>H', code) + reason


def request(path='/mqtt', protocols='mqtt', key=None, method='GET', version='HTTP/1.1', leave_out=(),
            **fields):
    """The bytes of an upgrade. fields: header fields with _ for -, in place of the usual ones or
    besides them."""
    usual = {'Host': 'broker.test', 'Upgrade': 'websocket', 'Connection': 'Upgrade',
             'Sec_WebSocket_Key': key or base64.b64encode(os.urandom(16)).decode(),
             'Sec_WebSocket_Version': '13'}
    if protocols is not None:
        usual['Sec_WebSocket_Protocol'] = protocols
    head = [f'{method} {path} {version}'] + [
        f'{name.replace("_", "-")}: {value}' for name, value in {**usual, **fields}.items()
        if name not in leave_out]
    return ('\r\n'.join(head) + '\r\n\r\n').encode()


class Answer:
    """An HTTP answer: its status, its fields (names in lower case), and what came behind them."""

    def __init__(self, data):
        head, self.rest = data.split(b'\r\n\r\n', 1)
        lines = head.decode('latin-1').split('\r\n')
        found = re.fullmatch(r'HTTP/1\.1 (\d{3}) [^\r\n]*', lines[0])
        if found is None:
            raise WireError(f'no status line of HTTP/1.1: {lines[0]!r}')
        self.status, self.fields = int(found[1]), {}
        for line in lines[1:]:
            name, colon, value = line.partition(':')
            if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                raise WireError(f'no header field: {line!r}')
            if name.lower() in self.fields:
                raise WireError(f'a header field twice: {line!r}')
            self.fields[name.lower()] = value.strip()

    def __repr__(self):
        return f'{self.status} {self.fields} {self.rest[:60]!r}'


def receive_answer(sock):
    data = b''
    while b'\r\n\r\n' not in data:
        more = sock.recv(4096)
        if not more:
            raise Unexpected(f'the end came before an answer: {data!r}')
        data += more
        if len(data) > HEAD_BYTES_MAX:
            raise WireError(f'an answer without end: {data[:200]!r}…')
    return Answer(data)


class Ws:
    """A way to open WebSocket connections."""

    def __init__(self, path='/mqtt', protocols='mqtt', over=None, **fields):
        """over: a Tls."""
        self.path, self.protocols, self.over, self.fields = path, protocols, over, fields

    def __call__(self, sock):
        if self.over is not None:
            sock = self.over(sock)
        key = base64.b64encode(os.urandom(16))
        sock.sendall(request(self.path, self.protocols, key.decode(), **self.fields))
        answer = receive_answer(sock)
        check_upgrade(answer, key, self.protocols)
        return WebSocket(sock, answer)


def check_upgrade(answer, key, protocols):
    """RFC 6455, 4.1: what makes a client fail the connection."""
    want = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
    offered = [] if protocols is None else re.split(r'\s*,\s*', protocols)
    chosen = answer.fields.get('sec-websocket-protocol')
    if answer.status != 101 or answer.fields.get('upgrade', '').lower() != 'websocket' or \
            answer.fields.get('connection', '').lower() != 'upgrade' or \
            answer.fields.get('sec-websocket-accept') != want or \
            'sec-websocket-extensions' in answer.fields or \
            (chosen is not None and chosen not in offered):
        raise Unexpected(f'an upgrade expected, with {want}, not {answer}')


class WebSocket:
    """An upgraded connection, with what raw.Client needs of a socket."""

    def __init__(self, sock, answer):
        self.sock, self.answer = sock, answer
        self.buffer, self.payload = bytearray(answer.rest), bytearray()
        self.controls = []
        self.is_within_message = self.has_sent_close = False
        self.frames = 0  # data frames that have come

    # ---- As a socket

    def settimeout(self, seconds):
        self.sock.settimeout(seconds)

    def setsockopt(self, *arguments):
        self.sock.setsockopt(*arguments)

    def getsockname(self):
        return self.sock.getsockname()

    def shutdown(self, how):
        self.sock.shutdown(how)

    def close(self):
        self.sock.close()

    def sendall(self, data):
        self.send_frame(BINARY, data)

    def recv(self, _size):
        """What is in the next data frame that is not empty; b'' at the end of the connection."""
        while True:
            came = self.recv_frame()
            if came is None:
                return b''
            opcode, payload = came
            if opcode in (BINARY, CONTINUATION) and payload:
                return payload

    # ---- Frames

    def send_frame(self, opcode, payload=b'', **how):
        if opcode == CLOSE:
            self.has_sent_close = True
        self.send_raw(frame(opcode, payload, **how))

    def send_raw(self, data):
        self.sock.sendall(data)

    def recv_frame(self):
        """(opcode, payload) of the next frame, None: the connection has ended."""
        while True:
            size = self._whole()
            if size is not None:
                return self._take(*size)
            more = self.sock.recv(1 << 18)
            if not more:
                if self.buffer:
                    raise WireError(f'the end came within a frame: {bytes(self.buffer[:40])!r}')
                return None
            self.buffer += more

    def _whole(self):
        """(size of the head, of the payload) if all of a frame is there."""
        data = self.buffer
        if len(data) < 2:
            return None
        if data[1] & 0x80:
            raise WireError('a masked frame from a server')
        size, head = data[1], 2
        if size >= 126:
            head = 4 if size == 126 else 10
            if len(data) < head:
                return None
            size = int.from_bytes(data[2:head], 'big')
            if size < (126 if head == 4 else 65536) or size >> 63:
                raise WireError(f'a length of {size} in {head - 2} bytes')
        return (head, size) if len(data) >= head + size else None

    def _take(self, head, size):
        first, payload = self.buffer[0], bytes(self.buffer[head:head + size])
        del self.buffer[:head + size]
        fin, opcode = bool(first & 0x80), first & 0x0F
        if first & 0x70:
            raise WireError(f'reserved bits: {first:#x}')
        if opcode >= CLOSE:
            self._take_control(fin, opcode, payload)
        elif opcode not in (CONTINUATION, BINARY) or \
                (opcode == CONTINUATION) != self.is_within_message:
            raise WireError(f'opcode {opcode} {"within" if self.is_within_message else "without"} '
                            'a message')
        else:
            self.is_within_message = not fin
            self.frames += 1
        return opcode, payload

    def _take_control(self, fin, opcode, payload):
        if opcode not in (CLOSE, PING, PONG) or not fin or len(payload) > 125:
            raise WireError(f'a control frame: {opcode} fin={fin} {len(payload)} bytes')
        if any(kind == CLOSE for kind, _ in self.controls):
            raise WireError(f'a frame behind CLOSE: {opcode}')
        self.controls.append((opcode, payload))
        if opcode == PING:
            self.send_frame(PONG, payload)
        elif opcode == CLOSE:
            if len(payload) == 1 or not is_code(payload):
                raise WireError(f'CLOSE with {payload!r}')
            payload[2:].decode()
            if not self.has_sent_close:
                try:
                    self.send_frame(CLOSE, payload[:2])
                except OSError:
                    pass

    def closed_with(self):
        """The code that the server closed with; 1005: none; None: it has not."""
        for opcode, payload in self.controls:
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], 'big') if payload else 1005
        return None

    def expect_close(self, *codes):
        """The server closes with one of these codes; data before it does not matter. Then the
        connection ends."""
        try:
            while self.recv_frame() is not None:
                pass
        except socket.timeout:
            raise Unexpected(f'the connection did not end, {self.controls}') from None
        except ConnectionError:
            pass
        if self.closed_with() not in codes:
            raise Unexpected(f'CLOSE with {codes} expected, not {self.closed_with()}')


def is_code(payload):
    """Those that may stand in a CLOSE (RFC 6455, 7.4)."""
    if not payload:
        return True
    code = int.from_bytes(payload[:2], 'big')
    return code in (1000, 1001, 1002, 1003, *range(1007, 1015)) or 3000 <= code < 5000
