# SPDX-License-Identifier: Apache-2.0
"""MQTT 3.1.1, chapters 4 and 7: sessions, qualities of service, order, topics, errors. See v311.py.
"""
import unicodedata

from harness import equal, pass_time, test
from raw import (PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, V311, Unexpected, Will,
                 publish_many, wire)
from wire import packet, string, u16

from v311 import (answer, client, closes, connect, connect_body, end_mark, exactly, not_retained,
                  resumed, retained, rows, sensor, subscribe, subscriber, turned_away,
                  unsubscribe)

SECONDS = 4


# ---- State

@test
def v311_mqtt_4_1_0_1(b):
    """All of a session's state is kept as long as the session: subscriptions, both sides of open
    exchanges, what waits; over several connections."""
    s, p = client(b, '4.1.0-1', clean=False), client(b)
    s.subscribe('4.1.0-1/#', qos=2)
    p.publish('4.1.0-1', b'released', qos=2)
    p.publish('4.1.0-1', b'sent', qos=2)
    released, sent = (s.expect(PUBLISH, qos=2).packet_id for _ in range(2))
    answer(s, wire.ack(PUBREC, released), wire.ack(PUBREL, released))
    answer(s, sensor('4.1.0-1x', b'mine', 4, 77), wire.ack(PUBREC, 77))
    for _ in range(3):
        s.drop()
        p.publish('4.1.0-1/wait', b'waiting', qos=1)
        s = resumed(b, '4.1.0-1')
        s.expect(PUBREL, packet_id=released)
        s.expect(PUBLISH, packet_id=sent, payload=b'sent', dup=True)
        s.expect_message('4.1.0-1/wait', b'waiting', dup=False)
        answer(s, sensor('4.1.0-1x', b'mine', 0xC, 77), wire.ack(PUBREC, 77))
    s.send(wire.ack(PUBCOMP, released))
    answer(s, wire.ack(PUBREC, sent), wire.ack(PUBREL, sent))
    answer(s, wire.ack(PUBREL, 77), wire.ack(PUBCOMP, 77))


@test
def v311_mqtt_4_1_0_1_inbound(b):
    """That a QoS 2 message was received is of the session: it is not delivered again after a new
    connection."""
    s, p = subscriber(b, '4.1.0-1/in'), client(b, '4.1.0-1/in', clean=False)
    answer(p, sensor('4.1.0-1/in', b'once', 4, 9), wire.ack(PUBREC, 9))
    p.drop()
    p = resumed(b, '4.1.0-1/in')
    answer(p, sensor('4.1.0-1/in', b'once', 0xC, 9), wire.ack(PUBREC, 9))
    answer(p, wire.ack(PUBREL, 9), wire.ack(PUBCOMP, 9))
    s.expect_message('4.1.0-1/in', b'once')
    end_mark(b, s, '4.1.0-1/in')


@test
def v311_mqtt_4_1_0_2(b):
    """A session lasts at least as long as its connection, also a clean one; a refused newcomer, or
    one that takes no other identifier's place, does not end it."""
    s, p = client(b, '4.1.0-2'), client(b)
    s.subscribe('4.1.0-2', qos=2)
    p.publish('4.1.0-2', b'open', qos=2)
    n = s.expect(PUBLISH, payload=b'open').packet_id
    turned_away(b, connect('4.1.0-2', flags=0x03))
    client(b, '4.1.0-2x').disconnect()
    answer(s, wire.ack(PUBREC, n), wire.ack(PUBREL, n))
    p.publish('4.1.0-2', b'more', qos=1)
    s.expect_message('4.1.0-2', b'more', qos=1)
    s.send(wire.ack(PUBCOMP, n))
    s.expect_nothing()


@test
def v311_u311_4_1_a(b):
    """Retained messages should stay until a client removes them: neither those who set nor those
    who read them take them away."""
    topic = 'u4.1-a'
    p = client(b, topic, clean=True)
    p.publish(topic, b'kept', qos=1, retain=True)
    p.drop()
    for _ in range(3):
        equal(retained(b, topic).payload, b'kept')
        b.close_clients()
    client(b).publish(topic, b'', qos=1, retain=True)
    not_retained(b, topic)


