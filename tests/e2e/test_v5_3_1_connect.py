# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 3.1: CONNECT, but for the will (test_v5_3_1_will.py)."""
import time

from harness import equal, pass_time, test
from norm5 import (FOREVER, KEPT, ended, gone, quiet, refused, resumed, retained_on, rows, sample,
                   subscriber)
from raw import (CONNACK, DISCONNECT, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK,
                 UNSUBACK, V311, V5, Unexpected, Will, publish_many, wire)
from wire import packet, properties, string, u16

SECONDS = 12


def connect_with(**how):
    return wire.connect(V5, **{'client_id': 'c31', **how})


# ---- 3.1.0 First, and once

NOT_CONNECT = {
    'PINGREQ': wire.pingreq(), 'DISCONNECT': wire.disconnect(V5),
    'PUBLISH': wire.publish(V5, 'first/p', b'x', retain=True),
    'PUBLISH QoS 1': wire.publish(V5, 'first/p', b'x', 1, 1, retain=True),
    'SUBSCRIBE': wire.subscribe(V5, 1, [('first/p', 0)]),
    'UNSUBSCRIBE': wire.unsubscribe(V5, 1, ['t']), 'PUBREL': wire.ack(PUBREL, 1),
    'AUTH': wire.auth(0x18, {'authentication_method': 'x'}),
}


@test(each=rows(NOT_CONNECT))
def v5_mqtt_3_1_0_1(b, kind):
    """A connection begins with CONNECT: anything else is answered by nothing and has no effect."""
    refused(b, NOT_CONNECT[kind])
    equal(retained_on(b, 'first/p'), [])


@test(each=[('same',), ('other',)])
def v5_mqtt_3_1_0_2(b, client_id):
    """A second CONNECT is a protocol error; the will is published, no second CONNACK comes."""
    s = subscriber(b, f'second/{client_id}')
    c = b.connected('second-same', will=Will(f'second/{client_id}', b'gone'))
    c.send(wire.connect(V5, f'second-{client_id}'))
    ended(c, 0x82)
    s.expect_message(f'second/{client_id}', b'gone')


# ---- 3.1.2 Protocol name, version, flags

@test(each=[('MQTX',), ('mqtt',), ('',), ('MQTTT',), ('MQIsdp',), ('MQT',)])
def v5_mqtt_3_1_2_1(b, name):
    """The protocol name is MQTT; with another the server closes, at most after CONNACK 84."""
    refused(b, connect_with(name=name), 0x84, 0x81)


@test(each=[(0,), (1,), (2,), (6,), (7,), (127,), (255,)])
def v5_mqtt_3_1_2_2(b, level):
    """A version that it does not know is refused with 84 (or 1, in the old form), and closed."""
    c = b.client()
    c.send(connect_with(level=level))
    p = c.recv()
    if p is not None:
        equal((p.type, p.reason in (0x84, 1), p.session_present), (CONNACK, True, False), p)
        c.expect_end()


@test
def v5_mqtt_3_1_2_3(b):
    """The reserved flag of CONNECT is 0, else it is malformed."""
    for flags in (0x01, 0x03):
        refused(b, connect_with(flags=flags), 0x81)


def with_everything(b, client_id):
    """A session with a subscription, a queued message, and an open QoS 2 exchange; offline."""
    c = subscriber(b, f'{client_id}/in', client_id=client_id, props=KEPT)
    c.send(wire.publish(V5, f'{client_id}/out', b'x', 2, 77))
    c.expect(PUBREC, packet_id=77)
    c.drop()
    b.connected().publish(f'{client_id}/in', b'queued', 1)


@test
def v5_mqtt_3_1_2_4(b):
    """Clean Start drops the session: its subscriptions, its messages, its open exchanges."""
    with_everything(b, 'clean')
    c = b.client()
    equal(c.connect('clean', clean_start=True, props=KEPT).session_present, False)
    p = b.connected()
    p.publish('clean/in', b'new', 1)
    c.expect_nothing()
    s = subscriber(b, 'clean/out')
    c.send(wire.publish(V5, 'clean/out', b'new', 2, 77, dup=True))
    c.expect(PUBREC, packet_id=77)
    s.expect_message('clean/out', b'new')
    c.expect_nothing()


