# SPDX-License-Identifier: Apache-2.0
"""What the normative tests of 5.0 (test_v5_*.py) say again and again.

They are written against the standard, so where it lets the server choose, they accept each of its
choices: after an error the connection must end, and a DISCONNECT with the code only should come.
"""
from harness import equal, wait_until
from raw import CONNACK, DISCONNECT, PUBLISH, Unexpected, wire
from wire import PROPERTIES

KEPT = {'session_expiry_interval': 60}
FOREVER = 0xFFFFFFFF

# Reason codes that a server may send, by packet type (2.4 and the tables of chapter 3).
CODES = {
    wire.CONNACK: {0x00, *range(0x80, 0x8B), 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D,
                   0x9F},
    wire.PUBACK: {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
    wire.PUBREC: {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
    wire.PUBREL: {0x00, 0x92},
    wire.PUBCOMP: {0x00, 0x92},
    wire.SUBACK: {0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2},
    wire.UNSUBACK: {0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91},
    wire.DISCONNECT: {0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90,
                      *range(0x93, 0xA3)},
}

_SAMPLES = {'byte': 1, 'u16': 1, 'u32': 1, 'varint': 1, 'string': 'x', 'binary': b'x',
            'pair': ('k', 'v')}


def sample(name):
    """A value that is right for the property."""
    return _SAMPLES[PROPERTIES[name][1]]


def rows(table):
    """each= for a test that looks its row up by name."""
    return [(name,) for name in table]


def ended(c, *codes, what=''):
    """The server ends the connection; if it says why, then with one of these codes. Returns the
    DISCONNECT, or None."""
    p = c.recv()
    if p is None:
        return None
    if p.type != DISCONNECT or p.reason not in codes:
        want = ' or '.join(f'{code:02x}' for code in codes)
        raise Unexpected(f'{what}: the end, or DISCONNECT {want}, expected, not {p}\n{c.trace()}')
    c.expect_end()
    return p


def refused(b, data, *codes, what=''):
    """CONNECT, or what was to be one, is refused: at most a CONNACK with one of these codes, and
    the end. No codes: nothing may come before the end. Returns CONNACK, or None."""
    c = b.client()
    c.send(data)
    p = c.recv()
    if p is None:
        return None
    if p.type != CONNACK or p.reason not in codes:
        want = ' or '.join(f'{code:02x}' for code in codes)
        raise Unexpected(f'{what}: the end, or CONNACK {want}, expected, not {p}\n{c.trace()}')
    equal(p.session_present, False, what)
    c.expect_end()
    return p


def subscriber(b, *filters, qos=2, client_id='', opts=None, **connect):
    """A client with these subscriptions."""
    s = b.connected(client_id, **connect)
    s.subscribe(*filters, qos=qos, **(opts or {}))
    return s


def quiet(s, p, topic):
    """Nothing has come to `s` before an end mark that `p` publishes."""
    p.publish(topic, b'end', qos=1)
    s.expect_message(topic, b'end')


def collected(s, p):
    """What has come to `s` before an end mark that `p` publishes (at QoS 0, which no window holds
    back); nothing of it is acknowledged."""
    mark = f'norm5/end/{s.next_id()}/{id(s)}'
    s.subscribe(mark, qos=0)
    p.publish(mark, b'end')
    found = []
    while (m := s.recv()) is not None and m.topic != mark:
        if not (m.topic or '').startswith('norm5/'):  # another's end mark, if the filter is #
            found.append(m)
    equal(m is not None, True, 'the connection lives')
    return found


def resumed(b, client_id, **connect):
    """The session of that client, which must be there."""
    connect.setdefault('props', KEPT)
    c = b.client()
    equal(c.connect(client_id, clean_start=False, **connect).session_present, True, client_id)
    return c


def gone(b, client_id):
    """There is no session for that client (and none afterwards)."""
    c = b.client()
    equal(c.connect(client_id, clean_start=False).session_present, False, client_id)
    c.disconnect()


def replayed(c):
    """The retained messages that `c` has got for its last SUBSCRIBE, as [(topic, payload)]: those
    before that of a further one."""
    mark = f'norm5/mark/{c.next_id()}/{id(c)}'
    c.publish(mark, b'mark', 1, retain=True)
    c.subscribe(mark, qos=0)
    found = []
    while (p := c.expect(PUBLISH)).topic != mark:
        equal(p.retain, True, p)
        found.append((p.topic, p.payload))
    c.unsubscribe(mark)
    c.publish(mark, b'', 1, retain=True)
    return sorted(found)


def retained_on(b, topic_filter, **opts):
    """What a new subscriber gets at once, as [(topic, payload)]."""
    c = b.connected()
    c.subscribe(topic_filter, qos=2, **opts)
    found = replayed(c)
    c.close()
    return found


def settled(b, topic, want):
    """Waits until a new subscriber of the topic gets these payloads."""
    wait_until(lambda: [payload for _, payload in retained_on(b, topic)] == want,
               what=f'{want} retained on {topic}')