# ---- Qualities of service

@test(each=[(0,), (1,), (2,)])
def v311_mqtt_4_3_1_1(b, published):
    """At QoS 0 a message goes out once, with QoS 0 and DUP 0, and is not answered."""
    topic = f'4.3.1-1/{published}'
    s, p = client(b, topic, clean=False), client(b)
    s.subscribe(topic, qos=0)
    p.publish(topic, b'x', qos=published)
    exactly(s, packet(0x30, string(topic) + b'x'))
    s.expect_nothing()
    s.drop()
    resumed(b, topic).expect_nothing()


@test
def v311_mqtt_4_3_2_1(b):
    """QoS 1, sending: a fresh identifier, DUP 0, unacknowledged until the PUBACK with that
    identifier; no other one ends it."""
    s, p = client(b, '4.3.2-1', clean=False), client(b)
    s.subscribe('4.3.2-1', qos=1)
    p.publish('4.3.2-1', b'a', qos=1)
    p.publish('4.3.2-1', b'b', qos=1)
    one = s.expect(PUBLISH, payload=b'a', qos=1, dup=False).packet_id
    two = s.expect(PUBLISH, payload=b'b', qos=1, dup=False).packet_id
    s.send(wire.ack(PUBACK, two))
    s.ping()
    s.drop()
    s = resumed(b, '4.3.2-1')
    s.expect(PUBLISH, payload=b'a', qos=1, dup=True, packet_id=one)
    s.expect_nothing()
    s.send(wire.ack(PUBACK, one))
    s.ping()
    s.drop()
    resumed(b, '4.3.2-1').expect_nothing()


@test(each=[(False,), (True,)])
def v311_mqtt_4_3_2_2(b, dup):
    """QoS 1, receiving: PUBACK with the identifier; after that the identifier stands for a new
    message, whatever DUP says."""
    s, p = subscriber(b, '4.3.2-2'), client(b)
    for body in (b'first', b'second', b'second'):
        answer(p, wire.publish(V311, '4.3.2-2', body, 1, 7, dup=dup), b'\x40\x02\x00\x07')
        s.expect_message('4.3.2-2', body, dup=False)


@test(each=rows({'before PUBREC': 0, 'behind PUBREC': 0, 'behind PUBREL': 0, 'behind PUBCOMP': 0}))
def v311_mqtt_4_3_3_1(b, lost):
    """QoS 2, sending: a fresh identifier and DUP 0; unacknowledged until PUBREC, then PUBREL with
    the same identifier until PUBCOMP, and never PUBLISH again."""
    name = f'4.3.3-1/{lost}'
    s, p = client(b, name, clean=False), client(b)
    s.subscribe(name, qos=2)
    p.publish(name, b'x', qos=2)
    n = s.expect(PUBLISH, qos=2, dup=False).packet_id
    if lost != 'before PUBREC':
        s.send(wire.ack(PUBREC, n))
        if lost == 'behind PUBREC':  # without looking at what comes
            s.ping()
        else:
            s.expect(PUBREL, packet_id=n)
    if lost == 'behind PUBCOMP':
        s.send(wire.ack(PUBCOMP, n))
        s.ping()
    s.drop()
    s = resumed(b, name)
    if lost == 'before PUBREC':
        s.expect(PUBLISH, packet_id=n, qos=2, dup=True, payload=b'x')
        answer(s, wire.ack(PUBREC, n), wire.ack(PUBREL, n))
    elif lost != 'behind PUBCOMP':
        s.expect(PUBREL, packet_id=n)
    s.expect_nothing()


