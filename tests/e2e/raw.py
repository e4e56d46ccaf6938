# SPDX-License-Identifier: Apache-2.0
"""An MQTT client made of bytes: it sends what it is told to, and hides nothing that it receives.

    with Client(address, version=V5) as c:
        c.connect(client_id='a', props={'session_expiry_interval': 60})
        c.subscribe('x/#', qos=1)
        c.send(b'\\x30\\x03\\x00\\x01x\\x00')       # any bytes
        c.expect(PUBLISH, topic='x').payload        # the next packet, checked
        c.expect_disconnect(0x82)                   # DISCONNECT with that code, then the end

Blocking, one socket, no thread: a packet is handled when the test asks for it, and not before, so
a client that does not ask is a client that does not read or acknowledge. Each wait has a time-out
(Client.timeout), and ends with Unexpected, which tells the last packets.

`recv` gives packets as they come. The calls that wait for an answer (`subscribe`, `publish`, `ping`
…) put what comes before it aside, for the next `recv`, in order.
"""
import collections
import socket
import time

from wire import (AUTH, CONNACK, CONNECT, DISCONNECT, NAMES, PINGREQ, PINGRESP, PUBACK, PUBCOMP,
                  PUBLISH, PUBREC, PUBREL, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, V31, V311, V5,
                  Packet, Will, WireError)
import wire

__all__ = ['AUTH', 'CONNACK', 'CONNECT', 'DISCONNECT', 'NAMES', 'PINGREQ', 'PINGRESP', 'PUBACK',
           'PUBCOMP', 'PUBLISH', 'PUBREC', 'PUBREL', 'SUBACK', 'SUBSCRIBE', 'UNSUBACK',
           'UNSUBSCRIBE', 'V31', 'V311', 'V5', 'Client', 'Packet', 'Unexpected', 'Will',
           'WireError', 'wire']


class Unexpected(AssertionError):
    """Something else came than the test expects, or nothing did in time."""


