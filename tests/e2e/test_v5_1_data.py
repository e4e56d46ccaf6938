# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, chapters 1 and 2: how data is represented, the fixed header, packet identifiers,
properties."""
from harness import equal, test
from norm5 import ended, quiet, refused, rows, sample, subscriber
from raw import (CONNACK, DISCONNECT, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK,
                 UNSUBACK, V5, Will, publish_many, wire)
from wire import PROPERTIES, packet, properties, string, u16, varint

SET = {'limits.packet_bytes_max': 4 << 20}
SECONDS = 5

# ---- 1.5.4 UTF-8 strings

BAD_UTF8 = {'FF': b'\xff', 'overlong': b'a\xc0\x80', 'surrogate': b'\xed\xa0\x80b',
            'over 10FFFF': b'\xf4\x90\x80\x80', 'cut off': b'ab\xe2\x82'}


def connect_with(**how):
    return wire.connect(V5, **{'client_id': 'data', **how})


def publish_with(**props):
    return wire.publish(V5, 'data/t', b'', props=list(props.items()))


IN_CONNECT = {
    'client id': lambda s: connect_with(client_id=s),
    'user name': lambda s: connect_with(username=s),
    'authentication method': lambda s: connect_with(props={'authentication_method': s}),
    'CONNECT user property name': lambda s: connect_with(props={'user_property': (s, 'v')}),
    'CONNECT user property value': lambda s: connect_with(props={'user_property': ('k', s)}),
    'will topic': lambda s: connect_with(will=Will(s)),
    'will content type': lambda s: connect_with(will=Will('t', props={'content_type': s})),
    'will response topic': lambda s: connect_with(will=Will('t', props={'response_topic': s})),
    'will user property name':
        lambda s: connect_with(will=Will('t', props={'user_property': (s, 'v')})),
    'will user property value':
        lambda s: connect_with(will=Will('t', props={'user_property': ('k', s)})),
}
LATER = {
    'topic name': lambda s: wire.publish(V5, s),
    'response topic': lambda s: publish_with(response_topic=s),
    'content type': lambda s: publish_with(content_type=s),
    'PUBLISH user property name': lambda s: publish_with(user_property=(s, 'v')),
    'PUBLISH user property value': lambda s: publish_with(user_property=('k', s)),
    'filter': lambda s: wire.subscribe(V5, 1, [(s, 0)]),
    'SUBSCRIBE user property':
        lambda s: wire.subscribe(V5, 1, [('t', 0)], {'user_property': ('k', s)}),
    'filter of UNSUBSCRIBE': lambda s: wire.unsubscribe(V5, 1, [s]),
    'UNSUBSCRIBE user property':
        lambda s: wire.unsubscribe(V5, 1, ['t'], {'user_property': (s, 'v')}),
    'PUBACK reason string': lambda s: wire.ack(PUBACK, 1, 0, {'reason_string': s}),
    'PUBREC reason string': lambda s: wire.ack(PUBREC, 1, 0, {'reason_string': s}),
    'PUBREL reason string': lambda s: wire.ack(PUBREL, 1, 0, {'reason_string': s}),
    'PUBCOMP reason string': lambda s: wire.ack(PUBCOMP, 1, 0, {'reason_string': s}),
    'DISCONNECT reason string': lambda s: wire.disconnect(V5, 0, {'reason_string': s}),
    'DISCONNECT user property': lambda s: wire.disconnect(V5, 0, {'user_property': ('k', s)}),
}


def field_is_refused(b, field, texts):
    for name, text in texts.items():
        if field in IN_CONNECT:
            codes = (0x81, 0x85) if field == 'client id' else (0x81,)
            refused(b, IN_CONNECT[field](text), *codes, what=name)
        else:
            c = b.connected()
            c.send(LATER[field](text))
            ended(c, 0x81, what=name)


@test(each=rows([*IN_CONNECT, *LATER]))
def v5_mqtt_1_5_4_1(b, field):
    """Strings are well-formed UTF-8 without surrogates; others make the packet malformed."""
    field_is_refused(b, field, BAD_UTF8)


@test(each=[(1,), (2,), (3,), (4,)])
def v5_mqtt_1_5_4_1_valid(b, size):
    """Characters of 1 to 4 bytes are right, and pass byte for byte."""
    text = {1: 'a~', 2: '\u00a0\u07ff', 3: '\u0800\ud7ff\ue000\ufffd',
            4: '\U00010000\U0010fffd'}[size]
    s = subscriber(b, f'data/valid/{text}')
    b.connected().publish(f'data/valid/{text}', b'x', 1, props={
        'content_type': text, 'response_topic': text, 'user_property': (text, text)})
    s.expect_message(f'data/valid/{text}', content_type=text, response_topic=text,
                     user_property=(text, text))


@test(each=rows([*IN_CONNECT, *LATER]))
def v5_mqtt_1_5_4_2(b, field):
    """No string holds U+0000; one that does makes the packet malformed."""
    field_is_refused(b, field, {'in the middle': b'a\0b', 'alone': b'\0', 'at the end': b'a\0'})


@test
def v5_mqtt_1_5_4_3(b):
    """EF BB BF is a character like others (U+FEFF), not skipped at the beginning of a string."""
    topic = '\ufeffdata/bom'
    with_mark = subscriber(b, topic)
    without = subscriber(b, 'data/bom')
    p = b.connected()
    p.publish(topic, b'x', 1, props={'user_property': ('\ufeffk', '\ufeff'),
                                     'content_type': '\ufeff'})
    m = with_mark.expect_message(topic, user_property=('\ufeffk', '\ufeff'), content_type='\ufeff')
    equal(b'\x00\x0b\xef\xbb\xbfdata/bom' in m.raw, True, m.raw)
    quiet(without, p, 'data/bom')


@test
def v5_mqtt_1_5_4_3_client_id(b):
    """A client identifier with U+FEFF in front is another one than without."""
    first = b.connected('bom', props={'session_expiry_interval': 60})
    second = b.client()
    equal(second.connect('\ufeffbom', clean_start=False).session_present, False)
    first.ping()
    second.ping()


@test(each=[(text,) for text in ('U+0001', 'U+001F', 'U+007F', 'U+0085', 'U+FFFF', 'U+FDD0')])
def v5_u5_1_5_4_a(b, text):
    """Control characters and noncharacters: malformed or passed on, the same in all fields."""
    odd = chr(int(text[2:], 16))
    s = subscriber(b, 'data/odd')

    def passes(topic='data/odd', **props):
        p = b.connected()
        p.send(wire.publish(V5, topic, b'x', 1, 1, props=list(props.items())))
        answer = p.recv()
        if answer is not None and answer.type == PUBACK:
            return True
        equal(answer is None or answer.reason == 0x81, True, answer)
        return False

    choice = passes(content_type=odd)
    if choice:
        s.expect_message(content_type=odd)
    equal(passes(user_property=('k', odd)), choice)
    if choice:
        s.expect_message(user_property=('k', odd))
    equal(passes(topic=f'data/{odd}'), choice)
    c = b.client()
    c.send(connect_with(client_id=f'a{odd}'))
    answer = c.recv()
    equal(answer is not None and answer.reason == 0, choice, 'client id')


# ---- 1.5.5 Variable byte integers

@test(each=[(127,), (128,), (16383,), (16384,), (2097151,), (2097152,)])
def v5_mqtt_1_5_5_1(b, length):
    """A variable byte integer has as few bytes as its value allows: here a remaining length."""
    s = subscriber(b, f'vbi/{length:07}')
    payload = b'x' * (length - len(string(f'vbi/{length:07}')) - 2 - 1)
    b.connected().publish(f'vbi/{length:07}', payload, 1)
    m = s.expect_message(payload=payload)
    equal(m.raw[1:1 + len(varint(length))], varint(length))
    equal(m.size, 1 + len(varint(length)) + length)


@test(each=[(127,), (128,), (16383,), (16384,), (2097151,), (2097152,)])
def v5_mqtt_1_5_5_1_properties(b, length):
    """… and a property length."""
    items, left = [], length
    while left > 0:
        size = min(left, 60000)
        if 0 < left - size < 6:
            size -= 10
        items.append(('user_property', ('k', 'v' * (size - 6))))
        left -= size
    equal(properties(items)[:len(varint(length))], varint(length), 'the test itself')
    s = subscriber(b, 'vbi/properties')
    b.connected().publish('vbi/properties', b'', 1, props=items)
    m = s.expect_message(payload=b'')
    equal(m.raw.endswith(properties(items)), True)


@test(each=[(n,) for n in (1, 127, 128, 16383, 16384, 2097151, 2097152, 268435455)])
def v5_mqtt_1_5_5_1_identifier(b, identifier):
    """… and a subscription identifier."""
    s = b.connected()
    s.subscribe('vbi/id', props={'subscription_identifier': identifier})
    b.connected().publish('vbi/id', b'')
    equal(s.expect_message().raw.endswith(properties({'subscription_identifier': identifier})),
          True)


OVERLONG = {
    'remaining length': b'\xc0\x80\x00',
    'remaining length of three bytes': b'\x30\x84\x80\x00' + string('t') + b'\0',
    'property length': packet(0x30, string('t') + b'\x80\x00'),
    'subscription identifier':
        packet(0x82, u16(1) + b'\x03\x0b\x81\x00' + string('t') + b'\x00'),
}


@test(each=rows(OVERLONG))
def v5_mqtt_1_5_5_1_overlong(b, name):
    """What has more bytes than it needs is malformed."""
    c = b.connected()
    c.send(OVERLONG[name])
    ended(c, 0x81)


@test(each=[('30ffffffff01',), ('30808080801000',), ('c080808080',), ('82ffffffff7f',)])
def v5_u5_1_5_5_a(b, data):
    """There are at most four bytes: a fifth is malformed, and not waited for."""
    c = b.connected()
    c.send(bytes.fromhex(data)[:5])
    ended(c, 0x81)


@test
def v5_u5_1_5_5_a_connect(b):
    """The same in CONNECT."""
    refused(b, b'\x10\xff\xff\xff\xff', 0x81, 0x82, 0x95)


PAIRS = {
    'CONNECT': lambda p: connect_with(props={'user_property': p}),
    'will': lambda p: connect_with(will=Will('t', props={'user_property': p})),
    'PUBLISH': lambda p: publish_with(user_property=p),
    'SUBSCRIBE': lambda p: wire.subscribe(V5, 1, [('t', 0)], {'user_property': p}),
    'UNSUBSCRIBE': lambda p: wire.unsubscribe(V5, 1, ['t'], {'user_property': p}),
    'PUBACK': lambda p: wire.ack(PUBACK, 1, 0, {'user_property': p}),
    'PUBREC': lambda p: wire.ack(PUBREC, 1, 0, {'user_property': p}),
    'PUBREL': lambda p: wire.ack(PUBREL, 1, 0, {'user_property': p}),
    'PUBCOMP': lambda p: wire.ack(PUBCOMP, 1, 0, {'user_property': p}),
    'DISCONNECT': lambda p: wire.disconnect(V5, 0, {'user_property': p}),
}


@test(each=rows(PAIRS))
def v5_mqtt_1_5_7_1(b, kind):
    """Both strings of a pair obey the rules for strings."""
    for name, bad in {**BAD_UTF8, 'U+0000': b'\0'}.items():
        for pair in ((bad, 'v'), ('k', bad)):
            if kind in ('CONNECT', 'will'):
                refused(b, PAIRS[kind](pair), 0x81, what=name)
            else:
                c = b.connected()
                c.send(PAIRS[kind](pair))
                ended(c, 0x81, what=name)


# ---- 2.1 The fixed header

FLAGS = {
    'PUBACK': (wire.ack(PUBACK, 1), 0), 'PUBREC': (wire.ack(PUBREC, 1), 0),
    'PUBREL': (wire.ack(PUBREL, 1), 2), 'PUBCOMP': (wire.ack(PUBCOMP, 1), 0),
    'SUBSCRIBE': (wire.subscribe(V5, 1, [('t', 0)]), 2),
    'UNSUBSCRIBE': (wire.unsubscribe(V5, 1, ['t']), 2),
    'PINGREQ': (wire.pingreq(), 0), 'DISCONNECT': (wire.disconnect(V5), 0),
    'AUTH': (wire.auth(0x19, {'authentication_method': 'x'}), 0),
}


@test(each=rows(['CONNECT', *FLAGS]))
def v5_mqtt_2_1_3_1(b, kind):
    """Reserved flags of the fixed header have their value; any other is malformed."""
    if kind == 'CONNECT':
        for flags in range(1, 16):
            refused(b, bytes([0x10 | flags]) + connect_with()[1:], 0x81, what=f'flags {flags:x}')
        return
    data, right = FLAGS[kind]
    for flags in range(16):
        if flags != right:
            c = b.connected()
            c.send(bytes([data[0] & 0xF0 | flags]) + data[1:])
            ended(c, 0x81, what=f'flags {flags:x}')


@test
def v5_mqtt_2_1_3_1_server(b):
    """In what the server sends, too: 0, and 2 in PUBREL."""
    c = b.client()
    c.send(wire.connect(V5, ''))
    c.send(wire.subscribe(V5, 1, [('flags/s', 2)]), wire.publish(V5, 'flags/s', b'', 2, 2))
    seen = {}

    def until(kind):
        while kind not in seen:
            p = c.recv()
            seen[p.type] = p.raw[0]
            if p.type == PUBLISH:
                c.send(wire.ack(PUBREC, p.packet_id))
            elif p.type == PUBREL:
                c.send(wire.ack(PUBCOMP, p.packet_id))
    until(PUBREC)
    until(PUBREL)
    c.send(wire.ack(PUBREL, 2), wire.publish(V5, 'flags/o', b'', 1, 3), wire.pingreq(),
           wire.unsubscribe(V5, 4, ['t']), b'\0\0')
    until(DISCONNECT)
    for kind in (CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, PINGRESP, DISCONNECT):
        equal(seen.get(kind), kind << 4 | (2 if kind == PUBREL else 0), wire.NAMES[kind])


TYPES = {'0': b'\0\0', 'CONNACK': b'\x20\x03\0\0\0', 'SUBACK': b'\x90\x04\0\1\0\0',
         'UNSUBACK': b'\xb0\x04\0\1\0\0', 'PINGRESP': b'\xd0\0'}


@test(each=rows(TYPES))
def v5_u5_2_1_2_a(b, kind):
    """Type 0 and what only servers send are errors."""
    c = b.connected()
    c.send(TYPES[kind])
    ended(c, 0x81, 0x82)


LENGTHS = {
    'PUBACK of one byte': b'\x40\x01\x00', 'PUBACK with more': b'\x40\x05\x00\x01\x00\x00\x00',
    'PUBREC of nothing': b'\x50\x00', 'PUBREL of one byte': b'\x62\x01\x00',
    'PUBREL with more': b'\x62\x05\x00\x01\x00\x00\x00', 'PUBCOMP of one byte': b'\x70\x01\x01',
    'SUBSCRIBE of its id': b'\x82\x02\x00\x01',
    'SUBSCRIBE cut off': packet(0x82, u16(1) + b'\0' + u16(5) + b'abc'),
    'SUBSCRIBE with one byte more': packet(0x82, u16(1) + b'\0' + string('t') + b'\0\0'),
    'UNSUBSCRIBE cut off': packet(0xA2, u16(1) + b'\0' + u16(5) + b'abc'),
    'UNSUBSCRIBE with one byte more': packet(0xA2, u16(1) + b'\0' + string('t') + b'\0'),
    'PUBLISH whose topic is cut off': packet(0x30, u16(9) + b'abc'),
    'PUBLISH without its id': packet(0x32, string('t')),
    'PUBLISH without properties': packet(0x30, string('t')),
    'PINGREQ with one byte': b'\xc0\x01\x00',
    'DISCONNECT with more': b'\xe0\x03\x00\x00\x00',
}


@test(each=rows(LENGTHS))
def v5_u5_2_1_4_a(b, name):
    """The remaining length covers the fields exactly: none missing, nothing behind them."""
    c = b.connected()
    c.send(LENGTHS[name])
    ended(c, 0x81)


# ---- 2.2.1 Packet identifiers

@test
def v5_mqtt_2_2_1_2(b):
    """A PUBLISH at QoS 0 has no packet identifier, in either direction."""
    s = subscriber(b, 'id/none', qos=0)
    b.connected().send(wire.publish(V5, 'id/none', b'\0\1payload'))
    equal(s.expect(PUBLISH).raw, packet(0x30, string('id/none') + b'\0' + b'\0\1payload'))


ZERO = {'PUBLISH QoS 1': wire.publish(V5, 'id/zero', b'', 1, 0),
        'PUBLISH QoS 2': wire.publish(V5, 'id/zero', b'', 2, 0),
        'SUBSCRIBE': wire.subscribe(V5, 0, [('id/zero', 0)]),
        'UNSUBSCRIBE': wire.unsubscribe(V5, 0, ['id/zero'])}


@test(each=rows(ZERO))
def v5_mqtt_2_2_1_3(b, kind):
    """The packet identifier of a new PUBLISH, SUBSCRIBE, or UNSUBSCRIBE is not 0."""
    c = b.connected()
    c.send(ZERO[kind])
    ended(c, 0x81, 0x82)


@test
def v5_mqtt_2_2_1_3_in_use(b):
    """A client that uses an id twice harms neither exchange."""
    s = subscriber(b, 'id/twice')
    c = b.connected()
    c.send(wire.publish(V5, 'id/twice', b'x', 2, 7))
    c.expect(PUBREC, packet_id=7)
    c.send(wire.subscribe(V5, 7, [('id/other', 1)]))
    p = c.expect(SUBACK, packet_id=7)
    equal(p.reasons in ((1,), (0x91,)), True, p)
    c.send(wire.publish(V5, 'id/twice', b'x', 2, 7, dup=True))
    c.expect(PUBREC, packet_id=7)
    c.send(wire.ack(PUBREL, 7))
    c.expect(PUBCOMP, packet_id=7, reason=0)
    s.expect_message('id/twice', b'x')
    quiet(s, c, 'id/twice')


@test(each=[(1,), (2,)])
def v5_mqtt_2_2_1_4(b, qos):
    """Ids of the server's messages are not 0, and not in use."""
    s = subscriber(b, 'id/distinct', qos=qos, props={'receive_maximum': 100})
    publish_many(b.connected(), 'id/distinct', [b'x'] * 100, qos)
    ids = [s.expect_message('id/distinct', ack=False).packet_id for _ in range(100)]
    equal((len(set(ids)), 0 in ids), (100, False), ids)


