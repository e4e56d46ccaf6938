# SPDX-License-Identifier: Apache-2.0
"""What the normative tests of MQTT 3.1.1 (test_v311_*.py) share.

Each of them bears the number of its statement, `v311_mqtt_3_1_2_24` for [MQTT-3.1.2-24]; a rule
without a number has one of ours, `v311_u311_2_2_3_a`. statements_v311.tsv says what each demands,
unobservable_v311.tsv why one has no test. They hold for any broker, and were written from the
standard alone. Where the standard leaves a choice, the test lets both pass.
"""
import socket
import struct

from harness import equal
from raw import V311, Unexpected, wire
from wire import string, u16

# Not UTF-8 (1.5.3), for one reason each.
ILL_FORMED = {
    'lone continuation': b'a\x80b',
    'cut off': b'a\xe2\x82',
    'overlong of two': b'\xc1\xbf',
    'overlong of three': b'\xe0\x80\xaf',
    'high surrogate': b'\xed\xa0\x80',
    'low surrogate': b'\xed\xbf\xbf',
    'pair of surrogates': b'\xed\xa0\xbd\xed\xb8\x80',
    'above U+10FFFF': b'\xf4\x90\x80\x80',
    'no such byte': b'a\xff',
}


def rows(*tables):
    """each= of a test with a row for every combination of the tables' keys."""
    out = [()]
    for table in tables:
        out = [(*row, key) for row in out for key in table]
    return out


def client(b, client_id='', clean=True, **connect):
    """A client of 3.1.1 that was accepted."""
    return b.connected(client_id, V311, clean_start=clean, **connect)


def session_present(b, client_id, clean=False):
    """Connects, and tells whether there was a session; the connection stays up."""
    c = b.client(V311)
    return c.connect(client_id, clean_start=clean).session_present


def resumed(b, client_id, **connect):
    """A client that has its session back."""
    c = b.client(V311)
    equal(c.connect(client_id, clean_start=False, **connect).session_present, True,
          'session present')
    return c


def subscriber(b, *filters, qos=2, **connect):
    s = client(b, **connect)
    s.subscribe(*filters, qos=qos)
    return s


def end_mark(b, s, topic, qos=1):
    """Nothing else comes to `s` before a message that is published now."""
    client(b).publish(topic, b'end', qos=qos)
    s.expect_message(topic, b'end')


def not_retained(b, *topics):
    """A new subscription to these topics is sent nothing."""
    s = subscriber(b, *topics)
    s.expect_nothing()


def retained(b, topic, qos=2):
    """What a new subscription to the topic is sent at once: one message."""
    s = subscriber(b, topic, qos=qos)
    p = s.expect_message(topic)
    s.expect_nothing()
    return p


# ---- Bytes

def take(c, count):
    """The next `count` bytes from the server; fewer if it closes."""
    assert not c.aside
    while len(c.buffer) < count and not c.ended:
        c.sock.settimeout(c.timeout)
        try:
            data = c.sock.recv(1 << 18)
        except socket.timeout:
            raise Unexpected(f'{count} bytes expected, not {c.buffer.hex(" ")}') from None
        except ConnectionError:
            data = b''
        c.ended = not data
        c.buffer += data
    got = bytes(c.buffer[:count])
    del c.buffer[:count]
    return got


def exactly(c, *packets):
    """The next bytes from the server are these."""
    want = b''.join(packets)
    equal(take(c, len(want)).hex(' '), want.hex(' '))


def answer(c, data, *packets):
    """Sends bytes, and gets those."""
    c.send(data)
    exactly(c, *packets)


def ids(count, first=1):
    return [u16(i) for i in range(first, first + count)]


def sensor(topic, payload=b'', flags=0, packet_id=None):
    """PUBLISH, with any flags."""
    return wire.packet(0x30 | flags,
                       string(topic) + (b'' if packet_id is None else u16(packet_id)) + payload)


def subscribe(packet_id, *pairs):
    return wire.subscribe(V311, packet_id, pairs)


def unsubscribe(packet_id, *filters):
    return wire.unsubscribe(V311, packet_id, filters)


def connect(client_id='', clean=True, **how):
    return wire.connect(V311, client_id, clean_start=clean, **how)


def connect_body(flags, *fields, name=b'\x00\x04MQTT', level=4, keep_alive=60):
    """CONNECT out of its flags and whatever fields follow, fitting or not."""
    return wire.packet(0x10, name + bytes([level, flags]) + struct.pack('>H', keep_alive)
                       + b''.join(fields))


# ---- Ends

def closes(b, *packets, **connect_with):
    """A connected client sends this; the server closes, and says nothing. Returns the client."""
    c = client(b, **connect_with)
    c.send(*packets)
    c.expect_end()
    return c


def turned_away(b, *packets):
    """Someone sends this as the first; the server closes, and says nothing."""
    c = b.client(V311)
    c.send(*packets)
    c.expect_end()
