# SPDX-License-Identifier: Apache-2.0
"""MQTT 3.1.1, sections 3.8 to 3.14: SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT. See v311.py."""
from harness import equal, test
from raw import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, V311, Will, wire
from wire import packet, string, u16

from v311 import (ILL_FORMED, answer, client, closes, end_mark, not_retained, resumed,
                  rows, sensor, subscribe, subscriber, unsubscribe)

SECONDS = 1


# ---- SUBSCRIBE

@test(each=[(flags,) for flags in range(16) if flags != 2])
def v311_mqtt_3_8_1_1(b, flags):
    """SUBSCRIBE has the flags 0010; with others it is malformed: the server closes, and nothing is
    subscribed."""
    name, topic = f'3.8.1-1-{flags}', f'3.8.1-1/{flags}'
    c = client(b, name, clean=False)
    c.send(packet(0x80 | flags, u16(1) + string(topic) + b'\1'))
    c.expect_end()
    client(b).publish(topic, b'x', qos=1)
    resumed(b, name).expect_nothing()


@test(each=rows(ILL_FORMED))
def v311_mqtt_3_8_3_1(b, reason):
    """Filters are UTF-8."""
    closes(b, subscribe(1, (ILL_FORMED[reason], 0)))
    closes(b, subscribe(1, ('t', 0), (ILL_FORMED[reason], 0), ('u', 0)))


@test(each=rows({'no filter': b'', 'no QoS': 0, 'cut off': 0, 'no QoS of the second': 0,
                 'half a length': 0}))
def v311_mqtt_3_8_3_3(b, what):
    """SUBSCRIBE has one filter at least, each with its QoS; otherwise the server closes."""
    closes(b, packet(0x82, u16(1) + {
        'no filter': b'', 'no QoS': string('t'), 'cut off': b'\0\7tt', 'half a length': b'\0',
        'no QoS of the second': string('t') + b'\0' + string('u')}[what]))


@test(each=[(byte,) for byte in (0x03, 0x04, 0x05, 0x08, 0x10, 0x20, 0x40, 0x80, 0x82, 0xFF)],
      mosquitto='has done the filters before it')
def v311_mqtt_3_8_3_4(b, byte):
    """QoS 3, or any of the six other bits: the server closes, and nothing of the SUBSCRIBE is
    done."""
    name, topic = f'3.8.3-4-{byte}', f'3.8.3-4/{byte}'
    c = client(b, name, clean=False)
    c.send(subscribe(1, (f'{topic}/fair', 1), (topic, byte)))
    c.expect_end()
    p = client(b)
    p.publish(topic, b'x', qos=1)
    p.publish(f'{topic}/fair', b'x', qos=1)
    resumed(b, name).expect_nothing()


@test(each=rows({'new': 0, 'again': 0, 'twice at once': 0}))
def v311_mqtt_3_8_4_1(b, what):
    """Each SUBSCRIBE is answered with a SUBACK, and with one only."""
    c, number = client(b), 0x1234
    if what == 'again':
        c.subscribe('3.8.4-1', qos=1)
    request = subscribe(number, ('3.8.4-1', 1))
    one = b'\x90\x03\x12\x34\x01'
    if what == 'twice at once':
        answer(c, request + request + wire.pingreq(), one, one, b'\xd0\x00')
    else:
        answer(c, request + wire.pingreq(), one, b'\xd0\x00')


@test(each=[(1,), (255,), (256,), (32768,), (65535,)])
def v311_mqtt_3_8_4_2(b, number):
    """SUBACK has the identifier of its SUBSCRIBE."""
    answer(client(b), subscribe(number, ('3.8.4-2', 0)), b'\x90\x03' + u16(number) + b'\0')