@test
def v5_mqtt_2_2_1_4_round(b):
    """… also when all 65535 have been used, and one has been open for long."""
    s = subscriber(b, 'id/round', qos=1)
    p = b.connected()
    p.publish('id/round', b'first', 1)
    held = s.expect_message(payload=b'first', ack=False).packet_id
    for round_ in range(66):
        if round_ == 60:
            s.send(wire.ack(PUBACK, held))
            held = 0
        publish_many(p, 'id/round', [b''] * 1000, 1, window=1000)
        ids = [s.expect(PUBLISH).packet_id for _ in range(1000)]
        s.send(*(wire.ack(PUBACK, i) for i in ids))
        equal((len(set(ids)), held in ids, 0 in ids), (1000, False, False))


@test
def v5_mqtt_2_2_1_5(b):
    """Acknowledgements have the id of their PUBLISH."""
    c = b.connected()
    ids = (1, 0x1234, 65535, 256)
    c.send(*(wire.publish(V5, 'id/acks', b'', 1 + i % 2, i) for i in ids))
    for i in ids:
        c.expect(PUBREC if i % 2 else PUBACK, packet_id=i)
    c.send(*(wire.ack(PUBREL, i) for i in (65535, 1)))
    c.expect(PUBCOMP, packet_id=65535)
    c.expect(PUBCOMP, packet_id=1)


