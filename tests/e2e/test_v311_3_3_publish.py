# SPDX-License-Identifier: Apache-2.0
"""MQTT 3.1.1, sections 3.3 to 3.7: PUBLISH and its acknowledgements. See v311.py."""
from harness import equal, test
from raw import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, V311, wire
from wire import packet, string, u16

from v311 import (ILL_FORMED, answer, client, closes, exactly, not_retained, resumed,
                  retained, rows, sensor, subscriber)

SECONDS = 1


# ---- DUP and QoS

@test(each=rows({1: 0, 2: 0}, {'drop': 0, 'disconnect': 0, 'takeover': 0}))
def v311_mqtt_3_3_1_1(b, qos, how):
    """DUP is 1 when a PUBLISH is sent again, and 0 in those that were not sent yet."""
    name, topic = f'3.3.1-1-{qos}-{how}', f'3.3.1-1/{qos}/{how}'
    s, p = client(b, name, clean=False), client(b)
    s.subscribe(topic, qos=qos)
    p.publish(topic, b'sent', qos=qos)
    s.expect(PUBLISH, payload=b'sent', dup=False)
    if how != 'takeover':
        getattr(s, how)()
        p.publish(topic, b'queued', qos=qos)
    s = resumed(b, name)
    s.expect_message(topic, b'sent', dup=True, qos=qos)
    if how == 'takeover':
        p.publish(topic, b'queued', qos=qos)
    s.expect_message(topic, b'queued', dup=False, qos=qos)


@test(each=rows({'live': 0, 'retained': 0, 'lowered': 0}))
def v311_mqtt_3_3_1_2(b, what):
    """DUP is 0 in all messages of QoS 0, whatever it was in those that came in."""
    s, p = client(b), client(b)
    if what == 'retained':
        p.publish('3.3.1-2/retained', b'x', qos=1, dup=True, retain=True)
        s.subscribe('3.3.1-2/retained', qos=0)
        exactly(s, packet(0x31, string('3.3.1-2/retained') + b'x'))
    else:
        s.subscribe('3.3.1-2', qos=0)
        p.publish('3.3.1-2', b'x', qos=0 if what == 'live' else 2, dup=what != 'live')
        exactly(s, packet(0x30, string('3.3.1-2') + b'x'))


@test
def v311_mqtt_3_3_1_2_of_a_client(b):
    """DUP in a message of QoS 0 is a client's mistake: the server closes, or takes no notice."""
    s, p = subscriber(b, '3.3.1-2/c'), client(b)
    p.send(sensor('3.3.1-2/c', b'x', 0x8), wire.pingreq())
    if p.recv() is not None:
        exactly(s, packet(0x30, string('3.3.1-2/c') + b'x'))
    else:
        s.expect_nothing()


@test(each=[(1,), (2,)])
def v311_mqtt_3_3_1_3(b, qos):
    """DUP of what comes in does not go out: it tells of this delivery alone."""
    s, p = subscriber(b, '3.3.1-3'), client(b)
    p.publish('3.3.1-3', b'x', qos=qos, dup=True)
    s.expect_message('3.3.1-3', b'x', qos=qos, dup=False)


@test(each=rows({0x6: 0, 0x7: 0, 0xE: 0, 0xF: 0}))
def v311_mqtt_3_3_1_4(b, flags):
    """Both QoS bits: the server closes, and nobody gets the message."""
    s = subscriber(b, '3.3.1-4')
    closes(b, sensor('3.3.1-4', b'x', flags, 1))
    s.expect_nothing()
    not_retained(b, '3.3.1-4')


# ---- RETAIN

@test(each=rows({0: 0, 1: 0, 2: 0}, {0: 0, 1: 0, 2: 0}))
def v311_mqtt_3_3_1_5(b, published, granted):
    """With RETAIN the message is stored, and its QoS: later subscribers get it at theirs or its
    own, whichever is lower. (At QoS 0 it may be dropped; not in a server that has room.)"""
    topic = f'3.3.1-5/{published}/{granted}'
    p = client(b)
    p.publish(topic, b'kept', qos=published, retain=True)
    p.disconnect()
    got = retained(b, topic, granted)
    equal((got.payload, got.qos), (b'kept', min(published, granted)))