@test
def v5_mqtt_3_1_2_5(b):
    """Without Clean Start the session goes on, with all that it holds."""
    s = subscriber(b, 'goes-on/out')
    with_everything(b, 'goes-on')
    s.expect_message('goes-on/out', b'x')
    c = resumed(b, 'goes-on')
    c.expect_message('goes-on/in', b'queued', qos=1)
    c.send(wire.publish(V5, 'goes-on/out', b'x', 2, 77, dup=True))
    c.expect(PUBREC, packet_id=77)
    quiet(s, c, 'goes-on/out')
    b.connected().publish('goes-on/in', b'live', 1)
    c.expect_message('goes-on/in', b'live')


@test
def v5_mqtt_3_1_2_6(b):
    """Without Clean Start and without a session, one is made."""
    c = b.client()
    equal(c.connect('made', clean_start=False, props=KEPT).session_present, False)
    c.drop()
    resumed(b, 'made')


FLAGS = {
    # what: (CONNECT, codes)
    'will flag, payload ends after the client id':
        (lambda: connect_with(flags=0x06), (0x81,)),
    'will flag, payload ends after the properties':
        (lambda: cut(string('t') + u16(1) + b'p', flags=0x06), (0x81,)),
    'will flag, payload ends after the topic':
        (lambda: cut(u16(1) + b'p', flags=0x06), (0x81,)),
    'will flag, payload ends in the will':
        (lambda: cut(b'p', flags=0x06), (0x81,)),
}


def cut(end, **how):
    """CONNECT with a will, without its last bytes, and a remaining length that fits."""
    whole = connect_with(will=Will('t', b'p'), **how)
    assert whole.endswith(end)
    return packet(0x10, whole[2:-len(end)])


@test(each=rows(FLAGS))
def v5_mqtt_3_1_2_9(b, name):
    """With the Will Flag the will's properties, topic and payload are there."""
    make, codes = FLAGS[name]
    refused(b, make(), *codes)


@test(each=[(1,), (2,), (3,)])
def v5_mqtt_3_1_2_11(b, qos):
    """Without a will its QoS is 0."""
    refused(b, connect_with(flags=0x02 | qos << 3), 0x81, 0x82)


@test
def v5_mqtt_3_1_2_13(b):
    """Without a will its RETAIN is 0."""
    refused(b, connect_with(flags=0x22), 0x81, 0x82)


def surplus(data):
    return packet(0x10, connect_with()[2:] + data)


@test
def v5_mqtt_3_1_2_16(b):
    """Without the User Name Flag there is no user name."""
    refused(b, surplus(string('name')), 0x81)


@test
def v5_mqtt_3_1_2_17(b):
    """With the User Name Flag there is one."""
    refused(b, connect_with(flags=0x82), 0x81)
    refused(b, packet(0x10, connect_with(username='name')[2:-1]), 0x81)


@test
def v5_mqtt_3_1_2_18(b):
    """Without the Password Flag there is no password."""
    refused(b, packet(0x10, connect_with(username='name')[2:] + u16(2) + b'pw'), 0x81)


@test
def v5_mqtt_3_1_2_19(b):
    """With the Password Flag there is one; it may come without a user name."""
    refused(b, connect_with(flags=0x42), 0x81)
    refused(b, connect_with(username='name', flags=0xC2), 0x81)
    refused(b, packet(0x10, connect_with(password=b'pw')[2:-1]), 0x81)
    c = b.client()
    c.send(connect_with(client_id='password-alone', password=b'\0\xff'))
    equal(c.expect(CONNACK).reason in (0, 0x86, 0x87), True)


# ---- 3.1.2.10 Keep Alive

def silent_for(c, since):
    ended(c, 0x8D)
    return time.monotonic() - since