class Client:
    """One connection. Its socket is open from the start; nothing is sent until told."""

    timeout = 10.0  # seconds; the harness makes it longer for a broker under a sanitizer
    lenient = False  # a peer may close where the standard says only that a DISCONNECT should come

    def __init__(self, address, version=V5, receive_buffer=None, wrap=None,
                 source=None):
        """address: (host, port), or the path of a Unix socket. receive_buffer: bytes of the
        kernel's, for one who wants to be slow. wrap: gets the connected socket, and gives what is
        used in its place (tls.py, websocket.py). source: the address to come from."""
        self.version = version
        is_unix = isinstance(address, str)
        self.sock = socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET)
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(self.timeout)
        if source is not None:
            self.sock.bind((source, 0))
        self.sock.connect(address)
        if not is_unix:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if wrap is not None:
            try:
                self.sock = wrap(self.sock)
            except BaseException:
                self.sock.close()
                raise
        self.buffer = bytearray()
        self.aside = collections.deque()
        self.log = collections.deque(maxlen=12)  # what went over the wire last, for messages
        self.ended = False
        self.client_id = None
        self._packet_id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Closes the socket, and says nothing before: a lost connection, to the server."""
        self.sock.close()

    # ---- Sending

    def send(self, *packets):
        """Sends bytes, all of them in one write."""
        data = b''.join(packets)
        self.log.append(f'> {data[:24].hex(" ")}{" ..." if len(data) > 24 else ""} ({len(data)})')
        self.sock.settimeout(self.timeout)
        self.sock.sendall(data)

    def next_id(self):
        """A packet id that this client has not used in its last 65535."""
        self._packet_id = self._packet_id % 65535 + 1
        return self._packet_id

    # ---- Receiving

    def recv(self, timeout=None):
        """The next packet. None: the server has closed. Unexpected: nothing came in time."""
        if self.aside:
            return self.aside.popleft()
        return self._read(timeout)

    def _read(self, timeout=None):
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            size = wire.split(self.buffer)
            if size is not None:
                raw = bytes(self.buffer[:size])
                del self.buffer[:size]
                p = wire.parse(raw, self.version)
                self.log.append(f'< {p}')
                return p
            if self.ended:
                return None
            left = end - time.monotonic()
            if left <= 0:
                raise Unexpected(f'nothing came in time\n{self.trace()}')
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(1 << 18)
            except socket.timeout:
                continue
            except ConnectionError:
                data = b''
            if not data:
                self.log.append('< end')
                self.ended = True
                if self.buffer:
                    raise WireError(f'the end came within a packet\n{self.trace()}')
            self.buffer += data

    def trace(self):
        return '\n'.join(f'    {line}' for line in self.log)

    def expect(self, kind, timeout=None, **fields):
        """The next packet, which must be of that type and have these fields. A field whose name is
        that of a property is compared with the property."""
        p = self.recv(timeout)
        if p is None or p.type != kind:
            raise Unexpected(f'{NAMES[kind]} expected, not {p or "the end"}\n{self.trace()}')
        for name, want in fields.items():
            got = getattr(p, name) if hasattr(p, name) else p.prop(name)
            if got != want:
                raise Unexpected(f'{name}={want!r} expected, not {got!r}: {p}\n{self.trace()}')
        return p

    def wait_for(self, kind, packet_id=None, timeout=None):
        """The next packet of that type (and id); what comes before it is put aside."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            p = self._read(end - time.monotonic())
            if p is None:
                raise Unexpected(f'{NAMES[kind]} expected, not the end\n{self.trace()}')
            if p.type == kind and packet_id in (None, p.packet_id):
                return p
            self.aside.append(p)

    def expect_end(self, timeout=None):
        """The server closes, and sends nothing before."""
        p = self.recv(timeout)
        if p is not None:
            raise Unexpected(f'the end expected, not {p}\n{self.trace()}')

    def expect_disconnect(self, *reasons, timeout=None):
        """The server ends the connection: 5.0 with DISCONNECT and one of these codes, the others
        without a word."""
        p = None
        if self.lenient and self.version >= V5:
            p = self.recv(timeout)
            if p is not None and p.type != DISCONNECT:
                raise Unexpected(f'DISCONNECT or the end expected, not {p}\n{self.trace()}')
        elif self.version >= V5:
            p = self.expect(DISCONNECT, timeout)
            if reasons and p.reason not in reasons:
                want = ' or '.join(f'0x{r:02x}' for r in reasons)
                raise Unexpected(f'DISCONNECT {want} expected, not {p}\n{self.trace()}')
        self.expect_end(timeout)
        return p

    def expect_nothing(self):
        """The server has sent nothing up to its answer to a PINGREQ. Says nothing of what other
        clients' packets will still cause: for that, let their publisher send an end mark."""
        self.ping()
        if self.aside:
            raise Unexpected(f'nothing expected, not {self.aside[0]}\n{self.trace()}')

    # ---- Exchanges

    def connect(self, client_id='', expect=0, **connect):
        """CONNECT and CONNACK, which is returned; arguments as wire.connect(). `expect`: the
        reason code."""
        self.client_id = client_id
        self.send(wire.connect(self.version, client_id, **connect))
        p = self.expect(CONNACK, reason=expect)
        if p.prop('assigned_client_identifier') is not None:
            self.client_id = p.prop('assigned_client_identifier')
        return p

    def subscribe(self, *filters, qos=0, props=None, expect=None, **opts):
        """Subscribes to filters (each a str, or (str, options byte)) and returns SUBACK, which must
        grant what was asked for, unless `expect` names other codes."""
        packet_id = self.next_id()
        pairs = [f if isinstance(f, tuple) else (f, wire.options(qos, **opts)) for f in filters]
        self.send(wire.subscribe(self.version, packet_id, pairs, props))
        p = self.wait_for(SUBACK, packet_id)
        want = tuple(o & 3 for _, o in pairs) if expect is None else tuple(expect)
        if p.reasons != want:
            raise Unexpected(f'SUBACK {want} expected, not {p}\n{self.trace()}')
        return p

    def unsubscribe(self, *filters, props=None):
        packet_id = self.next_id()
        self.send(wire.unsubscribe(self.version, packet_id, filters, props))
        return self.wait_for(UNSUBACK, packet_id)

    def publish(self, topic, payload=b'', qos=0, expect=(0, 0x10), **publish):
        """PUBLISH, and for QoS 1 and 2 the whole exchange; returns PUBACK or PUBREC. `expect`: the
        reason codes that are fine."""
        if qos == 0:
            self.send(wire.publish(self.version, topic, payload, **publish))
            return None
        packet_id = publish.pop('packet_id', None) or self.next_id()
        self.send(wire.publish(self.version, topic, payload, qos, packet_id, **publish))
        p = self.wait_for(PUBACK if qos == 1 else PUBREC, packet_id)
        if p.reason not in expect:
            raise Unexpected(f'codes {expect} expected, not {p}\n{self.trace()}')
        if qos == 2 and p.reason < 0x80:
            self.send(wire.ack(PUBREL, packet_id))
            self.wait_for(PUBCOMP, packet_id)
        return p

    def expect_message(self, topic=None, payload=None, ack=True, timeout=None, **fields):
        """The next packet, a PUBLISH with these fields; unless ack=False the exchange is finished,
        for which QoS 2 waits."""
        if topic is not None:
            fields['topic'] = topic
        if payload is not None:
            fields['payload'] = payload
        p = self.expect(PUBLISH, timeout, **fields)
        if ack:
            self.acknowledge(p)
        return p

    def acknowledge(self, p):
        if p.qos == 1:
            self.send(wire.ack(PUBACK, p.packet_id))
        elif p.qos == 2:
            self.send(wire.ack(PUBREC, p.packet_id))
            self.wait_for(PUBREL, p.packet_id)
            self.send(wire.ack(PUBCOMP, p.packet_id))

    def ping(self):
        self.send(wire.pingreq())
        self.wait_for(PINGRESP)

    def disconnect(self, reason=None, props=None):
        """DISCONNECT, then the server's closing: when this returns, the server has dealt with it."""
        self.send(wire.disconnect(self.version, reason, props))
        self._until_end()

    def drop(self):
        """A connection lost, which the server has noticed when this returns."""
        self.sock.shutdown(socket.SHUT_WR)
        self._until_end()

    def _until_end(self):
        self.aside.clear()
        while self._read() is not None:
            pass
        self.close()


def until_end(sock):
    """What comes by a bare socket until the server closes; b'' also when it resets."""
    data = b''
    try:
        while more := sock.recv(4096):
            data += more
    except ConnectionError:
        pass
    except socket.timeout:
        raise Unexpected(f'the server did not close; it sent {data.hex(" ")}') from None
    sock.close()
    return data


def publish_many(client, topic, payloads, qos=0, window=100):
    """Publishes all of them in order, up to `window` at a time, each exchange to its end."""
    for at in range(0, len(payloads), window):
        ids = [client.next_id() if qos else None for _ in payloads[at:at + window]]
        client.send(*(wire.publish(client.version, topic, body, qos, packet_id)
                      for body, packet_id in zip(payloads[at:at + window], ids)))
        if qos == 1:
            for packet_id in ids:
                client.wait_for(PUBACK, packet_id)
        elif qos == 2:
            for packet_id in ids:
                client.wait_for(PUBREC, packet_id)
            client.send(*(wire.ack(PUBREL, packet_id) for packet_id in ids))
            for packet_id in ids:
                client.wait_for(PUBCOMP, packet_id)
