# SPDX-License-Identifier: Apache-2.0
"""MQTT 3.1.1, sections 3.1.3, 3.1.4 and 3.2: client identifiers, the server's answer to CONNECT.
See v311.py."""
import string as letters

from harness import equal, test
from raw import CONNACK, PUBLISH, PUBREL, PUBREC, SUBACK, V311, Will, wire
from wire import packet, string

from v311 import (ILL_FORMED, answer, client, connect, connect_body, end_mark, exactly,
                  not_retained, resumed, rows, sensor, session_present, subscribe,
                  subscriber, turned_away)

SET = {'limits.connect_timeout_s': 2}
SECONDS = 4
ALLOWED = letters.digits + letters.ascii_lowercase + letters.ascii_uppercase


# ---- Payload

@test
def v311_mqtt_3_1_3_1(b):
    """Client identifier, will topic, will message, user name, password: in this order."""
    o = subscriber(b, '3.1.3-1/topic')
    c = b.client(V311)
    answer(c, connect_body(0xCE, string('3.1.3-1'), string('3.1.3-1/topic'), string('will'),
                           string('user'), string('pass')), b'\x20\x02\x00\x00')
    client(b, '3.1.3-1')  # is the id that stood first
    c.expect_end()
    o.expect_message('3.1.3-1/topic', b'will', qos=1)


@test
def v311_mqtt_3_1_3_2(b):
    """The client identifier tells sessions apart: two have two, and one has the same again."""
    one, two = client(b, '3.1.3-2a', clean=False), client(b, '3.1.3-2A', clean=False)
    one.subscribe('3.1.3-2/one', qos=1)
    two.subscribe('3.1.3-2/two', qos=1)
    one.ping()
    one.drop()
    two.drop()
    p = client(b)
    p.publish('3.1.3-2/one', b'1', qos=1)
    p.publish('3.1.3-2/two', b'2', qos=1)
    for client_id, topic in (('3.1.3-2a', '3.1.3-2/one'), ('3.1.3-2A', '3.1.3-2/two')):
        c = resumed(b, client_id)
        c.expect_message(topic)
        c.expect_nothing()
    equal(session_present(b, '3.1.3-2'), False)


@test(each=rows({'no payload': b'', 'half a length': b'\0', 'cut off': b'\0\5ab'}))
def v311_mqtt_3_1_3_3(b, what):
    """The client identifier is there."""
    turned_away(b, connect_body(0x02, {'no payload': b'', 'half a length': b'\0',
                                       'cut off': b'\0\5ab'}[what]))


@test(each=rows(ILL_FORMED))
def v311_mqtt_3_1_3_4(b, reason):
    """The client identifier is UTF-8."""
    turned_away(b, connect(ILL_FORMED[reason]))


@test(each=[(n,) for n in range(1, 24)])
def v311_mqtt_3_1_3_5(b, length):
    """1 to 23 bytes out of digits and letters are fine, whichever they are."""
    for at in range(0, len(ALLOWED), length):
        c = b.client(V311)
        answer(c, connect((ALLOWED * 2)[at:at + length]), b'\x20\x02\x00\x00')
        c.send(wire.disconnect(V311))


@test
def v311_mqtt_3_1_3_6(b):
    """With no client identifier each client has one of its own, as if it had given it."""
    clients = [b.client(V311) for _ in range(20)]
    for i, c in enumerate(clients):
        answer(c, connect(''), b'\x20\x02\x00\x00')
        c.subscribe(f'3.1.3-6/{i}')
    p = client(b)
    for i, c in enumerate(clients):
        p.publish(f'3.1.3-6/{i}', b'%d' % i)
        c.expect_message(f'3.1.3-6/{i}', b'%d' % i)
        c.expect_nothing()


@test
def v311_mqtt_3_1_3_7(b):
    """With no client identifier the session is a clean one: otherwise it is refused, and nothing
    behind is looked at."""
    c = b.client(V311)
    c.send(connect('', clean=False), sensor('3.1.3-7', b'x', 1))
    exactly(c, b'\x20\x02\x00\x02')
    c.expect_end()
    not_retained(b, '3.1.3-7')