@test
def v5_mqtt_3_1_2_21(b):
    """The Server Keep Alive of CONNACK counts, not the client's own."""
    other = b.another({'limits.keep_alive_max_s': 1})
    c = other.client()
    begin = time.monotonic()
    equal(c.connect('', keep_alive=100).prop('server_keep_alive'), 1)
    zero = other.client()
    equal(zero.connect('', keep_alive=0).prop('server_keep_alive'), 1)
    for client in (c, zero):
        silent = silent_for(client, begin)
        equal(1.0 <= silent <= 4.0, True, f'{silent:.2f}')


@test
def v5_mqtt_3_1_2_22(b):
    """After one and a half times the Keep Alive without a packet: closed, and the will goes out."""
    s = subscriber(b, 'silent')
    begin = time.monotonic()
    c = b.connected(keep_alive=1, will=Will('silent', b'gone'))
    silent = silent_for(c, begin)
    equal(1.4 <= silent <= 4.0, True, f'{silent:.2f}')
    s.expect_message('silent', b'gone')


@test
def v5_mqtt_3_1_2_22_any_packet(b):
    """Any packet of the client begins the time anew; what is sent to it does not."""
    pings, publishes, acks = b.connected(keep_alive=1), b.connected(keep_alive=1), \
        subscriber(b, 'any/a', qos=1, keep_alive=1)
    deaf = subscriber(b, 'any/d', qos=0, keep_alive=1)
    p = b.connected()
    for i in range(5):
        pass_time(0.5)
        p.publish('any/a', b'', 1)
        p.publish('any/d', b'', 0)
        pings.send(wire.pingreq())
        publishes.send(wire.publish(V5, 'any/p', b''))
        acks.expect_message('any/a')
    for c in (pings, publishes, acks):
        c.ping()
    while (m := deaf.recv()) is not None and m.type == PUBLISH:
        pass
    equal(m is None or m.reason == 0x8D, True, m)


@test
def v5_u5_3_1_2_h(b):
    """Keep Alive 0: never closed for silence."""
    c, witness = b.connected(keep_alive=0), b.connected(keep_alive=1)
    ended(witness, 0x8D)
    pass_time(0.5)
    c.ping()


# ---- 3.1.2.11.2 Session Expiry Interval

@test
def v5_mqtt_3_1_2_23(b):
    """A session with an expiry outlives its connection."""
    ids = {'kept-10': {'session_expiry_interval': 10},
           'kept-max': {'session_expiry_interval': FOREVER}}
    for client_id, props in ids.items():
        subscriber(b, 'kept/t', client_id=client_id, props=props).drop()
    pass_time(1)
    b.connected().publish('kept/t', b'x', 1)
    for client_id in ids:
        resumed(b, client_id).expect_message('kept/t', b'x')


@test(each=[('absent',), ('0',)])
def v5_u5_3_1_2_f(b, expiry):
    """Session Expiry absent or 0: the session ends with the connection."""
    props = {} if expiry == 'absent' else {'session_expiry_interval': 0}
    client_id = f'not-kept-{expiry}'
    for end in ('drop', 'disconnect'):
        c = subscriber(b, 'kept/not', client_id=client_id, props=props)
        getattr(c, end)()
        gone(b, client_id)


# ---- 3.1.2.11.4 Maximum Packet Size

def overlong_topic(size, qos, payload=b''):
    """A topic with which the delivery has that many bytes."""
    rest = 2 + 2 + (2 if qos else 0) + 1 + len(payload)
    return 'm/' + 'x' * (size - rest - 2)


@test(each=[(0,), (1,), (2,)])
def v5_mqtt_3_1_2_24(b, qos):
    """Nothing larger than the client's Maximum Packet Size is sent, headers included."""
    c = b.connected(props={'maximum_packet_size': 50})
    c.subscribe('m/#', qos=qos)
    p = b.connected()
    for size in (51, 50, 52, 300, 49):
        p.publish(overlong_topic(size, qos), b'', qos)
    equal([c.expect_message().size for _ in range(2)], [50, 49])
    c.expect_nothing()