@test(each=[(before, after) for before in range(3) for after in range(3)])
def v311_mqtt_3_8_4_3(b, before, after):
    """A filter that is there already is replaced: with the new QoS, with its retained messages
    again, and one copy of each message that follows."""
    topic = f'3.8.4-3/{before}/{after}'
    s, p = client(b), client(b)
    p.publish(f'{topic}/kept', b'kept', qos=1, retain=True)
    s.subscribe(f'{topic}/+', qos=before)
    s.expect_message(f'{topic}/kept', b'kept', retain=True, qos=min(1, before))
    s.subscribe(f'{topic}/+', qos=after)
    s.expect_message(f'{topic}/kept', b'kept', retain=True, qos=min(1, after))
    p.publish(f'{topic}/live', b'live', qos=2)
    s.expect_message(f'{topic}/live', b'live', retain=False, qos=after)
    s.expect_nothing()


@test(each=[(1, 2), (2, 1), (1, 1), (2, 2)])
def v311_mqtt_3_8_4_3_flow(b, before, after):
    """While a filter is replaced no message of it is lost, and none comes twice."""
    topic = f'3.8.4-3/flow/{before}/{after}'
    s, p = client(b), client(b)
    s.subscribe(topic, qos=before)
    for i in range(0, 200, 10):
        p.send(*(sensor(topic, b'%d' % (i + j), 2, i + j + 1) for j in range(10)))
        s.send(subscribe(1000 + i, (topic, after if i % 20 else before)))
    got = []
    while len(got) < 200:
        m = s.recv()
        if m.type == PUBLISH:
            got.append(int(m.payload))
            s.send(wire.ack(PUBACK, m.packet_id))
        else:
            equal(m.type, SUBACK)
    equal(sorted(got), list(range(200)))


@test
def v311_mqtt_3_8_4_4(b):
    """Several filters in one SUBSCRIBE do what several SUBSCRIBEs with one do, but with one answer.
    """
    p = client(b)
    p.publish('3.8.4-4/a', b'kept', qos=1, retain=True)
    c = client(b)
    c.send(subscribe(7, ('3.8.4-4/a', 1), ('3.8.4-4/b', 0), ('3.8.4-4/c/#', 2), ('3.8.4-4/a', 0)),
           wire.pingreq())
    equal(c.wait_for(SUBACK).reasons, (1, 0, 2, 0))
    c.wait_for(wire.PINGRESP)
    got = []
    for topic in ('a', 'b', 'c', 'c/d'):
        p.publish(f'3.8.4-4/{topic}', b'live', qos=2)
    while len(got) < 4:
        m = c.expect_message()
        if not m.retain:
            got.append((m.topic, m.qos))
    equal(sorted(got), [('3.8.4-4/a', 0), ('3.8.4-4/b', 0), ('3.8.4-4/c', 2), ('3.8.4-4/c/d', 2)])


@test(each=rows({0: 0, 1: 0, 2: 0}))
def v311_mqtt_3_8_4_5(b, qos):
    """SUBACK has a code for each filter, the QoS that is granted; which is kept to."""
    c, p = client(b), client(b)
    c.send(subscribe(1, (f'3.8.4-5/{qos}/a', qos), (f'3.8.4-5/{qos}/b', qos)))
    granted = c.expect(SUBACK).reasons
    equal(len(granted), 2)
    for topic, code in zip('ab', granted):
        p.publish(f'3.8.4-5/{qos}/{topic}', b'x', qos=2)
        equal(code <= qos, True, f'granted {code}')
        c.expect_message(f'3.8.4-5/{qos}/{topic}', qos=code)


@test(only='dunlin')
def v311_mqtt_3_8_4_5_failure(b):
    """A filter that is refused has the code 0x80, in its place, and the others are subscribed."""
    other = b.another({'limits.subscriptions_per_session_max': 2})
    c, p = client(other), client(other)
    answer(c, subscribe(1, ('a', 2), ('b', 1), ('c', 0), ('a', 1)),
           packet(0x90, u16(1) + b'\x02\x01\x80\x01'))
    for topic in 'cab':
        p.publish(topic, b'x', qos=2)
    c.expect_message('a', qos=1)
    c.expect_message('b', qos=1)
    c.expect_nothing()