@test
def v5_mqtt_2_2_1_5_server(b):
    """… and so does the server's PUBREL."""
    s = subscriber(b, 'id/pubrel')
    publish_many(b.connected(), 'id/pubrel', [b'1', b'2', b'3'], 2)
    ids = [s.expect_message(ack=False).packet_id for _ in range(3)]
    for i in (ids[1], ids[0], ids[2]):
        s.send(wire.ack(PUBREC, i))
        s.expect(PUBREL, packet_id=i)


@test
def v5_mqtt_2_2_1_6(b):
    """SUBACK and UNSUBACK have the id of what they answer."""
    c = b.connected()
    c.send(wire.subscribe(V5, 1, [('id/a', 0)]), wire.unsubscribe(V5, 65535, ['id/a']),
           wire.subscribe(V5, 0x1234, [('id/b', 1)]), wire.unsubscribe(V5, 256, ['id/a']))
    c.expect(SUBACK, packet_id=1)
    c.expect(UNSUBACK, packet_id=65535)
    c.expect(SUBACK, packet_id=0x1234)
    c.expect(UNSUBACK, packet_id=256)


@test
def v5_u5_2_2_1_a(b):
    """Client and server have ids of their own: both may use the same one at the same time."""
    c = subscriber(b, 'id/sets')
    b.connected().publish('id/sets', b'down', 2)
    m = c.expect_message('id/sets', b'down', ack=False)
    up = subscriber(b, 'id/up')
    c.send(wire.publish(V5, 'id/up', b'up', 2, m.packet_id))
    c.expect(PUBREC, packet_id=m.packet_id, reason=0)
    c.send(wire.ack(PUBREC, m.packet_id))
    c.expect(PUBREL, packet_id=m.packet_id, reason=0)
    c.send(wire.ack(PUBREL, m.packet_id))
    c.expect(PUBCOMP, packet_id=m.packet_id, reason=0)
    c.send(wire.ack(PUBCOMP, m.packet_id))
    c.expect_nothing()
    up.expect_message('id/up', b'up')