@test(each=[(n,) for n in (1, 2, 4, 5, 10, 15, 16, 20)])
def v5_mqtt_3_1_2_24_connack(b, size):
    """… CONNACK and DISCONNECT included: what does not fit, is not sent."""
    for client_id, more in (('', {}), ('c31-size', {}), ('', {'authentication_method': 'none'})):
        c = b.client()
        c.send(wire.connect(V5, client_id, props={'maximum_packet_size': size, **more}), b'\0\0')
        while (p := c.recv()) is not None:
            equal(p.size <= size, True, p)


@test
def v5_mqtt_3_1_2_24_suback(b):
    """… and SUBACK: twenty codes do not fit into 20 bytes."""
    c = b.connected('c31-suback', props={'maximum_packet_size': 20})
    c.send(wire.subscribe(V5, 1, [(f'm/{i}', 0) for i in range(20)]))
    try:
        p = c.recv(timeout=1)
    except Unexpected:
        return
    equal(p is None or p.size <= 20, True, p)


@test(each=[(0,), (1,), (2,)])
def v5_mqtt_3_1_2_25(b, qos):
    """What is too large is dropped as if it had been sent and done, for that client alone."""
    c = b.connected('too-large', props={'maximum_packet_size': 60, 'receive_maximum': 2, **KEPT})
    c.subscribe('large', qos=qos)
    other = subscriber(b, 'large', qos=qos)
    p = b.connected()
    for i in range(5):
        p.publish('large', b'x' * 100, qos)
        p.publish('large', b'%d' % i, qos)
        c.expect_message('large', b'%d' % i, qos=qos)
        other.expect_message('large', b'x' * 100)
        other.expect_message('large', b'%d' % i)
    c.expect_nothing()
    c.drop()
    c = resumed(b, 'too-large')
    c.expect_nothing()


# ---- 3.1.2.11.5 Topic Alias Maximum

@test
def v5_mqtt_3_1_2_26(b):
    """The server's aliases are within the client's maximum, and stand for what they were set to."""
    s = subscriber(b, 'alias/#', qos=1, props={'topic_alias_maximum': 2})
    p = b.connected()
    topics = [f'alias/{n}' for n in '0123012301230011223300']
    publish_many_topics(p, topics)
    known = {}
    for topic in topics:
        m = s.expect_message()
        alias = m.prop('topic_alias')
        if alias is not None:
            equal(alias in (1, 2), True, m)
            if m.topic:
                known[alias] = m.topic
        equal(m.topic or known.get(alias), topic, m)


def publish_many_topics(p, topics):
    for topic in topics:
        p.publish(topic, b'', 1)


@test(each=[('absent',), ('0',)])
def v5_mqtt_3_1_2_27(b, maximum):
    """Without a Topic Alias Maximum, or with 0, no alias is sent."""
    s = subscriber(b, 'no-alias', qos=1,
                   props={} if maximum == 'absent' else {'topic_alias_maximum': 0})
    p = b.connected()
    for _ in range(5):
        p.publish('no-alias', b'', 1)
        equal(s.expect_message('no-alias').prop('topic_alias'), None)


# ---- 3.1.2.11.6, 7 Request Response and Problem Information

@test
def v5_mqtt_3_1_2_28(b):
    """Response Information comes only to those who ask for it."""
    other = b.another({'mqtt.response_information': 'answers/'})
    for props, want in (({}, None), ({'request_response_information': 0}, None),
                        ({'request_response_information': 1}, 'answers/')):
        equal(other.client().connect('', props=props).prop('response_information'), want, props)