@test
def v311_mqtt_3_3_1_6(b):
    """A new subscription gets the last retained message of each topic that matches, and of no
    other."""
    p = client(b)
    for topic in ('k/3.3.1-6/a', 'k/3.3.1-6/b', 'k/3.3.1-6/b/c', 'k/3.3.1-6', 'k/3.3.1-6x/a'):
        for body in (b'first', b'second', b'last of ' + topic.encode()):
            p.publish(topic, body, qos=1, retain=True)
    for topic_filter, topics in (('k/3.3.1-6/+', ['k/3.3.1-6/a', 'k/3.3.1-6/b']),
                                 ('k/3.3.1-6/#', ['k/3.3.1-6', 'k/3.3.1-6/a', 'k/3.3.1-6/b',
                                                'k/3.3.1-6/b/c']),
                                 ('k/3.3.1-6/b', ['k/3.3.1-6/b']), ('k/3.3.1-6/c', [])):
        s = subscriber(b, topic_filter)
        got = [s.expect_message(retain=True) for _ in topics]
        equal(sorted((m.topic, m.payload) for m in got),
              sorted((topic, b'last of ' + topic.encode()) for topic in topics))
        s.expect_nothing()


@test(each=[(1,), (2,)])
def v311_mqtt_3_3_1_7(b, older):
    """A retained message of QoS 0 puts an older one out, and should take its place."""
    p = client(b)
    p.publish(f'3.3.1-7/{older}', b'older', qos=older, retain=True)
    p.publish(f'3.3.1-7/{older}', b'newer', qos=0, retain=True)
    p.ping()
    got = retained(b, f'3.3.1-7/{older}')
    equal((got.payload, got.qos), (b'newer', 0))


@test(each=rows({'new': 0, 'repeated': 0}, {0: 0, 1: 0, 2: 0}))
def v311_mqtt_3_3_1_8(b, subscription, qos):
    """RETAIN is 1 in a message that is sent because of a new subscription."""
    topic = f'3.3.1-8/{subscription}/{qos}'
    s = subscriber(b, topic) if subscription == 'repeated' else client(b)
    p = client(b)
    p.publish(topic, b'kept', qos=qos, retain=True)
    p.ping()
    if subscription == 'repeated':
        s.expect_message(topic, b'kept', retain=False)
    s.subscribe(topic, qos=2)
    s.expect_message(topic, b'kept', retain=True, qos=qos)


@test(each=rows({'online': 0, 'away': 0}, {0: 0, 1: 0, 2: 0}))
def v311_mqtt_3_3_1_9(b, client_is, qos):
    """RETAIN is 0 in what a subscription gets that was there before the message, also if the client
    is away just then."""
    name, topic = f'3.3.1-9-{qos}-{client_is}', f'3.3.1-9/{qos}/{client_is}'
    s = client(b, name, clean=False)
    s.subscribe(topic, qos=2)
    p = client(b)
    if client_is == 'away':
        s.disconnect()
        p.publish(topic, b'x', qos=qos, retain=True)
        p.publish(topic, b'end', qos=1)
        s = resumed(b, name)
        if qos == 0:  # need not be kept for one who is away
            got = s.expect_message(topic, retain=False)
            equal(got.payload in (b'x', b'end'), True)
            return
    else:
        p.publish(topic, b'x', qos=qos, retain=True)
    s.expect_message(topic, b'x', qos=qos, retain=False)


@test(each=[(0,), (1,), (2,)])
def v311_mqtt_3_3_1_10(b, qos):
    """RETAIN and no payload: sent on as any message, and the retained one is removed."""
    topic = f'3.3.1-10/{qos}'
    s, p = subscriber(b, topic), client(b)
    s.ping()  # or what is retained now may come twice
    p.publish(topic, b'kept', qos=1, retain=True)
    s.expect_message(topic, b'kept')
    p.publish(topic, b'', qos=qos, retain=True)
    s.expect_message(topic, b'', qos=qos, retain=False)
    not_retained(b, topic)


@test(each=[(0,), (1,), (2,)])
def v311_mqtt_3_3_1_11(b, qos):
    """A message without a payload is not itself retained."""
    topic = f'3.3.1-11/{qos}'
    p = client(b)
    p.publish(topic, b'', qos=qos, retain=True)
    p.ping()
    not_retained(b, topic, '3.3.1-11/+')


@test(each=rows({0: 0, 1: 0, 2: 0}, {'payload': 0, 'no payload': 0}))
def v311_mqtt_3_3_1_12(b, qos, what):
    """Without RETAIN nothing is stored, and what is retained stays as it is."""
    topic = f'3.3.1-12/{qos}/{what}'
    body = b'plain' if what == 'payload' else b''
    p = client(b)
    p.publish(f'{topic}/fresh', body, qos=qos)
    p.publish(topic, b'kept', qos=1, retain=True)
    p.publish(topic, body, qos=qos)
    p.ping()
    not_retained(b, f'{topic}/fresh')
    got = retained(b, topic)
    equal((got.payload, got.qos), (b'kept', 1))


# ---- Topic, payload

@test(each=rows(ILL_FORMED))
def v311_mqtt_3_3_2_1(b, reason):
    """The topic comes first, and is UTF-8."""
    s = subscriber(b, '+')
    closes(b, sensor(ILL_FORMED[reason], b'x'))
    closes(b, sensor(ILL_FORMED[reason], b'x', 4, 1))
    s.expect_nothing()


