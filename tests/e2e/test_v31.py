# SPDX-License-Identifier: Apache-2.0
"""MQTT 3.1, of 2010: what it does otherwise than 3.1.1, and that all of its exchanges work.

It calls itself MQIsdp, level 3. It has no numbered statements; where it says nothing, any answer
passes.
"""
import time

from harness import equal, test
from raw import (CONNACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, UNSUBACK, V31, V311, V5,
                 Will, publish_many, wire)
from wire import packet, string, u16

from v311 import answer, exactly, resumed, rows, sensor, subscribe, take, unsubscribe

SECONDS = 4
NAME = string('MQIsdp') + b'\x03'
VERSIONS = {'3.1': V31, '3.1.1': V311, '5.0': V5}


def client(b, client_id, clean=True, **connect):
    return b.connected(client_id, V31, clean_start=clean, **connect)


def subscriber(b, client_id, *filters, qos=2, **connect):
    s = client(b, client_id, **connect)
    s.subscribe(*filters, qos=qos)
    return s


def connect_body(flags, *fields):
    return packet(0x10, NAME + bytes([flags]) + u16(60) + b''.join(fields))


# ---- CONNECT

@test
def v31_is_accepted(b):
    """Twelve bytes of variable header, and CONNACK with code 0."""
    answer(b.client(V31), bytes.fromhex('10 11 00 06 4d 51 49 73 64 70 03 02 00 3c 00 03 61 62 63'),
           b'\x20\x02\x00\x00')


@test(each=rows({'MQIsdp at level 4': ('MQIsdp', 4),
                 'MQTT at level 3': ('MQTT', 3), 'MQIsdp at level 2': ('MQIsdp', 2),
                 'mqisdp': ('mqisdp', 3)}))
def v31_name_and_level_belong_together(b, what):
    """Another level than 3 is refused with code 1, another name with it or by closing."""
    name, level = {'MQIsdp at level 4': ('MQIsdp', 4),
                   'MQTT at level 3': ('MQTT', 3), 'MQIsdp at level 2': ('MQIsdp', 2),
                   'mqisdp': ('mqisdp', 3)}[what]
    c = b.client(V31)
    c.send(wire.connect(V31, 'v31-name', name=name, level=level))
    p = c.recv()
    if p is not None:
        equal((p.type, p.reason, p.size), (CONNACK, 1, 4))
        c.expect_end()


@test(each=[(1,), (2,), (22,), (23,)])
def v31_client_id(b, length):
    """1 to 23 characters."""
    answer(b.client(V31), wire.connect(V31, 'abcdefghijklmnopqrstuvw'[:length]),
           b'\x20\x02\x00\x00')


@test(each=[(24,), (1000,)])
def v31_client_id_too_long(b, length):
    """More are refused with code 2, or accepted as in 3.1.1."""
    c = b.client(V31)
    c.send(wire.connect(V31, 'x' * length))
    if c.expect(CONNACK).reason != 0:
        equal(c.log[-1], '< CONNACK session_present=False reason=0x02')
        c.expect_end()


@test(each=[(True,), (False,)])
def v31_client_id_empty(b, clean):
    """There is no empty client identifier: code 2, whatever the clean session flag is."""
    c = b.client(V31)
    answer(c, wire.connect(V31, '', clean_start=clean), b'\x20\x02\x00\x02')
    c.expect_end()


@test(each=rows({'both missing': b'', 'password missing': 0, 'none missing': 0}),
      mosquitto='takes the missing password only')
def v31_user_name_may_be_missing(b, what):
    """The remaining length is what counts: a user name or password that its flag announces may be
    missing at the end."""
    fields = {'both missing': (), 'password missing': (string('user'),),
              'none missing': (string('user'), string('pass'))}[what]
    answer(b.client(V31), connect_body(0xC2, string('v31-user'), *fields), b'\x20\x02\x00\x00')