@test
def v5_mqtt_3_1_2_29(b):
    """Request Problem Information 0: no Reason String and no User Property but on PUBLISH, CONNACK
    and DISCONNECT."""
    c = b.connected(props={'request_problem_information': 0})
    c.send(wire.publish(V5, '$SYS/no', b'', 1, 1), wire.publish(V5, '$SYS/no', b'', 2, 2),
           wire.publish(V5, 'rpi', b'', 1, 3), wire.publish(V5, 'rpi', b'', 2, 4),
           wire.ack(PUBREL, 4), wire.ack(PUBREL, 999), wire.ack(PUBREC, 999),
           wire.subscribe(V5, 5, [('rpi', 0), ('a#', 0)]), wire.unsubscribe(V5, 6, ['nothing']))
    seen = set()
    for _ in range(9):
        p = c.recv()
        equal((p.all('reason_string'), p.all('user_property')), ([], []), p)
        seen.add(p.type)
    equal(seen, {PUBACK, PUBREC, PUBCOMP, PUBREL, SUBACK, UNSUBACK})
    c.publish('rpi', b'', 0, props={'user_property': ('k', 'v')})
    c.expect_message('rpi', user_property=('k', 'v'))


# ---- 3.1.2.11 All properties

@test(each=[(n,) for n in ('session_expiry_interval', 'receive_maximum', 'maximum_packet_size',
                           'topic_alias_maximum', 'request_response_information',
                           'request_problem_information', 'authentication_method',
                           'authentication_data')])
def v5_u5_3_1_2_a(b, name):
    """Each property of CONNECT comes at most once, but the User Property."""
    value = 100 if name == 'maximum_packet_size' else sample(name)
    before = [('authentication_method', 'm')] if name == 'authentication_data' else []
    refused(b, connect_with(props=[*before, (name, value), (name, value)]), 0x82)


@test
def v5_u5_3_1_2_a_user_property(b):
    """… which may come as often as it likes."""
    b.connected('c31-user', props=[('user_property', ('k', 'v'))] * 3).ping()


@test
def v5_u5_3_1_2_b(b):
    """Receive Maximum 0 is a protocol error."""
    refused(b, connect_with(props={'receive_maximum': 0}), 0x82)


@test
def v5_u5_3_1_2_c(b):
    """Maximum Packet Size 0 is a protocol error."""
    refused(b, connect_with(props={'maximum_packet_size': 0}), 0x82)


@test(each=[(f'request_{name}_information', value) for name in ('response', 'problem')
            for value in (2, 128, 255)])
def v5_u5_3_1_2_d(b, name, value):
    """Request Response and Problem Information are 0 or 1."""
    refused(b, connect_with(props={name: value}), 0x82)


@test
def v5_u5_3_1_2_e(b):
    """Authentication Data without a method is a protocol error."""
    refused(b, connect_with(props={'authentication_data': b'x'}), 0x82)


@test
def v5_u5_3_1_2_g(b):
    """Receive Maximum absent is 65535; a new connection brings a new one."""
    c = subscriber(b, 'rm', client_id='rm', props=KEPT)
    p = b.connected()
    publish_many(p, 'rm', [b'%d' % i for i in range(200)], 1)
    for i in range(200):
        c.expect_message('rm', b'%d' % i, ack=False)
    c.drop()
    c = resumed(b, 'rm', props={'receive_maximum': 3, **KEPT})
    for i in range(3):
        c.expect_message('rm', b'%d' % i, ack=False)
    c.expect_nothing()


# ---- 3.1.3 The payload

@test
def v5_mqtt_3_1_3_1(b):
    """The payload's order: client id, will properties, will topic, will payload, user name,
    password."""
    s = subscriber(b, 'order/will')
    data = packet(0x10, string('MQTT') + b'\x05\xc6' + u16(60) + properties(KEPT)
                  + string('order-id') + properties({'content_type': 'ct'}) + string('order/will')
                  + u16(3) + b'pay' + string('user') + u16(4) + b'pass')
    c = b.client()
    c.send(data)
    c.expect(CONNACK, reason=0)
    c.drop()
    s.expect_message('order/will', b'pay', content_type='ct')
    resumed(b, 'order-id')