# ---- 2.2.2 Properties

@test
def v5_mqtt_2_2_2_1(b):
    """Without properties there is a property length of 0, in what the server sends …"""
    c = b.connected()
    c.send(wire.subscribe(V5, 1, [('props/none', 0)]), wire.publish(V5, 'props/none', b'x'),
           wire.unsubscribe(V5, 2, ['props/none']))
    equal(c.expect(SUBACK).raw, b'\x90\x04\x00\x01\x00\x00')
    equal(c.expect(PUBLISH).raw, packet(0x30, string('props/none') + b'\0x'))
    equal(c.expect(UNSUBACK).raw, b'\xb0\x04\x00\x02\x00\x00')


WITHOUT = {'CONNECT': packet(0x10, string('MQTT') + b'\x05\x02\x00\x3c' + string('x')),
           'PUBLISH': packet(0x30, string('t')),
           'PUBLISH QoS 1': packet(0x32, string('t') + u16(1)),
           'SUBSCRIBE': packet(0x82, u16(1) + string('t') + b'\0'),
           'UNSUBSCRIBE': packet(0xA2, u16(1) + string('t'))}


@test(each=rows(WITHOUT))
def v5_mqtt_2_2_2_1_missing(b, kind):
    """… and a packet without it is malformed."""
    if kind == 'CONNECT':
        refused(b, WITHOUT[kind], 0x81)
        return
    c = b.connected()
    c.send(WITHOUT[kind])
    ended(c, 0x81)