@test
def v311_mqtt_4_3_3_1_repeated(b):
    """PUBREC again, before PUBCOMP: PUBREL again, and never PUBLISH."""
    s, p = subscriber(b, '4.3.3-1'), client(b)
    p.publish('4.3.3-1', b'x', qos=2)
    n = s.expect(PUBLISH, qos=2).packet_id
    answer(s, wire.ack(PUBREC, n), wire.ack(PUBREL, n))
    s.send(wire.ack(PUBREC, n), wire.pingreq())
    got = s.recv()
    if got.type == PUBREL:
        equal(got.packet_id, n)
        got = s.recv()
    equal(got.type, wire.PINGRESP)


@test(each=[(False,), (True,)], mosquitto='does not answer the third copy')
def v311_mqtt_4_3_3_2(b, dup):
    """QoS 2, receiving: PUBREC with the identifier; until PUBREL the same identifier is the same
    message, answered and not delivered again; then PUBCOMP, and the identifier stands for a new
    one."""
    topic = f'4.3.3-2/{dup}'
    s, p = subscriber(b, topic), client(b)
    first = wire.publish(V311, topic, b'first', 2, 5)
    again = wire.publish(V311, topic, b'first', 2, 5, dup=dup)
    answer(p, first + again + again, b'\x50\x02\x00\x05' * 3)
    answer(p, wire.ack(PUBREL, 5), b'\x70\x02\x00\x05')
    s.expect_message(topic, b'first')
    s.expect_nothing()
    answer(p, wire.publish(V311, topic, b'new', 2, 5, dup=dup), b'\x50\x02\x00\x05')
    answer(p, wire.ack(PUBREL, 5), b'\x70\x02\x00\x05')
    s.expect_message(topic, b'new')
    s.expect_nothing()


@test
def v311_mqtt_4_3_3_2_released(b):
    """PUBREL is answered each time it comes, also when the message is finished already."""
    p = client(b)
    answer(p, sensor('4.3.3-2', b'', 4, 5), b'\x50\x02\x00\x05')
    for _ in range(3):
        answer(p, wire.ack(PUBREL, 5), b'\x70\x02\x00\x05')


# ---- Sent again

@test
def v311_mqtt_4_4_0_1(b):
    """After a new connection without clean session all that is unacknowledged is sent again with
    its identifiers: PUBLISH of QoS 1 and 2, and PUBREL."""
    s, p = client(b, '4.4.0-1', clean=False), client(b)
    s.subscribe('4.4.0-1', qos=2)
    for i in range(9):
        p.publish('4.4.0-1', b'%d' % i, qos=1 + i % 2)
    sent = [s.expect(PUBLISH, payload=b'%d' % i) for i in range(9)]
    s.send(wire.ack(PUBACK, sent[4].packet_id), wire.ack(PUBREC, sent[1].packet_id),
           wire.ack(PUBREC, sent[5].packet_id))
    s.ping()
    s.drop()
    s = resumed(b, '4.4.0-1')
    got = [s.recv() for _ in range(8)]
    equal(sorted((m.type, m.packet_id, m.payload, m.dup) for m in got if m.type == PUBLISH),
          sorted((PUBLISH, sent[i].packet_id, b'%d' % i, True) for i in (0, 2, 3, 6, 7, 8)))
    equal([m.packet_id for m in got if m.type == PUBREL],
          [sent[1].packet_id, sent[5].packet_id])
    s.expect_nothing()


@test(each=[(1,), (2,)])
def v311_u311_4_4_a(b, qos):
    """On a connection that lives nothing need be sent again; if it is, it has DUP 1 and its
    identifier."""
    s, p = subscriber(b, f'u4.4-a/{qos}'), client(b)
    p.publish(f'u4.4-a/{qos}', b'x', qos=qos)
    n = s.expect(PUBLISH, dup=False).packet_id
    pass_time(1)
    s.ping()
    equal([(m.packet_id, m.dup) for m in s.aside], [(n, True)] * len(s.aside))