@test
def v5_mqtt_3_1_3_2(b):
    """The client id is the key of the session, for the client and the server."""
    ids = ('key', 'Key', 'KEY', 'key ', 'key1')
    for client_id in ids:
        subscriber(b, f'key/{client_id}', client_id=client_id, username='same', props=KEPT).drop()
    p = b.connected()
    for client_id in ids:
        p.publish(f'key/{client_id}', client_id.encode(), 1)
    for client_id in ids:
        c = resumed(b, client_id, username='another')
        c.expect_message(f'key/{client_id}', client_id.encode())
        c.expect_nothing()


@test
def v5_mqtt_3_1_3_3(b):
    """There is a client id, and it comes first."""
    refused(b, packet(0x10, string('MQTT') + b'\x05\x02' + u16(60) + b'\0'), 0x81)


@test(each=[('ff',), ('c080',), ('eda080',), ('00',)])
def v5_mqtt_3_1_3_4(b, text):
    """The client id is a UTF-8 string."""
    refused(b, connect_with(client_id=bytes.fromhex(text)), 0x81, 0x85)


@test(each=[('7',), ('0123456789abcdefghijklm',), ('nopqrstuvwxyzABCDEFGHIJ',),
            ('KLMNOPQRSTUVWXYZ',)])
def v5_mqtt_3_1_3_5(b, client_id):
    """Ids of 1 to 23 digits and letters are accepted."""
    c = b.client()
    equal(c.connect(client_id).prop('assigned_client_identifier'), None)


@test(each=[(True,), (False,)])
def v5_mqtt_3_1_3_6(b, clean_start):
    """An empty client id gets a unique one."""
    clients = [b.client() for _ in range(20)]
    ids = [c.connect('', clean_start=clean_start).prop('assigned_client_identifier')
           for c in clients]
    equal((len(set(ids)), None in ids, '' in ids), (20, False, False), ids)
    for c in clients:
        c.ping()


@test(each=[(True,), (False,)])
def v5_mqtt_3_1_3_7(b, clean_start):
    """An assigned id works like one that the client has chosen, and is told only if assigned."""
    c = b.client()
    assigned = c.connect('', clean_start=clean_start, props=KEPT).prop('assigned_client_identifier')
    c.subscribe('assigned', qos=1)
    c.drop()
    again = b.client()
    p = again.connect(assigned, clean_start=False, props=KEPT)
    equal((p.session_present, p.prop('assigned_client_identifier')), (True, None))
    b.connected().publish('assigned', b'x', 1)
    again.expect_message('assigned', b'x')


@test(each=[('long',), ('not ASCII',), ('punctuation',)])
def v5_u5_3_1_3_e(b, what):
    """Other ids are accepted, or refused with 85."""
    client_id = {'long': 'L' * 128, 'not ASCII': 'größe-日本', 'punctuation': '/+#$ %'}[what]
    c = b.client()
    c.send(wire.connect(V5, client_id, props=KEPT))
    if c.expect(CONNACK).reason == 0:
        c.drop()
        resumed(b, client_id)
    else:
        refused(b, wire.connect(V5, client_id), 0x85)


@test(each=[('ff',), ('c080',), ('eda080',), ('00',)])
def v5_mqtt_3_1_3_11(b, text):
    """The will topic is a UTF-8 string."""
    refused(b, connect_with(will=Will(bytes.fromhex(text))), 0x81)


@test(each=[('ff',), ('c080',), ('eda080',), ('00',)])
def v5_mqtt_3_1_3_12(b, text):
    """The user name is a UTF-8 string."""
    refused(b, connect_with(username=bytes.fromhex(text)), 0x81)


# ---- 3.1.4 Actions

WHOLE = connect_with(will=Will('t', b'p', props={'content_type': 'c'}), username='u', password=b'p',
                     props={'receive_maximum': 5})


@test
def v5_mqtt_3_1_4_1(b):
    """CONNECT is checked, and a bad one closed: here a good one cut off anywhere."""
    for size in range(len(WHOLE) - 2):
        refused(b, packet(0x10, WHOLE[2:2 + size]), 0x81, 0x82, 0x84, what=f'{size} bytes')