@test
def v311_mqtt_3_1_3_8(b):
    """No client identifier, and no clean session: CONNACK with code 2, then the end."""
    c = b.client(V311)
    answer(c, connect('', clean=False), b'\x20\x02\x00\x02')
    c.expect_end()


@test
def v311_mqtt_3_1_3_9(b):
    """A client identifier that is refused: CONNACK with code 2, then the end; the will of one that
    was refused is not published."""
    o = subscriber(b, '3.1.3-9')
    c = b.client(V311)
    answer(c, connect('', clean=False, will=Will('3.1.3-9', b'w', qos=1), username='u',
                      password=b'p'), b'\x20\x02\x00\x02')
    c.expect_end()
    end_mark(b, o, '3.1.3-9')


@test(each=rows(ILL_FORMED))
def v311_mqtt_3_1_3_10(b, reason):
    """The will's topic is UTF-8."""
    turned_away(b, connect('3.1.3-10', will=Will(ILL_FORMED[reason], b'w')))


@test(each=rows(ILL_FORMED))
def v311_mqtt_3_1_3_11(b, reason):
    """The user name is UTF-8."""
    turned_away(b, connect('3.1.3-11', username=ILL_FORMED[reason], password=b'p'))


@test(each=rows({'text': 0, 'empty': 0, 'binary': 0, 'as a string': 0}))
def v311_u311_3_1_3_a(b, what):
    """The payload of the will is its bytes without the two of the length, whatever they are."""
    payload = {'text': b'gone', 'empty': b'', 'binary': bytes(range(256)),
               'as a string': b'\x00\x02ab'}[what]
    o = subscriber(b, 'u3.1.3-a')
    client(b, will=Will('u3.1.3-a', payload)).drop()
    exactly(o, packet(0x30, string('u3.1.3-a') + payload))


# ---- Response

WILL_FIELDS = (string('3.1.4-1/will'), string('w'))
BROKEN = {
    'empty': b'\x10\x00',
    'name only': packet(0x10, string('MQTT')),
    'no flags': packet(0x10, string('MQTT') + b'\x04'),
    'no keep alive': packet(0x10, string('MQTT') + b'\x04\x02'),
    'half a keep alive': packet(0x10, string('MQTT') + b'\x04\x02\x00'),
    'no payload': connect_body(0x02),
    'client id longer than the packet': connect_body(0x02, b'\xff\xff', b'x'),
    'a byte behind the end': connect_body(0x02, string('3.1.4-1'), b'\0'),
    'reserved flag': connect_body(0x03, string('3.1.4-1')),
    'flags of the fixed header': b'\x12' + connect('3.1.4-1')[1:],
    'will QoS 3': connect_body(0x1E, string('3.1.4-1'), *WILL_FIELDS),
    'will retain without a will': connect_body(0x22, string('3.1.4-1')),
    'a will without its flag': connect_body(0x02, string('3.1.4-1'), *WILL_FIELDS),
    'no will message': connect_body(0x06, string('3.1.4-1'), string('3.1.4-1/will')),
    'no password': connect_body(0xC2, string('3.1.4-1'), string('u')),
    'password without a user name': connect_body(0x42, string('3.1.4-1'), string('p')),
    'ill-formed client id': connect(b'\xff'),
    'ill-formed will topic': connect('3.1.4-1', will=Will(b'\xff', b'w')),
    'ill-formed user name': connect('3.1.4-1', username=b'\xff'),
    'U+0000 in the client id': connect(b'a\0b'),
    'wildcard in the will topic': connect('3.1.4-1', will=Will('3.1.4-1/+', b'w')),
    'empty will topic': connect('3.1.4-1', will=Will('', b'w')),
    'properties of 5.0': packet(0x10, connect('3.1.4-1')[2:12] + b'\x00' + string('3.1.4-1')),
}


@test(each=rows(BROKEN))
def v311_mqtt_3_1_4_1(b, name):
    """CONNECT is checked, and one that is not as section 3.1 has it ends the connection without
    CONNACK. It does not touch who has the client identifier."""
    o, holder = subscriber(b, '3.1.4-1/will'), client(b, '3.1.4-1')
    turned_away(b, BROKEN[name])
    holder.ping()
    end_mark(b, o, '3.1.4-1/will')