CARRIERS = {
    'CONNECT': (wire.CONNECT, lambda p: connect_with(props=p)),
    'will': (wire.WILL, lambda p: connect_with(will=Will('t', props=p))),
    'PUBLISH': (PUBLISH, lambda p: wire.publish(V5, 't', props=p)),
    'PUBACK': (PUBACK, lambda p: wire.ack(PUBACK, 1, 0, p)),
    'PUBREC': (PUBREC, lambda p: wire.ack(PUBREC, 1, 0, p)),
    'PUBREL': (PUBREL, lambda p: wire.ack(PUBREL, 1, 0, p)),
    'PUBCOMP': (PUBCOMP, lambda p: wire.ack(PUBCOMP, 1, 0, p)),
    'SUBSCRIBE': (wire.SUBSCRIBE, lambda p: wire.subscribe(V5, 1, [('t', 0)], p)),
    'UNSUBSCRIBE': (wire.UNSUBSCRIBE, lambda p: wire.unsubscribe(V5, 1, ['t'], p)),
    'DISCONNECT': (DISCONNECT, lambda p: wire.disconnect(V5, 0, p)),
}


def props_end(b, kind, props, *codes, what=''):
    if kind in ('CONNECT', 'will'):
        refused(b, CARRIERS[kind][1](props), *codes, what=what)
    else:
        c = b.connected()
        c.send(CARRIERS[kind][1](props))
        ended(c, *codes, what=what)


