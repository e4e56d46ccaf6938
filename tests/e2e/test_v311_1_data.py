# SPDX-License-Identifier: Apache-2.0
"""MQTT 3.1.1, chapters 1 and 2: strings, fixed header, packet identifiers. See v311.py."""
import socket
import struct

from harness import equal, test
from raw import (PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, UNSUBACK, V311, Will,
                 wire)
from wire import packet, string, u16

from v311 import (ILL_FORMED, answer, client, closes, connect, exactly, resumed, rows,
                  sensor, subscribe, subscriber, take, turned_away, unsubscribe)

SET = {'limits.packet_bytes_max': 4 << 20}
SECONDS = 4

# A string in each place that takes one from a client: where, and the packets with it.
IN_CONNECT = {
    'client id': connect,
    'will topic': lambda s: connect('x', will=Will(s, b'w')),
    'user name': lambda s: connect('x', username=s),
}
LATER = {
    'topic name': lambda s: sensor(s, b'p'),
    'topic name at QoS 1': lambda s: sensor(s, b'p', 2, 1),
    'subscription': lambda s: subscribe(1, (s, 0)),
    'second subscription': lambda s: subscribe(1, ('t', 0), (s, 0)),
    'unsubscription': lambda s: unsubscribe(1, s),
}


def refuse_string(b, place, bad):
    if place in IN_CONNECT:
        turned_away(b, IN_CONNECT[place](bad))
    else:
        closes(b, LATER[place](bad))


@test(each=rows({**IN_CONNECT, **LATER}, ILL_FORMED))
def v311_mqtt_1_5_3_1(b, place, reason):
    """Strings are well-formed UTF-8 without surrogates; whoever gets another closes."""
    refuse_string(b, place, ILL_FORMED[reason])


@test(each=rows({**IN_CONNECT, **LATER}, {'alone': b'\0', 'first': b'\0a', 'last': b'a\0'}))
def v311_mqtt_1_5_3_2(b, place, where):
    """No string holds U+0000; whoever gets one that does closes."""
    refuse_string(b, place, {'alone': b'\0', 'first': b'\0a', 'last': b'a\0'}[where])


@test(each=rows({'first': 0, 'within': 0, 'last': 0}))
def v311_mqtt_1_5_3_3(b, where):
    """EF BB BF is a character of the string, wherever it stands, and is not removed."""
    mark = b'\xef\xbb\xbf'
    topic = {'first': mark + b'1.5.3-3/a', 'within': b'1.5.3-3/' + mark + b'a',
             'last': b'1.5.3-3/a' + mark}[where]
    with_mark, without = subscriber(b, topic), subscriber(b, '1.5.3-3/a')
    p = client(b)
    p.publish(topic, b'marked', qos=1)
    p.publish('1.5.3-3/a', b'plain', qos=1)
    without.expect_message('1.5.3-3/a', b'plain')
    exactly(with_mark, packet(0x32, string(topic) + u16(1) + b'marked'))
    with_mark.expect_nothing()


@test
def v311_mqtt_1_5_3_3_client_id(b):
    """EF BB BF tells one client identifier from another."""
    plain = client(b, '1.5.3-3')
    client(b, '\ufeff1.5.3-3')
    plain.ping()


@test(each=rows({'noncharacter': 0, 'C0 control': 0, 'C1 control': 0, 'DEL': 0, 'U+FDD0': 0}))
def v311_u311_1_5_3_a(b, what):
    """Controls and noncharacters should not be sent; the server closes, or takes them as they are.
    """
    char = {'noncharacter': '\uffff', 'C0 control': '\x01', 'C1 control': '\x85', 'DEL': '\x7f',
            'U+FDD0': '\ufdd0'}[what]
    topic = f'u1.5.3-a/{char}'
    s, p = subscriber(b, 'u1.5.3-a/+'), client(b)
    p.send(sensor(topic, b'x', 2, 1))
    got = p.recv()
    if got is not None:
        equal((got.type, got.packet_id), (PUBACK, 1))
        s.expect_message(topic, b'x')
    else:
        s.expect_nothing()


# ---- Fixed header