@test(each=rows({True: 0, False: 0}))
def v311_mqtt_3_1_4_2(b, clean):
    """The client identifier of one who is connected: that connection is closed, as a lost one."""
    name = f'3.1.4-2-{clean}'
    o = subscriber(b, name)
    old = client(b, name, clean=clean, will=Will(name, b'gone', qos=1))
    client(b, name, clean=clean)
    old.expect_end()
    o.expect_message(name, b'gone')
    end_mark(b, o, name)


@test(each=rows({'connected': 0, 'away': 0}))
def v311_mqtt_3_1_4_3(b, old_one):
    """The clean session flag is heeded, also when the client is still connected: 0 takes over the
    session and what waits in it, 1 discards it."""
    name, topic = f'3.1.4-3-{old_one}', f'3.1.4-3/{old_one}'
    first = client(b, name, clean=False)
    first.subscribe(topic, qos=1)
    client(b).publish(topic, b'unacknowledged', qos=1)
    first.expect(PUBLISH, topic=topic)
    if old_one == 'away':
        first.drop()
    second = resumed(b, name)
    second.expect(PUBLISH, payload=b'unacknowledged', dup=True)
    if old_one == 'away':
        second.drop()
    third = b.client(V311)
    equal(third.connect(name, clean_start=True).session_present, False)
    client(b).publish(topic, b'later', qos=1)
    third.expect_nothing()
    if old_one == 'connected':
        first.expect_end()
        second.expect_end()


@test(each=rows({True: 0, False: 0}))
def v311_mqtt_3_1_4_4(b, clean):
    """A fair CONNECT gets CONNACK with code 0."""
    answer(b.client(V311), connect(f'3.1.4-4-{clean}', clean=clean), b'\x20\x02\x00\x00')


@test(each=rows({'refused id': 0, 'level': 0}))
def v311_mqtt_3_1_4_5(b, why):
    """What a client sent behind a CONNECT that is rejected is not processed."""
    s = subscriber(b, '3.1.4-5')
    data, code = {'refused id': (connect('', clean=False), 2),
                  'level': (connect('3.1.4-5', level=9), 1)}[why]
    c = b.client(V311)
    c.send(data, sensor('3.1.4-5', b'x', 1), sensor('3.1.4-5', b'x', 3, 1))
    exactly(c, bytes([0x20, 2, 0, code]))
    c.expect_end()
    s.expect_nothing()
    not_retained(b, '3.1.4-5')


@test(each=rows({'nothing': b'', 'half a CONNECT': b'', 'byte after byte': b''}))
def v311_u311_3_1_4_a(b, said):
    """A connection on which no CONNECT comes in reasonable time should be closed."""
    c = b.client(V311)
    if said == 'half a CONNECT':
        c.send(connect('u3.1.4-a')[:-3])
    elif said == 'byte after byte':
        c.send(b'\x10')
        c.send(b'\xff')
        c.send(b'\x7f')
    c.expect_end()


@test(only='dunlin')
def v311_u311_3_1_4_b(b):
    """A CONNECT that other checks do not pass should be answered with a code other than 0, and the
    connection is closed: here, one client too many."""
    full = b.another({'limits.connections_max': 1})
    inside = client(full)
    c = full.client(V311)
    answer(c, connect('u3.1.4-b'), b'\x20\x02\x00\x03')
    c.expect_end()
    inside.ping()


@test
def v311_u311_3_1_4_c(b):
    """Clients may go on before CONNACK comes."""
    c = b.client(V311)
    c.send(connect('u3.1.4-c'), subscribe(1, ('u3.1.4-c', 1)), sensor('u3.1.4-c', b'x', 2, 2),
           wire.pingreq())
    exactly(c, b'\x20\x02\x00\x00')
    got = [c.recv() for _ in range(4)]
    equal(sorted(p.type for p in got),
          sorted((SUBACK, wire.PUBACK, PUBLISH, wire.PINGRESP)))
    equal([(p.topic, p.payload) for p in got if p.type == PUBLISH], [('u3.1.4-c', b'x')])


# ---- CONNACK