BAD = {'reserved type': b'\xf0\x00', 'QoS 3': sensor('v31', b'x', 6, 1),
       'CONNECT': wire.connect(V31, 'v31-again'), 'no filter': packet(0x82, u16(1)),
       'wildcard': sensor('#', b'x'), 'ill-formed': sensor(b'\xff', b'x')}


@test(each=[(name,) for name in BAD if name not in ('no filter', 'CONNECT')])
@test(each=[('no filter',), ('CONNECT',)], mosquitto='answers, or does not publish the will')
def v31_bad_packet_closes(b, name):
    """What is not a packet of 3.1 ends the connection, without a word, and the will is published.
    """
    o = subscriber(b, 'v31-onlooker', 'v31/bad')
    c = client(b, 'v31-bad', will=Will('v31/bad', b'gone'))
    c.send(BAD[name])
    c.expect_end()
    o.expect_message('v31/bad', b'gone')


@test(each=rows({'reserved': 0x03, 'will QoS 3': 0x1E}))
def v31_bad_connect_flags(b, what):
    """A CONNECT with flags that mean nothing is not accepted."""
    c = b.client(V31)
    c.send(connect_body({'reserved': 0x03, 'will QoS 3': 0x1E}[what], string('v31-flags'),
                        string('t'), string('w')))
    p = c.recv()
    equal(p is None or p.reason != 0, True, p)


# ---- What is otherwise later

@test
def v31_connack_has_no_session_present(b):
    """The first byte of CONNACK is reserved: 0, also when there is a session; which is resumed."""
    c = client(b, 'v31-sp', clean=False)
    c.subscribe('v31/sp', qos=1)
    c.disconnect()
    c = b.client(V31)
    answer(c, wire.connect(V31, 'v31-sp', clean_start=False), b'\x20\x02\x00\x00')
    client(b, 'v31-sp-p').publish('v31/sp', b'x', qos=1)
    c.expect_message('v31/sp', b'x')


@test(each=rows(dict.fromkeys(('a#', 'a+/b', '#/a'))))
def v31_suback_has_no_failure(b, topic_filter):
    """SUBACK has no code for a failure: a filter that is refused is granted as any, or the
    connection is closed. It matches nothing."""
    c, p = client(b, 'v31-suback'), client(b, 'v31-suback-p')
    c.send(subscribe(1, (topic_filter, 1), ('v31/fair', 2)))
    got = c.recv()
    if got is not None:
        equal((got.type, len(got.reasons), all(code <= 2 for code in got.reasons)),
              (SUBACK, 2, True), got)
        p.publish('a', b'x', qos=1)
        p.publish('v31/fair', b'x', qos=2)
        c.expect_message('v31/fair', b'x', qos=2)


@test(each=[(1,), (2,)], mosquitto='closes')
def v31_publish_that_is_not_allowed(b, qos):
    """It is acknowledged as any other, and not delivered: the client is not told."""
    s, p = subscriber(b, 'v31-sys', '$SYS/v31'), client(b, 'v31-sys-p')
    p.publish('$SYS/v31', b'x', qos=qos)
    s.expect_nothing()


@test(only='dunlin', each=rows({'PUBREL': 0, 'SUBSCRIBE': 0, 'UNSUBSCRIBE': 0}))
def v31_dup_outside_publish(b, name):
    """A client of 3.1 may send PUBREL, SUBSCRIBE and UNSUBSCRIBE again with DUP."""
    c = client(b, 'v31-dup')
    if name == 'PUBREL':
        answer(c, sensor('v31/dup', b'x', 4, 5), b'\x50\x02\x00\x05')
        answer(c, b'\x6a\x02\x00\x05', b'\x70\x02\x00\x05')
    elif name == 'SUBSCRIBE':
        answer(c, packet(0x8A, u16(5) + string('v31/dup') + b'\1'), b'\x90\x03\x00\x05\x01')
    else:
        answer(c, packet(0xAA, u16(5) + string('v31/dup')), b'\xb0\x02\x00\x05')