@test
def v311_mqtt_2_2_2_1(b):
    """The flags of each packet that the server sends are those of the table: 0010 in PUBREL, those
    of the message in PUBLISH, and 0000 in the others."""
    c = b.client(V311)
    answer(c, connect('2.2.2-1'), b'\x20\x02\x00\x00')
    answer(c, subscribe(1, ('2.2.2-1', 2)), b'\x90\x03\x00\x01\x02')
    answer(c, b'\xc0\x00', b'\xd0\x00')
    p = client(b)
    answer(p, sensor('2.2.2-1/no', b'', 2, 1), b'\x40\x02\x00\x01')
    answer(p, sensor('2.2.2-1', b'2', 4, 2), b'\x50\x02\x00\x02')
    answer(p, wire.ack(PUBREL, 2), b'\x70\x02\x00\x02')
    got = take(c, 14)
    equal((got[0], got[-1:]), (0x34, b'2'))
    answer(c, wire.ack(PUBREC, struct.unpack('>H', got[11:13])[0]), b'\x62\x02' + got[11:13])
    c.send(wire.ack(PUBCOMP, struct.unpack('>H', got[11:13])[0]))
    p.publish('2.2.2-1', b'0')
    equal(take(c, 12)[0], 0x30)
    p.publish('2.2.2-1', b'1', qos=1)
    equal(take(c, 14)[0], 0x32)
    answer(c, unsubscribe(3, '2.2.2-1'), b'\xb0\x02\x00\x03')


# Whole packets but for the flags, and the flags that are right.
RIGHT_FLAGS = {
    'PUBACK': (wire.ack(PUBACK, 1), 0),
    'PUBREC': (wire.ack(PUBREC, 1), 0),
    'PUBREL': (wire.ack(PUBREL, 1), 2),
    'PUBCOMP': (wire.ack(PUBCOMP, 1), 0),
    'SUBSCRIBE': (subscribe(1, ('2.2.2-2', 0)), 2),
    'UNSUBSCRIBE': (unsubscribe(1, '2.2.2-2'), 2),
    'PINGREQ': (wire.pingreq(), 0),
    'DISCONNECT': (wire.disconnect(V311), 0),
}


@test(each=rows({'CONNECT': 0, 'PUBREL': 0, 'SUBSCRIBE': 0, 'UNSUBSCRIBE': 0, 'DISCONNECT': 0}))
@test(each=rows({'PUBACK': 0, 'PUBREC': 0, 'PUBCOMP': 0, 'PINGREQ': 0}), mosquitto='lets them pass')
def v311_mqtt_2_2_2_2(b, name):
    """Any other flags than those of the table end the connection."""
    data, right = RIGHT_FLAGS.get(name, (connect('2.2.2-2'), 0))
    for flags in range(16):
        if flags != right:
            wrong = bytes([data[0] & 0xF0 | flags]) + data[1:]
            turned_away(b, wrong) if name == 'CONNECT' else closes(b, wrong)


@test(each=rows({0x6: 0, 0x7: 0, 0xE: 0, 0xF: 0}))
def v311_mqtt_2_2_2_2_publish(b, flags):
    """PUBLISH has flags of its own, and both QoS bits are not among them."""
    closes(b, sensor('2.2.2-2', b'x', flags, 1))


@test(each=rows({'type 0': 0, 'type 15': 0, 'CONNACK': 0}, {'first': 0, 'later': 0}))
@test(each=rows({'SUBACK': 0, 'UNSUBACK': 0, 'PINGRESP': 0}, {'first': 0, 'later': 0}),
      mosquitto='lets them pass')
def v311_u311_2_2_1_a(b, name, when):
    """Types 0 and 15 are nobody's, and four others the server's alone: not for a client to send."""
    data = {'type 0': b'\x00\x00', 'type 15': b'\xf0\x00', 'CONNACK': b'\x20\x02\x00\x00',
            'SUBACK': b'\x90\x03\x00\x01\x00', 'UNSUBACK': b'\xb0\x02\x00\x01',
            'PINGRESP': b'\xd0\x00'}[name]
    turned_away(b, data) if when == 'first' else closes(b, data)