@test(each=[(published, granted) for published in range(3) for granted in range(3)])
def v311_mqtt_3_8_4_6(b, published, granted):
    """A message comes at the lower one of its QoS and that of the subscription."""
    topic = f'3.8.4-6/{published}/{granted}'
    s, p = subscriber(b, topic, qos=granted), client(b)
    p.publish(topic, b'x', qos=published)
    s.expect_message(topic, b'x', qos=min(published, granted))


@test
def v311_u311_3_8_4_a(b):
    """Retained messages that match all come, whether before SUBACK or behind it, and so do those
    that are published right behind the SUBSCRIBE."""
    p, topics = client(b), [f'u3.8.4-a/{i}' for i in range(200)]
    for topic in topics:
        p.publish(topic, b'kept', retain=True)
    p.ping()
    c = client(b)
    c.send(subscribe(1, ('u3.8.4-a/+', 1)), sensor('u3.8.4-a/own', b'own', 2, 2))
    got, answers = [], []
    while len(got) < 201 or len(answers) < 2:
        m = c.recv()
        if m.type == PUBLISH:
            got.append((m.topic, m.payload, m.retain))
        else:
            answers.append(m.type)
    equal(sorted(answers), [PUBACK, SUBACK])
    equal(sorted(got), sorted([('u3.8.4-a/own', b'own', False)]
                              + [(topic, b'kept', True) for topic in topics]))


# ---- SUBACK

@test
def v311_mqtt_3_9_3_1(b):
    """The codes of SUBACK are in the order of the filters."""
    order = (2, 0, 1, 1, 0, 2, 2, 1, 0)
    answer(client(b), subscribe(5, *((f'3.9.3-1/{i}', qos) for i, qos in enumerate(order))),
           packet(0x90, u16(5) + bytes(order)))


@test(only='dunlin')
def v311_mqtt_3_9_3_1_failure(b):
    """Those of refused ones, too."""
    other = b.another({'limits.subscriptions_per_session_max': 3})
    c = client(other)
    answer(c, subscribe(5, ('a', 2), ('b', 0), ('a', 0), ('c', 1), ('d', 1), ('b', 2), ('e', 0)),
           packet(0x90, u16(5) + b'\x02\x00\x00\x01\x80\x02\x80'))


REFUSED_FILTERS = ('a#', '#a', 'a/#/b', 'a+', 'a/b+', '+a', '##', '++', '', '$share/g', '$share//t',
                   '$share/+/t', 'a/' * 400, 'x' * 65535)


@test(each=[(i,) for i in range(len(REFUSED_FILTERS))])
def v311_mqtt_3_9_3_2(b, i):
    """SUBACK has no other codes than 0, 1, 2 and 0x80, whatever the filter is like."""
    for qos in range(3):
        c = client(b)
        c.send(subscribe(1, (REFUSED_FILTERS[i], qos)))
        p = c.recv()
        if p is not None:
            equal((p.type, len(p.reasons), p.reasons[0] in (qos, 0x80)), (SUBACK, 1, True), p)


# ---- UNSUBSCRIBE

@test(each=[(flags,) for flags in range(16) if flags != 2])
def v311_mqtt_3_10_1_1(b, flags):
    """UNSUBSCRIBE has the flags 0010; with others it is malformed: the server closes, and the
    subscription stays."""
    name, topic = f'3.10.1-1-{flags}', f'3.10.1-1/{flags}'
    c = client(b, name, clean=False)
    c.subscribe(topic, qos=1)
    c.send(packet(0xA0 | flags, u16(2) + string(topic)))
    c.expect_end()
    client(b).publish(topic, b'x', qos=1)
    resumed(b, name).expect_message(topic, b'x')