@test(each=[(0x60,), (0x80,), (0xA0,)])
def v31_flags_without_qos_1(b, first):
    """PUBREL, SUBSCRIBE and UNSUBSCRIBE are at QoS 1; what is not is malformed, or taken as if it
    were."""
    c = client(b, 'v31-flags')
    body = {0x60: u16(1), 0x80: u16(1) + string('t') + b'\0', 0xA0: u16(1) + string('t')}[first]
    c.send(packet(first, body))
    p = c.recv()
    equal(p is None or p.type == {0x60: PUBCOMP, 0x80: SUBACK, 0xA0: UNSUBACK}[first], True, p)


@test(each=[(32767,)])
def v31_topic(b, length):
    """Topics have up to 32767 characters."""
    topic = 'v31/' + 'ä' * (length // 2)
    s, p = subscriber(b, 'v31-topic', 'v31/+'), client(b, 'v31-topic-p')
    p.publish(topic, b'x', qos=1)
    s.expect_message(topic, b'x')


# ---- Exchanges

@test(each=[(qos, granted) for qos in range(3) for granted in range(3)])
def v31_messages(b, qos, granted):
    """All qualities of service, in and out, byte for byte."""
    topic = f'v31/{qos}/{granted}'
    s, p = client(b, 'v31-messages-s'), client(b, 'v31-messages-p')
    answer(s, subscribe(1, (topic, granted)), b'\x90\x03\x00\x01' + bytes([granted]))
    if qos == 0:
        p.send(sensor(topic, b'x'))
    elif qos == 1:
        answer(p, sensor(topic, b'x', 2, 9), b'\x40\x02\x00\x09')
    else:
        answer(p, sensor(topic, b'x', 4, 9), b'\x50\x02\x00\x09')
        answer(p, b'\x62\x02\x00\x09', b'\x70\x02\x00\x09')
    lower = min(qos, granted)
    head = take(s, 4 + len(topic))
    equal(head, bytes([0x30 | lower << 1, 3 + len(topic) + (2 if lower else 0)]) + string(topic))
    packet_id = take(s, 2) if lower else b''
    exactly(s, b'x')
    if lower == 1:
        s.send(b'\x40\x02' + packet_id)
    elif lower == 2:
        answer(s, b'\x50\x02' + packet_id, b'\x62\x02' + packet_id)
        s.send(b'\x70\x02' + packet_id)
    answer(s, unsubscribe(2, topic) + b'\xc0\x00', b'\xb0\x02\x00\x02\xd0\x00')
    p.publish(topic, b'nobody', qos=qos)
    s.expect_nothing()


@test
def v31_repeated_qos_2(b):
    """The same identifier before PUBREL is the same message."""
    s, p = subscriber(b, 'v31-twice-s', 'v31/twice'), client(b, 'v31-twice-p')
    answer(p, sensor('v31/twice', b'x', 4, 9) + sensor('v31/twice', b'x', 0xC, 9),
           b'\x50\x02\x00\x09' * 2)
    answer(p, b'\x62\x02\x00\x09', b'\x70\x02\x00\x09')
    s.expect_message('v31/twice', b'x')
    s.expect_nothing()


@test
def v31_session(b):
    """Without clean session all that is open is sent again with its identifiers, in order, and what
    came meanwhile behind it."""
    s, p = client(b, 'v31-session', clean=False), client(b, 'v31-session-p')
    s.subscribe('v31/session', qos=2)
    for i in range(3):
        p.publish('v31/session', b'%d' % i, qos=1 + i % 2)
    sent = [s.expect(PUBLISH, payload=b'%d' % i, dup=False).packet_id for i in range(3)]
    answer(s, wire.ack(PUBREC, sent[1]), wire.ack(PUBREL, sent[1]))
    s.drop()
    p.publish('v31/session', b'3', qos=1)
    s = client(b, 'v31-session', clean=False)
    got = [s.recv() for _ in range(4)]
    equal([(m.packet_id, m.dup) for m in got if m.payload in (b'0', b'2')],
          [(sent[0], True), (sent[2], True)])
    equal([m.packet_id for m in got if m.type == PUBREL], [sent[1]])
    equal((got[3].payload, got[3].dup), (b'3', False))
    s = client(b, 'v31-session', clean=True)
    p.publish('v31/session', b'4', qos=1)
    s.expect_nothing()


@test
def v31_retained(b):
    """Retained messages come with RETAIN to a new subscription, without it to an old one, and an
    empty one removes them."""
    s, p = subscriber(b, 'v31-kept', 'v31/kept'), client(b, 'v31-kept-p')
    p.publish('v31/kept', b'x', qos=1, retain=True)
    s.expect_message('v31/kept', b'x', retain=False)
    new = subscriber(b, 'v31-kept-new', 'v31/+')
    new.expect_message('v31/kept', b'x', retain=True)
    p.publish('v31/kept', b'', qos=1, retain=True)
    subscriber(b, 'v31-kept-newer', 'v31/kept').expect_nothing()


@test(each=[(qos, retain) for qos in range(3) for retain in (False, True)])
def v31_will(b, qos, retain):
    """The will comes when the connection is lost, with its QoS and RETAIN, and not after
    DISCONNECT."""
    topic = f'v31/will/{qos}/{retain}'
    o = subscriber(b, 'v31-will-o', topic)
    o.ping()  # or what is retained now may come twice
    will = Will(topic, b'w', qos=qos, retain=retain)
    client(b, 'v31-will', will=will).disconnect()
    client(b, 'v31-will', will=will).drop()
    o.expect_message(topic, b'w', qos=qos)
    o.expect_nothing()
    new = subscriber(b, 'v31-will-new', topic)
    if retain:
        new.expect_message(topic, b'w', qos=qos, retain=True)
    new.expect_nothing()


@test
def v31_takeover(b):
    """A client identifier that is connected: the older connection ends."""
    o = subscriber(b, 'v31-over-o', 'v31/over')
    old = client(b, 'v31-over', will=Will('v31/over', b'w'))
    client(b, 'v31-over').ping()
    old.expect_end()
    o.expect_message('v31/over', b'w')


@test(mosquitto='looks every five seconds')
def v31_keep_alive(b):
    """One and a half times the keep alive."""
    begin = time.monotonic()
    client(b, 'v31-keep-alive', keep_alive=1).expect_end()
    equal(1.45 < time.monotonic() - begin < 3.5, True)


@test(each=rows({1: 0, 2: 0}))
def v31_order(b, qos):
    """Messages keep their order."""
    s, p = subscriber(b, 'v31-order', f'v31/order/{qos}'), client(b, 'v31-order-p')
    bodies = [b'%d' % i for i in range(300)]
    publish_many(p, f'v31/order/{qos}', bodies, qos=qos, window=20)
    equal([s.expect_message().payload for _ in bodies], bodies)


@test(each=[(one, two) for one in VERSIONS for two in VERSIONS if '3.1' in (one, two)])
def v31_with_other_versions(b, one, two):
    """Messages go from each version to each."""
    topic = f'v31/from/{one}/{two}'
    s = b.connected('v31-other-s', VERSIONS[two])
    p = b.connected('v31-other-p', VERSIONS[one])
    s.subscribe(topic, qos=2)
    for qos in range(3):
        p.publish(topic, b'%d' % qos, qos=qos,
                  **({'props': {'content_type': 'x'}} if one == '5.0' else {}))
        m = s.expect_message(topic, b'%d' % qos, qos=qos)
        equal(m.props, [])


@test(each=rows({'to 3.1.1': 0, 'from 3.1.1': 0}))
def v31_session_changes_version(b, way):
    """A session goes on under the other version, which is a client's to choose."""
    name = f'v31-change-{way}'
    first, then = (V31, V311) if way == 'to 3.1.1' else (V311, V31)
    c = b.connected(name, first, clean_start=False)
    c.subscribe(f'v31/{way}', qos=1)
    c.disconnect()
    client(b, 'v31-change-p').publish(f'v31/{way}', b'x', qos=1)
    c = resumed(b, name) if then == V311 else client(b, name, clean=False)
    c.expect_message(f'v31/{way}', b'x', qos=1)