@test
def v311_mqtt_3_2_0_1(b):
    """CONNACK is the first packet that the server sends, also if messages wait for the client."""
    c = client(b, '3.2.0-1', clean=False)
    c.subscribe('3.2.0-1/#', qos=2)
    p = client(b)
    p.publish('3.2.0-1/sent', b'1', qos=1)
    p.publish('3.2.0-1/sent', b'2', qos=2)
    for _ in range(2):
        got = c.expect(PUBLISH, topic='3.2.0-1/sent')
    c.send(wire.ack(PUBREC, got.packet_id))
    c.expect(PUBREL)
    c.drop()
    p.publish('3.2.0-1/queued', b'3', qos=1)
    c = b.client(V311)
    answer(c, connect('3.2.0-1', clean=False), b'\x20\x02\x01\x00')
    c.expect(PUBLISH, payload=b'1')


@test
def v311_mqtt_3_2_2_1(b):
    """Clean session: session present is 0, also if there was a session."""
    c = client(b, '3.2.2-1', clean=False)
    c.subscribe('3.2.2-1')
    c.disconnect()
    answer(b.client(V311), connect('3.2.2-1', clean=True), b'\x20\x02\x00\x00')


@test(each=rows({'empty': 0, 'with a subscription': 0}, {'away': 0, 'connected': 0}))
def v311_mqtt_3_2_2_2(b, session, client_is):
    """No clean session, and a stored one: session present is 1."""
    name = f'3.2.2-2-{session}-{client_is}'
    c = client(b, name, clean=False)
    if session != 'empty':
        c.subscribe('3.2.2-2')
    if client_is == 'away':
        c.disconnect()
    answer(b.client(V311), connect(name, clean=False), b'\x20\x02\x01\x00')


@test(each=rows({'new': 0, 'after clean': 0}))
def v311_mqtt_3_2_2_3(b, what):
    """No clean session, and none stored: session present is 0 and the code as well."""
    if what == 'after clean':
        client(b, '3.2.2-3', clean=False).disconnect()
        client(b, '3.2.2-3', clean=True).disconnect()
    answer(b.client(V311), connect('3.2.2-3' if what != 'new' else '3.2.2-3-new', clean=False),
           b'\x20\x02\x00\x00')


@test
def v311_mqtt_3_2_2_4(b):
    """With another code than 0 session present is 0, though there is a session; which stays."""
    client(b, '3.2.2-4', clean=False).disconnect()
    answer(b.client(V311), connect('3.2.2-4', clean=False, level=9), b'\x20\x02\x00\x01')
    equal(session_present(b, '3.2.2-4'), True)


@test(only='dunlin')
def v311_mqtt_3_2_2_4_server_unavailable(b):
    """With another code than 0 session present is 0, though there is a session, and no matter why
    the client is refused."""
    full = b.another({'limits.connections_max': 1})
    client(full, '3.2.2-4', clean=False).disconnect()
    client(full)
    answer(full.client(V311), connect('3.2.2-4', clean=False), b'\x20\x02\x00\x03')


@test(each=rows({'level': 1, 'refused id': 2}))
def v311_mqtt_3_2_2_5(b, why):
    """After CONNACK with another code than 0 the server closes."""
    c = b.client(V311)
    c.send(connect('3.2.2-5', level=9) if why == 'level' else connect('', clean=False))
    equal(c.expect(CONNACK).reason, {'level': 1, 'refused id': 2}[why])
    c.expect_end()


@test
def v311_mqtt_3_2_2_6(b):
    """If no code fits, the server closes without CONNACK; none but 0 to 5 is ever sent."""
    for data in BROKEN.values():
        turned_away(b, data)
    for level in range(256):
        if level not in (4, 5):
            c = b.client(V311)
            c.send(connect('3.2.2-6', level=level))
            got = c.recv()
            equal(got is None or got.reason in range(1, 6), True, got)
            c.close()


@test
def v311_u311_3_2_2_a(b):
    """CONNACK has four bytes, and of its flags only the lowest is used."""
    for clean, present in ((False, 0), (False, 1), (True, 0)):
        c = b.client(V311)
        answer(c, connect('u3.2.2-a', clean=clean), bytes([0x20, 2, present, 0]), b'')
        c.expect_nothing()
        c.disconnect()