@test(each=rows(ILL_FORMED))
def v311_mqtt_3_10_3_1(b, reason):
    """Filters are UTF-8, one right behind the other."""
    closes(b, unsubscribe(1, ILL_FORMED[reason]))
    closes(b, unsubscribe(1, 't', ILL_FORMED[reason]))


@test(each=rows({'cut off': 0, 'a byte too many': 0, 'with a QoS': 0}))
def v311_mqtt_3_10_3_1_packed(b, what):
    """Filters fill the packet to its end."""
    closes(b, packet(0xA2, u16(1) + {'cut off': b'\0\7tt', 'a byte too many': string('t') + b'\0',
                                     'with a QoS': string('t') + b'\1'}[what]))


@test
def v311_mqtt_3_10_3_2(b):
    """UNSUBSCRIBE has one filter at least; otherwise the server closes."""
    closes(b, packet(0xA2, u16(1)))


@test(each=rows({'a/+': 0, 'a/b': 0, 'a/#': 0}))
def v311_mqtt_3_10_4_1(b, gone):
    """The filter that is the same character by character is removed, and no other one."""
    filters = ('a/+', 'a/b', 'a/#')
    root = f'3.10.4-1/{filters.index(gone)}/'
    s, p = client(b), client(b)
    for topic_filter in filters:
        s.subscribe(root + topic_filter, qos=1)
    s.unsubscribe(root + gone)
    s.unsubscribe(root + 'A/+', root + 'a', root + '#', root + 'a/', root + '+/b', '#')
    # Each filter alone tells whether it is left: the others are taken away.
    for kept in filters:
        if kept != gone:
            s.unsubscribe(*(root + other for other in filters if other != kept))
            p.publish(root + 'a/b', kept.encode(), qos=1)
            s.expect_message(root + 'a/b', kept.encode())
            for other in filters:
                if other not in (kept, gone):
                    s.subscribe(root + other, qos=1)
    s.unsubscribe(*(root + other for other in filters if other != gone))
    p.publish(root + 'a/b', b'nobody', qos=1)
    s.expect_nothing()


@test(each=[(0,), (1,), (2,)])
def v311_mqtt_3_10_4_2(b, qos):
    """After UNSUBACK no new message is delivered, also if what was there before is not acknowledged
    yet."""
    topic = f'3.10.4-2/{qos}'
    s, p = subscriber(b, topic, qos=qos), client(b)
    p.publish(topic, b'before', qos=qos)
    before = s.expect_message(topic, b'before', ack=False)
    s.unsubscribe(topic)
    p.publish(topic, b'behind', qos=qos)
    s.acknowledge(before)
    s.expect_nothing()


@test(each=rows({'same connection': 0, 'another connection': 0}))
def v311_mqtt_3_10_4_3(b, where):
    """QoS 1 and 2 messages that were begun are finished though the subscription has gone."""
    name, topic = f'3.10.4-3-{where}', f'3.10.4-3/{where}'
    s, p = client(b, name, clean=False), client(b)
    s.subscribe(topic, qos=2)
    p.publish(topic, b'released', qos=2)
    p.publish(topic, b'2', qos=2)
    p.publish(topic, b'1', qos=1)
    released = s.expect(PUBLISH, payload=b'released').packet_id
    two = s.expect(PUBLISH, payload=b'2').packet_id
    one = s.expect(PUBLISH, payload=b'1').packet_id
    answer(s, wire.ack(PUBREC, released), wire.ack(PUBREL, released))
    s.unsubscribe(topic)
    if where != 'same connection':
        s.drop()
        s = resumed(b, name)
        got = [s.recv() for _ in range(3)]
        equal([(m.type, m.packet_id) for m in got],
              [(PUBREL, released), (PUBLISH, two), (PUBLISH, one)])
    s.send(wire.ack(PUBCOMP, released), wire.ack(PUBACK, one))
    answer(s, wire.ack(PUBREC, two), wire.ack(PUBREL, two))
    s.send(wire.ack(PUBCOMP, two))
    s.ping()
    s.drop()
    resumed(b, name).expect_nothing()