BAD_CONNECT = {
    'one byte more': lambda: packet(0x10, WHOLE[2:] + b'\0'),
    'a property length that is too long': lambda: connect_with(props=b'\x50'),
    'a property twice': lambda: connect_with(props=[('receive_maximum', 1)] * 2),
    'a property of another packet': lambda: connect_with(props={'topic_alias': 1}),
    'all flags': lambda: connect_with(flags=0xFF),
}


@test(each=rows(BAD_CONNECT))
def v5_mqtt_3_1_4_1_row(b, name):
    """… or with one thing wrong."""
    refused(b, BAD_CONNECT[name](), 0x81, 0x82)


@test
def v5_mqtt_3_1_4_2(b):
    """A CONNECT that fails other checks is closed: here there is no room."""
    other = b.another({'limits.connections_max': 1})
    only = other.client()
    for _ in range(200):  # the harness's own connection may still be closing
        only.send(wire.connect(V5, 'only'))
        if only.expect(CONNACK).reason == 0:
            break
        only.close()
        only = other.client()
    p = refused(other, wire.connect(V5, 'one-more'), 0x97, 0x89, 0x88)
    equal(p is None or p.reason in (0x97, 0x89, 0x88), True)
    only.ping()


@test(each=[(V311, V5), (V5, V5), (V5, V311)])
def v5_mqtt_3_1_4_3(b, before, after):
    """A client id that is connected: the older connection is told 8E and closed."""
    client_id = f'over-{before}-{after}'
    old = b.connected(client_id, before)
    new = b.connected(client_id, after)
    if before == V5:
        p = old.expect(DISCONNECT, reason=0x8E)
        equal(p.prop('session_expiry_interval'), None)
    old.expect_end()
    new.ping()


@test(each=[(False,), (True,)])
def v5_mqtt_3_1_4_4(b, clean_start):
    """Clean Start is carried out, also while the older connection is there."""
    client_id = f'clean-over-{clean_start}'
    subscriber(b, client_id, client_id=client_id, props=KEPT)
    new = b.client()
    equal(new.connect(client_id, clean_start=clean_start, props=KEPT).session_present,
          not clean_start)
    b.connected().publish(client_id, b'x', 1)
    if clean_start:
        new.expect_nothing()
    else:
        new.expect_message(client_id, b'x')


@test
def v5_mqtt_3_1_4_5(b):
    """A good CONNECT is answered with CONNACK 0."""
    c = b.client()
    c.send(packet(0x10, string('MQTT') + b'\x05\x02\0\0\0' + string('minimal')))
    p = c.expect(CONNACK, reason=0)
    equal((p.raw[0], p.raw[2:4]), (0x20, b'\0\0'))


@test
def v5_mqtt_3_1_4_6(b):
    """Nothing behind a CONNECT that is refused is looked at."""
    s = subscriber(b, 'refused/t')
    data = connect_with(props={'authentication_method': 'no-such'}) \
        + wire.publish(V5, 'refused/t', b'x', 1, 1, retain=True) \
        + wire.subscribe(V5, 2, [('refused/t', 0)])
    refused(b, data, 0x8C, 0x87)
    equal(retained_on(b, 'refused/t'), [])
    quiet(s, b.connected(), 'refused/t')


@test
def v5_u5_3_1_4_a(b):
    """Who does not send a whole CONNECT in time is closed."""
    other = b.another({'limits.connect_timeout_s': 1})
    silent, half = other.client(), other.client()
    half.send(connect_with()[:7])
    silent.expect_end(5)
    half.expect_end(5)


@test
def v5_u5_3_1_4_b(b):
    """What comes right behind CONNECT is carried out after it was accepted."""
    c = b.client()
    c.send(connect_with(client_id='behind'), wire.subscribe(V5, 1, [('behind', 0)]),
           wire.publish(V5, 'behind', b'x', 1, 2), wire.pingreq())
    c.expect(CONNACK, reason=0)
    c.expect(SUBACK, packet_id=1)
    equal({c.recv().type for _ in range(3)}, {PUBLISH, PUBACK, PINGRESP})