@test(each=rows(CARRIERS))
def v5_u5_2_2_2_a(b, kind):
    """A property that the packet may not have makes it malformed, as does an unknown one."""
    for name, (_, _, packets) in PROPERTIES.items():
        if CARRIERS[kind][0] not in packets:
            props_end(b, kind, [(name, sample(name))], 0x81, what=name)
    for number in (0x00, 0x04, 0x7F, 0x81, 0x111):
        props_end(b, kind, [(number, b'\0')], 0x81, what=f'{number:x}')


BROKEN = {'longer than the packet': b'\x7f', 'cut off in a name': b'\x03\x26\x00\x05',
          'cut off in a value': b'\x06\x26\x00\x01k\x00\x09', 'an id alone': b'\x01\x26',
          'an id that does not end': b'\x01\x80'}


@test(each=rows(CARRIERS))
def v5_u5_2_2_2_b(b, kind):
    """A value that is not of the property's type, or ends too early, makes the packet malformed."""
    for name, data in BROKEN.items():
        props_end(b, kind, data, 0x81, what=name)


@test
def v5_u5_2_2_2_c(b):
    """The order of different properties means nothing."""
    s = subscriber(b, 'props/order', 'props/will')
    p = b.connected()
    items = [('content_type', 'c'), ('payload_format_indicator', 1), ('response_topic', 'r'),
             ('message_expiry_interval', 100), ('correlation_data', b'd')]
    for order in (items, items[::-1], items[2:] + items[:2]):
        p.publish('props/order', b'x', 1, props=order)
        s.expect_message('props/order', content_type='c', payload_format_indicator=1,
                         response_topic='r', correlation_data=b'd')
    asked = [('session_expiry_interval', 9), ('receive_maximum', 5), ('topic_alias_maximum', 3),
             ('request_problem_information', 1), ('maximum_packet_size', 999)]
    answers = [b.client().connect('props-order', props=order).props
               for order in (asked, asked[::-1], asked[3:] + asked[:3])]
    equal(answers[1:], answers[:1] * 2)