@test(each=[(1,), (2,)])
def v311_mqtt_4_5_0_1(b, qos):
    """A message that the server has taken comes to each session with a matching subscription, once:
    whether connected, away, or its own publisher's."""
    topic = f'4.5.0-1/{qos}'
    p = client(b, f'4.5.0-1-p{qos}')
    p.subscribe('4.5.0-1/#', qos=qos)
    online = [subscriber(b, f) for f in (topic, '4.5.0-1/+', '4.5.0-1/#', topic)]
    for i in range(3):
        c = client(b, f'4.5.0-1-{qos}-{i}', clean=False)
        c.subscribe(topic, qos=qos)
        c.disconnect()
    p.publish(topic, b'x', qos=qos)
    for s in online + [resumed(b, f'4.5.0-1-{qos}-{i}') for i in range(3)] + [p]:
        s.expect_message(topic, b'x', qos=qos, dup=False)
        s.expect_nothing()


# ---- Order

@test(each=[(1,), (2,)])
def v311_mqtt_4_6_0_1(b, qos):
    """What is sent again comes in the order in which it was sent first, and before what is new."""
    name = f'4.6.0-1-{qos}'
    s, p = client(b, name, clean=False), client(b)
    s.subscribe(name, qos=qos)
    for i in range(20):
        p.publish(name, b'%d' % i, qos=qos)
    sent = [s.expect(PUBLISH, payload=b'%d' % i).packet_id for i in range(20)]
    for i in (13, 0, 7):  # leaves gaps
        s.send(wire.ack(PUBACK if qos == 1 else PUBREC, sent[i]))
        if qos == 2:
            s.expect(PUBREL, packet_id=sent[i])
            s.send(wire.ack(PUBCOMP, sent[i]))
    s.ping()
    s.drop()
    for i in range(20, 25):
        p.publish(name, b'%d' % i, qos=qos)
    s = resumed(b, name)
    for i in range(25):
        if i not in (13, 0, 7):
            s.expect_message(name, b'%d' % i, dup=i < 20)


@test
def v311_mqtt_4_6_0_2(b):
    """PUBACKs come in the order of the PUBLISHes."""
    p, numbers = client(b), [*range(1, 300), 65535, 5000, 400]
    p.send(*(sensor('4.6.0-2', b'x', 2, n) for n in numbers))
    exactly(p, *(wire.ack(PUBACK, n) for n in numbers))


@test(mosquitto='closes above 20 open messages')
def v311_mqtt_4_6_0_3(b):
    """PUBRECs come in the order of the PUBLISHes, those of a second copy as well."""
    p, numbers = client(b), [*range(1, 300), 65535, 5000, 400, 17, 3]
    p.send(*(sensor('4.6.0-3', b'x', 4, n) for n in numbers))
    exactly(p, *(wire.ack(PUBREC, n) for n in numbers))


@test
def v311_mqtt_4_6_0_4(b):
    """PUBRELs come in the order of the PUBRECs, and again in that order on a new connection."""
    s, p = client(b, '4.6.0-4', clean=False), client(b)
    s.subscribe('4.6.0-4', qos=2)
    for i in range(5):
        p.publish('4.6.0-4', b'%d' % i, qos=2)
    sent = [s.expect(PUBLISH, qos=2).packet_id for _ in range(5)]
    order = [sent[i] for i in (3, 1, 4, 0, 2)]
    s.send(*(wire.ack(PUBREC, n) for n in order))
    exactly(s, *(wire.ack(PUBREL, n) for n in order))


@test(each=rows({0: 0, 1: 0, 2: 0}))
def v311_mqtt_4_6_0_5(b, qos):
    """Every topic is an ordered one unless the server is told otherwise: any will do."""
    s, p = subscriber(b, '#', '$o/#'), client(b)
    for topic in ('4.6.0-5', '/', '4.6.0-5/a/b/c', '4.6.0-5//'):
        for i in range(30):
            p.publish(topic, b'o%d' % i, qos=qos)
        got = []
        while len(got) < 30:
            m = s.expect_message(qos=qos) if not s.aside else s.expect_message()
            if not m.retain and m.payload.startswith(b'o'):
                equal(m.topic, topic)
                got.append(int(m.payload[1:]))
        equal(got, list(range(30)))