@test(each=[(1,), (256,), (65535,)])
def v311_mqtt_3_10_4_4(b, number):
    """UNSUBACK has the identifier of its UNSUBSCRIBE, and nothing else."""
    s = subscriber(b, '3.10.4-4')
    answer(s, unsubscribe(number, '3.10.4-4') + wire.pingreq(),
           b'\xb0\x02' + u16(number) + b'\xd0\x00')


@test
def v311_mqtt_3_10_4_5(b):
    """UNSUBACK comes also if no filter was removed."""
    answer(client(b), unsubscribe(9, '3.10.4-5'), b'\xb0\x02\x00\x09')
    answer(client(b), unsubscribe(9, '3.10.4-5/a', '3.10.4-5/#'), b'\xb0\x02\x00\x09')


@test
def v311_mqtt_3_10_4_6(b):
    """Several filters in one UNSUBSCRIBE do what several UNSUBSCRIBEs with one do, but with one
    answer."""
    filters = ['3.10.4-6/a', '3.10.4-6/+/b', '3.10.4-6/c/#']
    s, p = subscriber(b, *filters, '3.10.4-6/d'), client(b)
    answer(s, unsubscribe(9, filters[0], 'unknown', *filters[1:], filters[0]) + wire.pingreq(),
           b'\xb0\x02\x00\x09\xd0\x00')
    for topic in ('a', 'x/b', 'c', 'c/x', 'd'):
        p.publish(f'3.10.4-6/{topic}', b'x', qos=1)
    s.expect_message('3.10.4-6/d')
    s.expect_nothing()


# ---- PINGREQ, DISCONNECT

@test
def v311_mqtt_3_12_4_1(b):
    """PINGREQ is answered with PINGRESP, each of them."""
    c = client(b)
    answer(c, b'\xc0\x00', b'\xd0\x00')
    answer(c, b'\xc0\x00' * 3 + sensor('3.12.4-1', b'', 2, 1), b'\xd0\x00' * 3, b'\x40\x02\x00\x01')


@test(each=[(flags,) for flags in range(1, 16)])
def v311_mqtt_3_14_1_1(b, flags):
    """DISCONNECT with any of the reserved flags is none: the server closes, and publishes the
    will."""
    topic = f'3.14.1-1/{flags}'
    o = subscriber(b, topic)
    closes(b, bytes([0xE0 | flags, 0]), will=Will(topic, b'gone', qos=1))
    o.expect_message(topic, b'gone')


@test
def v311_mqtt_3_14_4_2(b):
    """What a client sends behind DISCONNECT has no effect, and is not answered."""
    s = subscriber(b, '3.14.4-2')
    c = client(b, '3.14.4-2', clean=False)
    c.send(wire.disconnect(V311), sensor('3.14.4-2', b'x', 3, 1), wire.pingreq(),
           subscribe(2, ('3.14.4-2', 1)), b'\x00\x00')
    c.expect_end()
    end_mark(b, s, '3.14.4-2')
    not_retained(b, '3.14.4-2')
    resumed(b, '3.14.4-2').expect_nothing()


@test(each=rows({'close': 0, 'linger': 0, 'malformed behind': 0}))
def v311_mqtt_3_14_4_3(b, then):
    """DISCONNECT discards the will, whatever the connection comes to afterwards."""
    topic = f'3.14.4-3/{then}'
    o = subscriber(b, topic)
    c = client(b, will=Will(topic, b'gone', qos=1, retain=True))
    c.send(wire.disconnect(V311), b'\x00\x00' if then == 'malformed behind' else b'')
    if then == 'close':
        c.close()
    else:
        c.expect_end()
    end_mark(b, o, topic)
    not_retained(b, topic)


@test
def v311_u311_3_14_4_a(b):
    """After DISCONNECT the server should close, if the client does not."""
    c = client(b)
    c.send(b'\xe0\x00')
    c.expect_end()