@test(each=rows(dict.fromkeys((127, 128, 16383, 16384, 2097151, 2097152))))
def v311_u311_2_2_3_a(b, length):
    """The remaining length takes one to four bytes, the last size of each and the first of the next
    included."""
    topic = 'u2.2.3-a'
    s, p = subscriber(b, topic, qos=1), client(b)
    body = string(topic) + u16(1)
    payload = (b'0123456789abcdef' * (length // 16 + 1))[:length - len(body)]
    p.send(packet(0x32, body + payload))
    p.expect(PUBACK, packet_id=1)
    got = s.expect_message(topic)
    equal(got.payload == payload, True, f'the payload of {len(payload)} bytes is whole')
    equal(got.size, 1 + length + len(wire.varint(length)), 'size on the wire')


@test(each=rows(dict.fromkeys(('30 ff ff ff ff 7f', '30 80 80 80 80 01',
                               'c0 80 80 80 80 00'))))
def v311_u311_2_2_3_a_fifth_byte(b, start):
    """There is no fifth byte: the server closes, and does not wait for what such a length says."""
    closes(b, bytes.fromhex(start))


# ---- Packet identifiers

@test(each=rows({'PUBLISH at QoS 1': 0, 'PUBLISH at QoS 2': 0, 'SUBSCRIBE': 0, 'UNSUBSCRIBE': 0}))
def v311_mqtt_2_3_1_1(b, name):
    """SUBSCRIBE, UNSUBSCRIBE and PUBLISH above QoS 0 have a packet identifier other than 0."""
    s = subscriber(b, '2.3.1-1')
    closes(b, {'PUBLISH at QoS 1': sensor('2.3.1-1', b'', 2, 0),
               'PUBLISH at QoS 2': sensor('2.3.1-1', b'', 4, 0),
               'SUBSCRIBE': subscribe(0, ('2.3.1-1', 0)),
               'UNSUBSCRIBE': unsubscribe(0, '2.3.1-1')}[name])
    s.expect_nothing()


@test(each=rows({'PUBLISH at QoS 1': 0, 'PUBLISH at QoS 2': 0, 'SUBSCRIBE': 0, 'UNSUBSCRIBE': 0}))
def v311_mqtt_2_3_1_1_missing(b, name):
    """A packet that ends where its identifier should be has none."""
    closes(b, {'PUBLISH at QoS 1': packet(0x32, string('2.3.1-1')),
               'PUBLISH at QoS 2': packet(0x34, string('2.3.1-1')),
               'SUBSCRIBE': packet(0x82, b'\x01'), 'UNSUBSCRIBE': packet(0xA2, b'')}[name])


@test(each=[(1,), (2,)])
def v311_mqtt_2_3_1_4(b, qos):
    """The server gives each PUBLISH an identifier that it does not use otherwise at the time; one
    that is sent again has its own."""
    name, topic = f'2.3.1-4-{qos}', f'2.3.1-4/{qos}'
    s, p = client(b, name, clean=False), client(b)
    s.subscribe(topic, qos=qos)
    for i in range(20):
        p.publish(topic, b'%d' % i, qos=qos)
    first = [s.expect(PUBLISH, payload=b'%d' % i).packet_id for i in range(20)]
    equal((len(set(first)), 0 in first), (20, False))
    s.drop()
    again = resumed(b, name)
    equal([again.expect(PUBLISH, payload=b'%d' % i).packet_id for i in range(20)], first)


@test(each=[(1,), (2,)])
def v311_mqtt_2_3_1_4_all_of_them(b, qos):
    """An identifier is given again after PUBACK or PUBCOMP and not before, also when all others
    have been used meanwhile. The server may wait for it then."""
    topic, size, batch = f't{qos}', 9, 900
    s, p = subscriber(b, topic), client(b)
    p.publish(topic, b'x', qos=qos)
    held = s.expect(PUBLISH, qos=qos).packet_id
    if qos == 2:
        answer(s, wire.ack(PUBREC, held), wire.ack(PUBREL, held))
    some = [sensor(topic, b'x', 2, i + 1) for i in range(batch)]
    some_acks = [wire.ack(PUBACK, i + 1) for i in range(batch)]
    left = 66000 // batch * batch
    for _ in range(left // batch):
        p.send(*some)
        exactly(p, *some_acks)
        got = arrived(s, min(left, batch) * size)
        used = [struct.unpack('>H', got[at + 6:at + 8])[0] for at in range(0, len(got), size)]
        equal((held in used, 0 in used), (False, False), 'the identifier in use, and 0')
        equal(len(set(used)), len(used), 'identifiers in use at a time')
        s.send(*(wire.ack(PUBACK, i) for i in used))
        left -= len(used)
    s.send(wire.ack(PUBACK if qos == 1 else PUBCOMP, held))
    for _ in range(left):
        s.expect_message(topic)


def arrived(s, count):
    """So many bytes of records of 9, or those that have come when nothing more does for a while."""
    s.sock.settimeout(0.5)
    while len(s.buffer) < count:
        try:
            s.buffer += s.sock.recv(1 << 18)
        except socket.timeout:
            break
    return take(s, min(count, len(s.buffer) // 9 * 9))


@test
def v311_mqtt_2_3_1_5(b):
    """A PUBLISH at QoS 0 has no identifier: the payload follows the topic."""
    s, p = subscriber(b, '2.3.1-5', qos=2), client(b)
    p.send(sensor('2.3.1-5', b'\x00\x07x'))
    exactly(s, packet(0x30, string('2.3.1-5') + b'\x00\x07x'))
    p.send(sensor('2.3.1-5', b'', 0))
    exactly(s, packet(0x30, string('2.3.1-5')))


@test
def v311_mqtt_2_3_1_6(b):
    """PUBACK, PUBREC and PUBCOMP have the identifier of their PUBLISH, however they mix."""
    p = client(b)
    numbers = (7, 65535, 1, 256, 32768)
    p.send(*(sensor('2.3.1-6', b'', 2 if i % 2 else 4, n) for i, n in enumerate(numbers)))
    got = [p.recv() for _ in numbers]
    equal(sorted((g.type, g.packet_id) for g in got if g.type == PUBACK),
          [(PUBACK, 256), (PUBACK, 65535)])
    equal([g.packet_id for g in got if g.type == PUBREC], [7, 1, 32768])
    for n in (1, 32768, 7):
        answer(p, wire.ack(PUBREL, n), wire.ack(PUBCOMP, n))


@test
def v311_mqtt_2_3_1_6_pubrel(b):
    """The server's PUBREL has the identifier of its PUBLISH."""
    s, p = subscriber(b, '2.3.1-6/rel'), client(b)
    for i in range(5):
        p.publish('2.3.1-6/rel', b'%d' % i, qos=2)
    numbers = [s.expect(PUBLISH, qos=2).packet_id for _ in range(5)]
    for n in reversed(numbers):
        answer(s, wire.ack(PUBREC, n), wire.ack(PUBREL, n))


@test
def v311_mqtt_2_3_1_7(b):
    """SUBACK and UNSUBACK have the identifier of their request."""
    c = client(b)
    c.send(subscribe(9, ('2.3.1-7/a', 0)), subscribe(65535, ('2.3.1-7/b', 1)),
           unsubscribe(300, '2.3.1-7/a'), subscribe(2, ('2.3.1-7/c', 2)), unsubscribe(1, 'x'))
    got = [c.recv() for _ in range(5)]
    equal([(g.type, g.packet_id) for g in got if g.type == SUBACK],
          [(SUBACK, 9), (SUBACK, 65535), (SUBACK, 2)])
    equal([(g.type, g.packet_id) for g in got if g.type == UNSUBACK],
          [(UNSUBACK, 300), (UNSUBACK, 1)])


@test
def v311_mqtt_2_3_1_7_same_number(b):
    """The client's identifiers and the server's are two sets: one number serves in both at once."""
    c, p = client(b), client(b)
    c.subscribe('2.3.1-7/both', qos=1)
    p.publish('2.3.1-7/both', b'x', qos=1)
    n = c.expect(PUBLISH, qos=1).packet_id
    answer(c, sensor('2.3.1-7/other', b'', 2, n), wire.ack(PUBACK, n))
    answer(c, subscribe(n, ('2.3.1-7/other', 0)), packet(0x90, u16(n) + b'\x00'))
    c.send(wire.ack(PUBACK, n))
    c.expect_nothing()