@test(each=[(published, granted) for published in range(3) for granted in range(3)])
def v311_mqtt_4_6_0_6(b, published, granted):
    """Messages of one client to one topic at one QoS come in the order in which they were sent, to
    every subscriber."""
    topic = f'4.6.0-6/{published}/{granted}'
    subscribers, p = [subscriber(b, topic, qos=granted) for _ in range(2)], client(b)
    bodies = [b'%d' % i for i in range(1000)]
    publish_many(p, topic, bodies, qos=published, window=20)
    for s in subscribers:
        got = [s.expect_message(topic, qos=min(published, granted)).payload for _ in bodies]
        equal(got, bodies)


@test
def v311_mqtt_4_6_0_6_two_publishers(b):
    """Two clients' messages may mix, each client's keep their order."""
    s, one, two = subscriber(b, '4.6.0-6'), client(b), client(b)
    for i in range(1, 201):
        for p, who in ((one, b'a'), (two, b'b')):
            p.send(sensor('4.6.0-6', who + b'%d' % i, 2, i))
    got = [s.expect_message('4.6.0-6').payload for _ in range(400)]
    for who in (b'a', b'b'):
        equal([int(body[1:]) for body in got if body[:1] == who], list(range(1, 201)))


# ---- Topics

@test(each=rows(dict.fromkeys(('4.7.1-1/+', '4.7.1-1/#', '+', '#', '4.7.1-1/a+', 'a#'))))
def v311_mqtt_4_7_1_1(b, topic):
    """Wildcards are for filters: a topic of a message or a will has none."""
    closes(b, sensor(topic, b'x'))
    turned_away(b, connect('4.7.1-1', will=Will(topic, b'w')))


def not_granted(b, topic_filter):
    """A filter that is none: SUBACK with a failure, or the end."""
    c = client(b)
    c.send(subscribe(1, (topic_filter, 0)))
    p = c.recv()
    if p is not None:
        equal((p.type, p.reasons), (SUBACK, (0x80,)))


@test(each=rows(dict.fromkeys(('4.7.1-2#', '4.7.1-2/#/b', '4.7.1-2/b#', '#/4.7.1-2', '4.7.1-2/##',
                               '#a', '##', '#/', '4.7.1-2/#/#', '4.7.1-2/+#', '4.7.1-2/#+'))))
def v311_mqtt_4_7_1_2(b, topic_filter):
    """# stands alone or behind /, and at the end."""
    not_granted(b, topic_filter)


@test(each=rows({'4.7.1-2/#': 0, '#': 0, '/#': 0, '4.7.1-2/+/#': 0, '+/#': 0}))
def v311_mqtt_4_7_1_2_granted(b, topic_filter):
    """There it is fine, and matches the level above and all below."""
    topics = {'4.7.1-2/#': ['4.7.1-2', '4.7.1-2/', '4.7.1-2/a', '4.7.1-2/a/b/c'],
              '#': ['4.7.1-2', '/', 'a/b'], '/#': ['/', '/4.7.1-2', '/4.7.1-2/a'],
              '4.7.1-2/+/#': ['4.7.1-2/', '4.7.1-2/a', '4.7.1-2/a/b'],
              '+/#': ['4.7.1-2', '4.7.1-2/a', '/', '/a/b']}[topic_filter]
    s, p = subscriber(b, topic_filter), client(b)
    for topic in topics:
        p.publish(topic, b'4.7.1-2', qos=1)
    got = []
    while len(got) < len(topics):
        m = s.expect_message()
        if not m.retain:
            got.append(m.topic)
    equal(got, topics)


@test(each=rows(dict.fromkeys(('4.7.1-3+', '4.7.1-3/+b', '4.7.1-3/b+', '+4.7.1-3', '++',
                               '4.7.1-3/++/b', '4.7.1-3/b+/c', '+a/4.7.1-3'))))
def v311_mqtt_4_7_1_3(b, topic_filter):
    """+ is all of its level."""
    not_granted(b, topic_filter)


