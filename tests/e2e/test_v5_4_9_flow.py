# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 4.9, 4.12, 4.13: flow control, enhanced authentication (this server knows no method),
errors."""
from harness import equal, test
from norm5 import KEPT, collected, ended, refused, resumed, rows, subscriber
from raw import (CONNACK, DISCONNECT, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK,
                 UNSUBACK, V5, Will, publish_many, wire)
from wire import packet, string, u16

SECONDS = 1

# ---- 4.9 Flow control


@test(each=[(1,), (2,)])
def v5_mqtt_4_9_0_1(b, qos):
    """The quota begins above 0, and not above the Receive Maximum: for 1, it is 1."""
    s = subscriber(b, f'flow/one/{qos}', props={'receive_maximum': 1})
    p = b.connected()
    publish_many(p, f'flow/one/{qos}', [b'1', b'2', b'3'], qos)
    equal([m.payload for m in collected(s, p)], [b'1'])


@test
def v5_mqtt_4_9_0_2(b):
    """Each message at QoS 1 or 2 takes one of it, QoS 2 until PUBCOMP; at 0 none is sent."""
    s = subscriber(b, 'flow/two', props={'receive_maximum': 2})
    p = b.connected()
    publish_many(p, 'flow/two', [b'1', b'2', b'3', b'4'], 2)
    first, second = collected(s, p)
    equal((first.payload, second.payload), (b'1', b'2'))
    s.send(wire.ack(PUBREC, first.packet_id))
    s.expect(PUBREL, packet_id=first.packet_id)
    equal(collected(s, p), [])
    s.send(wire.ack(PUBCOMP, first.packet_id))
    equal([m.payload for m in collected(s, p)], [b'3'])
    s.send(wire.ack(PUBREC, second.packet_id, 0x80))
    equal([m.payload for m in collected(s, p)], [b'4'])


@test
def v5_mqtt_4_9_0_3(b):
    """At 0 all other packets are dealt with."""
    s = subscriber(b, 'flow/zero', props={'receive_maximum': 1})
    publish_many(b.connected(), 'flow/zero', [b'1', b'2'], 2)
    s.expect(PUBLISH, payload=b'1')
    s.send(wire.pingreq())
    s.expect(PINGRESP)
    s.send(wire.subscribe(V5, 1, [('flow/more', 0)]))
    s.expect(SUBACK)
    s.send(wire.unsubscribe(V5, 1, ['flow/more']))
    s.expect(UNSUBACK)
    s.send(wire.publish(V5, 'flow/else', b'', 1, 1))
    s.expect(PUBACK)
    s.send(wire.publish(V5, 'flow/else', b'', 2, 1), wire.ack(PUBREL, 1))
    s.expect(PUBREC)
    s.expect(PUBCOMP)


GIVING_BACK = {
    'PUBACK': (1, lambda s, m: s.send(wire.ack(PUBACK, m.packet_id))),
    'PUBACK 80': (1, lambda s, m: s.send(wire.ack(PUBACK, m.packet_id, 0x80))),
    'PUBREC 80': (2, lambda s, m: s.send(wire.ack(PUBREC, m.packet_id, 0x80))),
    'PUBCOMP': (2, lambda s, m: (s.send(wire.ack(PUBREC, m.packet_id)), s.expect(PUBREL),
                                 s.send(wire.ack(PUBCOMP, m.packet_id)))),
}


@test(each=rows(GIVING_BACK))
def v5_u5_4_9_0_a(b, name):
    """Acknowledgements give one back each, never more than there were at the beginning."""
    qos, acknowledge = GIVING_BACK[name]
    s = subscriber(b, f'flow/back/{name}', props={'receive_maximum': 2})
    p = b.connected()
    publish_many(p, f'flow/back/{name}', [b'%d' % i for i in range(8)], qos)
    got = collected(s, p)
    equal(len(got), 2)
    acknowledge(s, got[0])
    equal([m.payload for m in collected(s, p)], [b'2'])
    if qos == 1:
        s.send(*[wire.ack(PUBACK, got[0].packet_id)] * 3)
    else:
        s.send(*[wire.ack(PUBCOMP, got[0].packet_id)] * 3)
    equal(collected(s, p), [], 'repeated')
    acknowledge(s, got[1])
    equal([m.payload for m in collected(s, p)], [b'3'])


@test
def v5_u5_4_9_0_a_connection(b):
    """… and begin anew with each connection."""
    s = subscriber(b, 'flow/anew', client_id='flow-anew', props={'receive_maximum': 5, **KEPT})
    p = b.connected()
    publish_many(p, 'flow/anew', [b'%d' % i for i in range(9)], 1)
    equal(len(collected(s, p)), 5)
    for maximum in (2, 7):
        s.drop()
        s = resumed(b, 'flow-anew', props={'receive_maximum': maximum, **KEPT})
        equal([m.payload for m in collected(s, p)], [b'%d' % i for i in range(maximum)])


# ---- 4.12 Enhanced authentication

@test(each=[('no-such',), ('',), ('SCRAM-SHA-1',), ('x' * 1000,)])
def v5_mqtt_4_12_0_1(b, method):
    """A method that the server does not know: at most CONNACK 8C or 87, and closed."""
    for props in ({'authentication_method': method},
                  {'authentication_method': method, 'authentication_data': b'\0'}):
        refused(b, wire.connect(V5, 'auth', props=props), 0x8C, 0x87)


@test
def v5_mqtt_4_12_0_6(b):
    """Without a method in CONNECT there is none in CONNACK, and no AUTH comes."""
    c = b.client()
    p = c.connect('', username='u', password=b'p')
    equal((p.prop('authentication_method'), p.prop('authentication_data')), (None, None))
    c.subscribe('auth/none', qos=2)
    c.publish('auth/none', b'', 2)
    c.expect_message('auth/none')
    c.expect_nothing()


@test(each=[(0x18,), (0x19,), (0x00,)])
def v5_mqtt_4_12_0_7(b, code):
    """… and the client sends no AUTH: a protocol error."""
    s = subscriber(b, f'auth/will/{code}')
    c = b.connected(will=Will(f'auth/will/{code}', b'gone'))
    c.send(wire.auth(code, {'authentication_method': 'x'}))
    ended(c, 0x82, *((0x81,) if code == 0 else ()))
    s.expect_message(payload=b'gone')


# ---- 4.13 Errors

ERRORS = {
    'type 0': (b'\0\0', 0x81),
    'reserved flags': (b'\x41\x02\0\1', 0x81),
    'PUBLISH QoS 3': (packet(0x36, string('t') + u16(1) + b'\0'), 0x81),
    'bad UTF-8': (wire.publish(V5, b'\xff'), 0x81),
    'unknown property': (wire.publish(V5, 't', props=[(0x7F, b'\0')]), 0x81),
    'cut off': (packet(0x82, u16(1) + b'\0' + u16(9) + b'x'), 0x81),
    'a long length': (b'\xc0\x80\x80\x80\x80\x00', 0x81),
    'second CONNECT': (wire.connect(V5, 'x'), 0x82),
    'no topic': (wire.publish(V5, '', b''), 0x82),
    'a property twice': (wire.publish(V5, 't', props=[('content_type', 'x')] * 2), 0x82),
    'No Local, shared': (wire.subscribe(V5, 1, [('$share/g/t', 4)]), 0x82),
    'AUTH': (wire.auth(0x19, {'authentication_method': 'x'}), 0x82),
    'alias 0': (wire.publish(V5, 't', b'', props={'topic_alias': 0}), 0x94),
    'too large': (packet(0x30, b'', remaining_length=200 << 20), 0x95),
}
CONNECT_ERRORS = {
    'reserved flag': (wire.connect(V5, 'e', flags=3), 0x81),
    'cut off': (packet(0x10, wire.connect(V5, 'e')[2:-1]), 0x81),
    'bad UTF-8': (wire.connect(V5, b'\xff'), 0x81),
    'a property twice': (wire.connect(V5, 'e', props=[('receive_maximum', 1)] * 2), 0x82),
    'receive maximum 0': (wire.connect(V5, 'e', props={'receive_maximum': 0}), 0x82),
    'data without a method': (wire.connect(V5, 'e', props={'authentication_data': b''}), 0x82),
    'another level': (wire.connect(V5, 'e', level=6), 0x84),
    'a method': (wire.connect(V5, 'e', props={'authentication_method': 'x'}), 0x8C),
}


@test(each=rows(ERRORS))
def v5_mqtt_4_13_1_1(b, name):
    """An error closes that connection, and no other."""
    onlooker = subscriber(b, 'errors/look')
    c = b.connected()
    c.send(ERRORS[name][0])
    while (p := c.recv()) is not None:
        equal(p.type, DISCONNECT, p)
    onlooker.publish('errors/look', b'x', 1)
    onlooker.expect_message('errors/look')


@test(each=rows(CONNECT_ERRORS))
def v5_mqtt_4_13_1_1_connect(b, name):
    """… in CONNECT too."""
    onlooker = b.connected()
    data, code = CONNECT_ERRORS[name]
    refused(b, data, code, 0x85, *((0x01,) if code == 0x84 else ()))
    onlooker.ping()


@test(each=rows(ERRORS))
def v5_u5_4_13_1_a(b, name):
    """It says why before it closes: DISCONNECT with the code …"""
    data, code = ERRORS[name]
    c = b.connected()
    c.send(data)
    c.expect(DISCONNECT, reason=code)
    c.expect_end()


@test(each=rows(CONNECT_ERRORS))
def v5_u5_4_13_1_a_connect(b, name):
    """… or CONNACK with it (84 in a form that the client may not know)."""
    data, code = CONNECT_ERRORS[name]
    c = b.client()
    c.send(data)
    equal(c.expect(CONNACK).reason in (code, 0x85 if name == 'bad UTF-8' else code,
                                       0x01 if code == 0x84 else code), True)
    c.expect_end()


@test(each=rows({**ERRORS, **{f'CONNECT: {k}': v for k, v in CONNECT_ERRORS.items()}}))
def v5_mqtt_4_13_2_1(b, name):
    """With a code from 80 up in DISCONNECT or CONNACK the connection is closed, and if they are not
    sent, too."""
    c = b.client()
    if name.startswith('CONNECT: '):
        c.send(CONNECT_ERRORS[name[9:]][0])
    else:
        c.connect('')
        c.send(ERRORS[name][0])
    p = c.recv()
    equal(p is None or p.reason >= 0x80 or p.reason == 1, True, p)
    if p is not None:
        c.expect_end(3)


@test
def v5_u5_4_13_2_a(b):
    """Codes from 80 up in acknowledgements are about that packet: all else goes on."""
    c = subscriber(b, 'errors/on', qos=1)
    c.send(wire.publish(V5, 'errors/open', b'', 2, 9))
    c.expect(PUBREC, packet_id=9)
    c.send(wire.publish(V5, '$SYS/no', b'', 1, 1), wire.publish(V5, '$SYS/no', b'', 2, 2),
           wire.subscribe(V5, 3, [('a#', 0)]), wire.unsubscribe(V5, 4, ['none']))
    for kind, packet_id in ((PUBACK, 1), (PUBREC, 2), (SUBACK, 3), (UNSUBACK, 4)):
        p = c.expect(kind, packet_id=packet_id)
        equal(kind == UNSUBACK or (p.reason or p.reasons[0]) >= 0x80, True, p)
    c.send(wire.ack(PUBREL, 9))
    c.expect(PUBCOMP, packet_id=9, reason=0)
    c.publish('errors/on', b'x', 1)
    c.expect_message('errors/on', b'x')