@test(each=rows({'missing': b'', 'half a length': b'\0', 'cut off': b'\0\3ab'}))
def v311_mqtt_3_3_2_1_missing(b, what):
    """A PUBLISH has a topic, and all of it."""
    closes(b, packet(0x30, {'missing': b'', 'half a length': b'\0', 'cut off': b'\0\3ab'}[what]))


@test(each=rows(dict.fromkeys(('3.3.2-2/+', '3.3.2-2/#', '#', '+', '3.3.2-2/+/a', '3.3.2-2/a+',
                               '3.3.2-2/a#b')), {0: 0, 1: 0, 2: 0}))
def v311_mqtt_3_3_2_2(b, topic, qos):
    """No wildcard in a topic: the server closes, and nobody gets the message."""
    s = subscriber(b, '3.3.2-2/#')
    closes(b, sensor(topic, b'x', qos << 1 | 1, 1 if qos else None))
    s.expect_nothing()
    not_retained(b, '3.3.2-2/#')


# Topics, and the filters that match them (4.7).
TOPICS = {
    'm': ['m', '#', '+', 'm/#', '+/#'],
    'm/': ['m/', '#', '+/+', 'm/+', 'm/#', 'm//#', '+/', '+/#', 'm/+/#'],
    'm/p': ['m/p', '#', '+/+', 'm/+', '+/p', 'm/#', 'm/p/#', '+/#', 'm/+/#'],
    'm/p/r': ['m/p/r', '#', 'm/#', 'm/p/#', 'm/p/+', 'm/+/r', '+/+/+', 'm/+/#', '+/#', 'm/+/+'],
    'm//r': ['m//r', '#', 'm/#', 'm//#', 'm/+/r', '+/+/+', 'm/+/#', '+/#', 'm/+/+'],
    '/m': ['/m', '#', '+/+', '/+', '/#', '+/m', '+/#'],
    'M/p': ['M/p', '#', '+/+', '+/p', '+/#'],
    'mp': ['mp', '#', '+', '+/#'],
    '/': ['/', '#', '+/+', '/+', '/#', '+/', '+/#'],
}
FILTERS = sorted({f for filters in TOPICS.values() for f in filters})


@test(each=rows(dict.fromkeys(FILTERS)))
def v311_mqtt_3_3_2_3(b, topic_filter):
    """A subscription gets the topics that its filter matches, and no others; the topic as it was
    published."""
    s, p = subscriber(b, topic_filter, 'end'), client(b)
    for topic in (*TOPICS, 'end'):
        p.publish(topic, b'3.3.2-3', qos=1)
    got = []
    while got[-1:] != ['end']:
        m = s.expect_message()
        if not m.retain:  # other tests' messages
            equal(m.payload, b'3.3.2-3')
            got.append(m.topic)
    want = [topic for topic, filters in TOPICS.items() if topic_filter in filters]
    equal(got[:-1], want)


@test
def v311_u311_3_3_3_a(b):
    """A message may be empty, at any QoS."""
    s, p = subscriber(b, 'u3.3.3-a'), client(b)
    for qos in range(3):
        p.publish('u3.3.3-a', b'', qos=qos)
        s.expect_message('u3.3.3-a', b'', qos=qos)


@test(each=rows({'known topic': 0, 'nobody there': 0}, {False: 0, True: 0}))
def v311_mqtt_3_3_4_1(b, what, retain):
    """QoS 0 is not answered, QoS 1 with PUBACK, QoS 2 with PUBREC; whether or not someone
    subscribes."""
    topic = f'3.3.4-1/{what}'
    if what == 'known topic':
        subscriber(b, topic)
    p = client(b)
    answer(p, sensor(topic, b'x', retain) + wire.pingreq(), b'\xd0\x00')
    answer(p, sensor(topic, b'x', 2 | retain, 0x1234) + wire.pingreq(),
           b'\x40\x02\x12\x34', b'\xd0\x00')
    answer(p, sensor(topic, b'x', 4 | retain, 0x1234) + wire.pingreq(),
           b'\x50\x02\x12\x34', b'\xd0\x00')
    answer(p, wire.ack(PUBREL, 0x1234), b'\x70\x02\x12\x34')