@test(each=rows(dict.fromkeys(('+', '4.7.1-3/+', '+/4.7.1-3', '4.7.1-3/+/b', '+/+', '/+', '+/'))))
def v311_mqtt_4_7_1_3_granted(b, topic_filter):
    """There it is fine, and matches one level, an empty one as well."""
    fits = {'+': ['4.7.1-3'], '4.7.1-3/+': ['4.7.1-3/a', '4.7.1-3/'],
            '+/4.7.1-3': ['a/4.7.1-3', '/4.7.1-3'],
            '4.7.1-3/+/b': ['4.7.1-3/a/b', '4.7.1-3//b'],
            '+/+': ['a/4.7.1-3', '/4.7.1-3', '4.7.1-3/', '4.7.1-3/a', '/'],
            '/+': ['/4.7.1-3', '/'], '+/': ['4.7.1-3/', '/']}[topic_filter]
    s, p = subscriber(b, topic_filter, '4.7.1-3/end/mark/x'), client(b)
    everything = ['4.7.1-3', '4.7.1-3/a', '4.7.1-3/', 'a/4.7.1-3', '/4.7.1-3', '4.7.1-3/a/b',
                  '4.7.1-3//b', '/', '4.7.1-3/end/mark/x']
    for topic in everything:
        p.publish(topic, b'4.7.1-3', qos=1)
    got = []
    while got[-1:] != ['4.7.1-3/end/mark/x']:
        m = s.expect_message()
        if not m.retain:
            got.append(m.topic)
    equal(sorted(got[:-1]), sorted(fits))


@test(each=rows(dict.fromkeys(('#', '+/4.7.2-1', '+/+', '+/#', '+'))))
def v311_mqtt_4_7_2_1(b, topic_filter):
    """A filter that begins with a wildcard does not match a topic that begins with $."""
    s, p = subscriber(b, topic_filter, '4.7.2-1/end/mark'), client(b)
    own = subscriber(b, '$4.7.2/#')
    for topic in ('$4.7.2/4.7.2-1', '$4.7.2', '$4.7.2/a/b'):
        p.publish(topic, b'x', qos=1)
        try:
            own.expect_message(topic, b'x', timeout=1)
        except Unexpected:
            pass  # not for clients to use, which is fine as well
    p.publish('4.7.2-1/end/mark', b'end', qos=1)
    while (m := s.expect_message()).payload != b'end':
        equal(m.topic.startswith('$'), False, m)
    s.unsubscribe(topic_filter)


@test
def v311_mqtt_4_7_2_1_inner(b):
    """A $ further on is a character like any other."""
    s, p = subscriber(b, '4.7.2-1/+/#'), client(b)
    p.publish('4.7.2-1/$x/$y', b'x', qos=1)
    s.expect_message('4.7.2-1/$x/$y')


@test(each=[(0,), (1,), (2,)])
def v311_u311_4_7_2_a(b, qos):
    """The server should keep clients from talking to each other over the $ topics it uses itself.
    """
    s, p = subscriber(b, '$SYS/u4.7.2-a'), client(b)
    p.send(sensor('$SYS/u4.7.2-a', b'x', qos << 1, 1 if qos else None), wire.ack(PUBREL, 1),
           wire.pingreq())
    while (m := p.recv()) is not None and m.type != wire.PINGRESP:
        pass
    s.expect_nothing()


@test(each=rows({'PUBLISH': 0, 'SUBSCRIBE': 0, 'UNSUBSCRIBE': 0, 'will': 0}))
def v311_mqtt_4_7_3_1(b, where):
    """Topics and filters have one character at least."""
    if where == 'SUBSCRIBE':
        not_granted(b, '')
    elif where == 'will':
        turned_away(b, connect('4.7.3-1', will=Will('', b'w')))
    elif where == 'UNSUBSCRIBE':
        c = client(b)
        c.send(unsubscribe(1, ''))
        p = c.recv()
        equal(p is None or (p.type, p.packet_id) == (wire.UNSUBACK, 1), True, p)
    else:
        for flags in (0, 1, 2, 4):
            closes(b, sensor('', b'x', flags, 1 if flags > 1 else None))


@test(each=rows({'PUBLISH': 0, 'SUBSCRIBE': 0, 'UNSUBSCRIBE': 0, 'will': 0}))
def v311_mqtt_4_7_3_2(b, where):
    """Topics and filters do not hold U+0000."""
    topic = b'4.7.3-2/\0/a'
    if where == 'will':
        turned_away(b, connect('4.7.3-2', will=Will(topic, b'w')))
    else:
        s = subscriber(b, '4.7.3-2/#')
        closes(b, {'PUBLISH': sensor(topic, b'x'), 'SUBSCRIBE': subscribe(1, (topic, 0)),
                   'UNSUBSCRIBE': unsubscribe(1, topic)}[where])
        s.expect_nothing()


@test(each=[(65535,), (65534,), (32768,)])
def v311_mqtt_4_7_3_3(b, length):
    """A topic has up to 65535 bytes; one that long works or is refused, and is never cut."""
    topic = '4.7.3-3/' + 'ä' * ((length - 8) // 2) + 'x' * (length % 2)
    s, p = subscriber(b, '4.7.3-3/#'), client(b)
    whole = client(b)
    whole.send(subscribe(1, (topic, 1)))
    answered = whole.recv()
    p.send(sensor(topic, b'x', 2, 1))
    if p.recv() is not None:
        s.expect_message(topic, b'x')
        if answered is not None and answered.reasons == (1,):
            whole.expect_message(topic, b'x')
    else:
        s.expect_nothing()


@test(each=rows({'case': 0, 'composed': 0, 'slash before': 0, 'slash behind': 0, 'two slashes': 0,
                 'space': 0, 'full width': 0, 'dot': 0, 'other case beyond ASCII': 0}))
def v311_mqtt_4_7_3_4(b, what):
    """Topics are compared as they are: nothing that only looks or means the same matches."""
    one, other = {
        'case': ('4.7.3-4/a', '4.7.3-4/A'),
        'composed': ('4.7.3-4/\xe4', unicodedata.normalize('NFD', '4.7.3-4/\xe4')),
        'slash before': ('4.7.3-4/s', '/4.7.3-4/s'), 'slash behind': ('4.7.3-4/e', '4.7.3-4/e/'),
        'two slashes': ('4.7.3-4/t/t', '4.7.3-4/t//t'), 'space': ('4.7.3-4/b', '4.7.3-4/b '),
        'full width': ('4.7.3-4/c', '4.7.3-4/\uff43'), 'dot': ('4.7.3-4/d', '4.7.3-4/./d'),
        'other case beyond ASCII': ('4.7.3-4/\xdf', '4.7.3-4/SS')}[what]
    s1, s2, p = subscriber(b, one), subscriber(b, other), client(b)
    p.publish(one, b'1', qos=1)
    p.publish(other, b'2', qos=1)
    s1.expect_message(one, b'1')
    s1.expect_nothing()
    s2.expect_message(other, b'2')
    s2.expect_nothing()
    p.publish(one, b'kept', qos=1, retain=True)
    not_retained(b, other)


# ---- Errors

# A packet that is a violation, and nothing else: by the section that says so.
VIOLATIONS = {
    '1.5.3 ill-formed topic': sensor(b'\xff', b'x'),
    '2.2 type 0': b'\x00\x00',
    '2.2 type 15': b'\xf0\x00',
    '2.2 flags': b'\xc1\x00',
    '2.2.3 length': b'\x30\xff\xff\xff\xff\x01',
    '2.3.1 packet id 0': subscribe(0, ('4.8.0-1', 0)),
    '3.1 CONNECT again': connect('4.8.0-1'),
    '3.2 CONNACK': b'\x20\x02\x00\x00',
    '3.3 QoS 3': sensor('4.8.0-1', b'x', 6, 1),
    '3.3 wildcard': sensor('#', b'x'),
    '3.3 no topic': b'\x30\x00',
    '3.4 no packet id': b'\x40\x00',
    '3.6 flags': b'\x60\x02\x00\x01',
    '3.8 no filter': packet(0x82, u16(1)),
    '3.8 QoS 3': subscribe(1, ('4.8.0-1', 3)),
    '3.9 SUBACK': b'\x90\x03\x00\x01\x00',
    '3.10 no filter': packet(0xA2, u16(1)),
    '3.11 UNSUBACK': b'\xb0\x02\x00\x01',
    '3.12 body': b'\xc0\x01\x00',
    '3.13 PINGRESP': b'\xd0\x00',
    '3.14 flags': b'\xe2\x00',
}


LAX = ('2.2 flags', '3.1 CONNECT again', '3.9 SUBACK', '3.11 UNSUBACK', '3.12 body',
       '3.13 PINGRESP')


@test(each=[(name,) for name in VIOLATIONS if name not in LAX])
@test(each=[(name,) for name in LAX], mosquitto='lets it pass')
def v311_mqtt_4_8_0_1(b, name):
    """A violation ends the connection it came on, without a word, as a lost one; the packets before
    it count and those behind it do not; no other connection suffers."""
    o = subscriber(b, '4.8.0-1/#')
    c = client(b, will=Will('4.8.0-1/will', b'gone', qos=1))
    c.send(sensor('4.8.0-1/before', b'x'), VIOLATIONS[name], sensor('4.8.0-1/behind', b'x'))
    c.expect_end()
    o.expect_message('4.8.0-1/before')
    o.expect_message('4.8.0-1/will')
    end_mark(b, o, '4.8.0-1/end')


# ---- Conformance

@test
def v311_mqtt_7_0_0_2(b):
    """Nothing beyond the standard is needed: a client that knows no more than 3.1.1 does all there
    is with the server's settings as they come."""
    other = b.another()
    s = other.client(V311)
    answer(s, connect_body(0xEE, string('7.0.0-2'), string('7.0.0-2/will'), string('w'),
                           string('u'), string('p')), b'\x20\x02\x00\x00')
    answer(s, subscribe(1, ('7.0.0-2/+', 2)), b'\x90\x03\x00\x01\x02')
    p = client(other)
    for qos in range(3):
        p.publish('7.0.0-2/a', b'%d' % qos, qos=qos, retain=True)
        s.expect_message('7.0.0-2/a', b'%d' % qos, qos=qos)
    answer(s, unsubscribe(2, '7.0.0-2/+') + wire.pingreq(), b'\xb0\x02\x00\x02\xd0\x00')
    p.subscribe('7.0.0-2/will', qos=1)
    s.drop()
    p.expect_message('7.0.0-2/will', b'w', qos=1)
    answer(p, wire.disconnect(V311))
    p.expect_end()


@test(each=rows({'byte by byte': 0, 'all at once': 0, 'cut anywhere': 0}))
def v311_mqtt_7_1_1_1(b, how):
    """TCP, a stream without borders: packets may come in any pieces."""
    topic = f'7.1.1-1/{how}'
    stream = connect(f'7.1.1-1-{how}') + subscribe(1, (topic, 0)) + b''.join(
        sensor(topic, b'%d' % i * 40) for i in range(30)) + wire.pingreq()
    size = {'byte by byte': 1, 'all at once': len(stream), 'cut anywhere': 37}[how]
    c = b.client(V311)
    for at in range(0, len(stream), size):
        c.send(stream[at:at + size])
    exactly(c, b'\x20\x02\x00\x00')
    c.wait_for(SUBACK)
    for i in range(30):
        c.expect_message(topic, b'%d' % i * 40)
    c.wait_for(wire.PINGRESP)


@test
def v311_mqtt_7_1_1_1_lossless(b):
    """All bytes come, in order, both ways."""
    s, p = subscriber(b, '7.1.1-1', qos=1), client(b)
    payload = bytes(i * i >> 3 & 0xFF for i in range(500_000))
    for _ in range(4):
        p.publish('7.1.1-1', payload, qos=1)
        equal(s.expect_message('7.1.1-1').payload == payload, True, 'the same bytes')