@test(each=rows({0: 0, 1: 0, 2: 0}, {'low first': 0, 'high first': 0}))
def v311_mqtt_3_3_5_1(b, published, order):
    """Where several of a client's subscriptions match, it gets the message at the highest QoS of
    them; further copies may come, at no more than that of their own."""
    topic = f'3.3.5-1/{published}/{order}'
    s, p = client(b), client(b)
    pairs = [(f'{topic}/#', 0), (f'{topic}/+', 1), (f'{topic}/a', 2)]
    for topic_filter, qos in pairs if order == 'low first' else pairs[::-1]:
        s.subscribe(topic_filter, qos=qos)
    p.publish(f'{topic}/a', b'x', qos=published)
    s.unsubscribe(f'{topic}/none')
    got = []
    p.publish(f'{topic}/a', b'end', qos=published)
    while (m := s.expect_message(f'{topic}/a')).payload != b'end':
        got.append(m.qos)
    equal((max(got, default=None), len(got) <= 3), (published, True), f'copies {got}')


@test(each=[(0,), (1,)])
@test(each=[(2,)], mosquitto='acknowledges, and closes all the same')
def v311_mqtt_3_3_5_2(b, qos):
    """A PUBLISH that is not allowed is acknowledged as any other, or the connection closed; it is
    not delivered. Here: to the server's own topics."""
    topic = '$SYS/broker/3.3.5-2'
    s, p = subscriber(b, topic), client(b)
    p.send(sensor(topic, b'x', qos << 1 | 1, 1 if qos else None), wire.pingreq())
    got = p.recv()
    if got is not None:
        equal(got.type, (wire.PINGRESP, PUBACK, PUBREC)[qos])
        if qos == 2:
            p.expect(wire.PINGRESP)
            p.send(wire.ack(PUBREL, 1))
            p.expect(PUBCOMP, packet_id=1)
    s.expect_nothing()
    not_retained(b, topic)


# ---- Acknowledgements

@test(each=rows({'PUBACK': 0x40, 'PUBREC': 0x50, 'PUBREL': 0x62, 'PUBCOMP': 0x70}),
      mosquitto='lets some pass')
def v311_u311_3_4_a(b, name):
    """PUBACK, PUBREC, PUBREL and PUBCOMP have a packet identifier and nothing else; the server
    closes if they do."""
    first = {'PUBACK': 0x40, 'PUBREC': 0x50, 'PUBREL': 0x62, 'PUBCOMP': 0x70}[name]
    for body in (b'', b'\0', b'\0\1\0', b'\0\1\0\0', b'\0\1\0\1'):
        closes(b, packet(first, body))


@test(each=rows({'PINGREQ': 0xC0, 'DISCONNECT': 0xE0}), mosquitto='lets some pass')
def v311_u311_3_4_a_empty(b, name):
    """PINGREQ and DISCONNECT have nothing behind their fixed header."""
    first = {'PINGREQ': 0xC0, 'DISCONNECT': 0xE0}[name]
    for body in (b'\0', b'\0\0'):
        o = subscriber(b, 'u3.4-a')
        closes(b, packet(first, body), will=wire.Will('u3.4-a', b'gone'))
        o.expect_message('u3.4-a', b'gone')


@test
def v311_u311_3_4_a_of_the_server(b):
    """The server's own have that length, too."""
    s, p = subscriber(b, 'u3.4-a/s'), client(b)
    answer(p, sensor('u3.4-a/s', b'1', 2, 1), b'\x40\x02\x00\x01')
    answer(p, sensor('u3.4-a/s', b'2', 4, 2), b'\x50\x02\x00\x02')
    answer(p, wire.ack(PUBREL, 2), b'\x70\x02\x00\x02')
    answer(p, wire.unsubscribe(V311, 3, ['x']) + wire.pingreq(), b'\xb0\x02\x00\x03\xd0\x00')
    s.expect_message(payload=b'1')
    n = s.expect(PUBLISH, payload=b'2').packet_id
    answer(s, wire.ack(PUBREC, n), packet(0x62, u16(n)))


@test(each=[(flags,) for flags in range(16) if flags != 2])
def v311_mqtt_3_6_1_1(b, flags):
    """PUBREL has the flags 0010; with others it is malformed, and the server closes. What it was to
    release is released when it comes again as it should."""
    name = f'3.6.1-1-{flags}'
    c = client(b, name, clean=False)
    answer(c, sensor('3.6.1-1', b'x', 4, 5), b'\x50\x02\x00\x05')
    c.send(packet(0x60 | flags, u16(5)))
    c.expect_end()
    answer(resumed(b, name), wire.ack(PUBREL, 5), b'\x70\x02\x00\x05')


@test
def v311_mqtt_3_6_1_1_of_the_server(b):
    """The server's PUBREL has them, also when it is sent again."""
    s, p = client(b, '3.6.1-1', clean=False), client(b)
    s.subscribe('3.6.1-1/s', qos=2)
    p.publish('3.6.1-1/s', b'x', qos=2)
    n = s.expect(PUBLISH, qos=2).packet_id
    answer(s, wire.ack(PUBREC, n), b'\x62\x02' + u16(n))
    s.drop()
    answer(resumed(b, '3.6.1-1'), b'', b'\x62\x02' + u16(n))
