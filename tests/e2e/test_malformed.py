# SPDX-License-Identifier: Apache-2.0
"""Bad packets: each ends its connection with the right code, and nobody else's (4.13)."""
import random

from harness import equal, test
from raw import CONNACK, DISCONNECT, PUBCOMP, PUBREC, PUBREL, V31, V311, V5, Will, wire
from wire import packet, properties, string, u16

SECONDS = 2


def publish(topic=string('t'), props=properties([]), payload=b'', first=0x30, packet_id=b''):
    return packet(first, topic + packet_id + props + payload)


def props(*items):
    """Properties out of (name or number, value)."""
    return properties(list(items))


EXPIRY_TWICE = props(('message_expiry_interval', 1), ('message_expiry_interval', 1))

# ---- After CONNECT: name, bytes, codes that are right. E(81) of the statements' list, and so on.
BAD_UTF8 = (b'\xff', b'\xc0\x80', b'\xed\xa0\x80', b'\xf4\x90\x80\x80', b'\xe2\x82', b'a\x00b')
V5_ROWS = [
    ('type 0', b'\x00\x00', (0x81,)),
    ('length of five bytes', b'\x30\xff\xff\xff\xff\x01', (0x81,)),
    ('PUBLISH at QoS 3', publish(first=0x36, packet_id=u16(1)), (0x81,)),
    ('PUBLISH at QoS 0 with DUP', publish(first=0x38), (0x81, 0x82)),
    ('PUBLISH without a packet id', packet(0x32, string('t')), (0x81,)),
    ('PUBLISH with packet id 0', publish(first=0x32, packet_id=u16(0)), (0x81, 0x82)),
    ('PUBLISH to a wildcard', publish(string('a/+')), (0x81, 0x82, 0x90)),
    ('PUBLISH to a hash', publish(string('#')), (0x81, 0x82, 0x90)),
    ('PUBLISH whose topic is longer than the packet', packet(0x30, u16(50) + b'short'), (0x81,)),
    ('PUBLISH whose properties are longer than the packet', packet(0x30, string('t') + b'\x05'),
     (0x81,)),
    ('PUBLISH whose property is cut off',
     publish(props=b'\x03\x02\x00\x00', payload=b'\x00\x00'), (0x81,)),
    ('PUBLISH without properties', packet(0x30, string('t')), (0x81,)),
    ('PUBLISH with an unknown property', publish(props=props((0x7F, b'\x00'))), (0x81, 0x82)),
    ('PUBLISH with a property of CONNECT',
     publish(props=props(('session_expiry_interval', 1))), (0x81, 0x82)),
    ('PUBLISH with a property twice', publish(props=EXPIRY_TWICE), (0x82,)),
    ('PUBLISH with a payload format of 2', publish(props=props(('payload_format_indicator', 2))),
     (0x81, 0x82)),
    ('PUBLISH with a subscription identifier',
     publish(props=props(('subscription_identifier', 1))), (0x82,)),
    ('PUBLISH with a response topic with a wildcard',
     publish(props=props(('response_topic', 'a/#'))), (0x81, 0x82, 0x90)),
    ('PUBLISH with alias 0', publish(props=props(('topic_alias', 0))), (0x94,)),
    ('PUBLISH without topic and alias', publish(string('')), (0x82,)),
    ('property length in a long form', packet(0x30, string('t') + b'\x80\x00'), (0x81,)),
    ('remaining length in a long form', b'\x30\x84\x00' + string('t') + b'\x00', (0x81,)),
    *((f'PUBLISH to a topic with {bad!r}', publish(string(bad)), (0x81,)) for bad in BAD_UTF8),
    *((f'PUBLISH with a user property with {bad!r}',
       publish(props=props(('user_property', (bad, 'v')))), (0x81,)) for bad in BAD_UTF8),
    ('PUBLISH with a content type of bad UTF-8', publish(props=props(('content_type', b'\xff'))),
     (0x81,)),
    ('PUBLISH with a response topic of bad UTF-8',
     publish(props=props(('response_topic', b'\xff'))), (0x81,)),
    ('PUBACK with flags', b'\x41\x02\x00\x01', (0x81,)),
    ('PUBACK without an id', b'\x40\x00', (0x81,)),
    ('PUBACK of one byte', b'\x40\x01\x00', (0x81,)),
    ('PUBACK with id 0', b'\x40\x02\x00\x00', (0x81, 0x82)),
    ('PUBACK with an unknown code', b'\x40\x03\x00\x01\x55', (0x81, 0x82)),
    ('PUBACK with bytes behind its properties', b'\x40\x05\x00\x01\x00\x00\x00', (0x81,)),
    ('PUBREC with flags', b'\x51\x02\x00\x01', (0x81,)),
    ('PUBREL with flags 0', b'\x60\x02\x00\x01', (0x81,)),
    ('PUBREL with an unknown code', b'\x62\x03\x00\x01\x10', (0x81, 0x82)),
    ('PUBCOMP with flags', b'\x72\x02\x00\x01', (0x81,)),
    ('SUBSCRIBE with flags 0', packet(0x80, u16(1) + b'\x00' + string('t') + b'\x00'), (0x81,)),
    ('SUBSCRIBE without a filter', packet(0x82, u16(1) + b'\x00'), (0x81, 0x82)),
    ('SUBSCRIBE without options', packet(0x82, u16(1) + b'\x00' + string('t')), (0x81,)),
    ('SUBSCRIBE with id 0', wire.subscribe(V5, 0, [('t', 0)]), (0x81, 0x82)),
    ('SUBSCRIBE at QoS 3', wire.subscribe(V5, 1, [('t', 3)]), (0x81, 0x82)),
    ('SUBSCRIBE with retain handling 3', wire.subscribe(V5, 1, [('t', 0x30)]), (0x81, 0x82)),
    ('SUBSCRIBE with reserved bit 6', wire.subscribe(V5, 1, [('t', 0x40)]), (0x81,)),
    ('SUBSCRIBE with reserved bit 7', wire.subscribe(V5, 1, [('t', 0x80)]), (0x81,)),
    ('SUBSCRIBE with identifier 0',
     wire.subscribe(V5, 1, [('t', 0)], {'subscription_identifier': 0}), (0x82,)),
    ('SUBSCRIBE with two identifiers',
     wire.subscribe(V5, 1, [('t', 0)], [('subscription_identifier', 1)] * 2), (0x82,)),
    ('SUBSCRIBE to bad UTF-8', wire.subscribe(V5, 1, [(b'\xff', 0)]), (0x81,)),
    ('SUBSCRIBE whose second filter is cut off',
     packet(0x82, u16(1) + b'\x00' + string('t') + b'\x00' + u16(9) + b'x'), (0x81,)),
    ('UNSUBSCRIBE with flags 0', packet(0xA0, u16(1) + b'\x00' + string('t')), (0x81,)),
    ('UNSUBSCRIBE without a filter', packet(0xA2, u16(1) + b'\x00'), (0x81, 0x82)),
    ('UNSUBSCRIBE with id 0', wire.unsubscribe(V5, 0, ['t']), (0x81, 0x82)),
    ('UNSUBSCRIBE to bad UTF-8', wire.unsubscribe(V5, 1, [b'\xff']), (0x81,)),
    ('PINGREQ with flags', b'\xC1\x00', (0x81,)),
    ('PINGREQ with a body', b'\xC0\x01\x00', (0x81,)),
    ('DISCONNECT with flags', b'\xE1\x00', (0x81,)),
    ('DISCONNECT with an unknown code', b'\xE0\x01\x03', (0x81, 0x82)),
    ('DISCONNECT with a code of the server', b'\xE0\x01\x8b', (0x81, 0x82)),
    ('DISCONNECT with a server reference',
     wire.disconnect(V5, 0, {'server_reference': 'x'}), (0x81, 0x82)),
    ('DISCONNECT with bytes behind its properties', b'\xE0\x03\x00\x00\x00', (0x81,)),
    ('a second CONNECT', wire.connect(V5, 'again'), (0x82,)),
    ('CONNACK', b'\x20\x03\x00\x00\x00', (0x81, 0x82)),
    ('SUBACK', b'\x90\x04\x00\x01\x00\x00', (0x81, 0x82)),
    ('UNSUBACK', b'\xB0\x04\x00\x01\x00\x00', (0x81, 0x82)),
    ('PINGRESP', b'\xD0\x00', (0x81, 0x82)),
    ('AUTH without a method', b'\xF0\x02\x19\x00', (0x82,)),
    ('AUTH out of nowhere', wire.auth(0x19, {'authentication_method': 'x'}), (0x82, 0x8C)),
    ('AUTH with flags', b'\xF1\x00', (0x81,)),
]

# What Mosquitto 2.0.11 lets pass, or answers with a code that the standard does not give.
LAX = ('PUBLISH at QoS 0 with DUP', 'property length in a long form',
       'remaining length in a long form', 'PUBACK with an unknown code',
       'PUBREL with an unknown code', 'DISCONNECT with an unknown code',
       'DISCONNECT with a code of the server', 'PUBACK with bytes behind its properties',
       'PUBLISH with a payload format of 2', 'PUBLISH with a subscription identifier',
       'PUBLISH with a response topic with a wildcard', 'PUBACK with flags', 'PUBREC with flags',
       'PUBCOMP with flags', 'PINGREQ with flags', 'PINGREQ with a body', 'SUBACK', 'UNSUBACK',
       'PINGRESP')


def ends_with(b, data, codes, version=V5):
    onlooker = b.connected()
    c = b.connected(f'malformed-{version}', version)
    c.send(data)
    c.expect_disconnect(*codes)
    onlooker.ping()


@test(each=[(name,) for name, _, _ in V5_ROWS if name not in LAX])
def v5(b, name):
    data, codes = next((d, c) for n, d, c in V5_ROWS if n == name)
    ends_with(b, data, codes)


@test(each=[(name,) for name, _, _ in V5_ROWS if name in LAX], mosquitto='lets it pass')
def v5_too(b, name):
    v5(b, name)


V311_ROWS = [
    ('type 0', b'\x00\x00'),
    ('AUTH', b'\xF0\x00'),
    ('length of five bytes', b'\x30\xff\xff\xff\xff\x01'),
    ('PUBLISH at QoS 3', packet(0x36, string('t') + u16(1))),
    ('PUBLISH with packet id 0', packet(0x32, string('t') + u16(0))),
    ('PUBLISH without a packet id', packet(0x32, string('t'))),
    ('PUBLISH to a wildcard', packet(0x30, string('a/+'))),
    ('PUBLISH to no topic', packet(0x30, string(''))),
    ('PUBLISH to bad UTF-8', packet(0x30, string(b'\xff'))),
    ('PUBLISH to a topic with U+0000', packet(0x30, string(b'a\0'))),
    ('PUBREL with flags 0', b'\x60\x02\x00\x01'),
    ('PUBACK with flags', b'\x42\x02\x00\x01'),
    ('PUBACK of three bytes', b'\x40\x03\x00\x01\x00'),
    ('SUBSCRIBE with flags 0', packet(0x80, u16(1) + string('t') + b'\x00')),
    ('SUBSCRIBE at QoS 3', wire.subscribe(V311, 1, [('t', 3)])),
    ('SUBSCRIBE with options of 5.0', wire.subscribe(V311, 1, [('t', 0x05)])),
    ('SUBSCRIBE without a filter', packet(0x82, u16(1))),
    ('UNSUBSCRIBE with flags 0', packet(0xA0, u16(1) + string('t'))),
    ('UNSUBSCRIBE without a filter', packet(0xA2, u16(1))),
    ('PINGREQ with flags', b'\xC1\x00'),
    ('PINGREQ with a body', b'\xC0\x01\x00'),
    ('DISCONNECT with flags', b'\xE1\x00'),
    ('DISCONNECT with a code', b'\xE0\x01\x00'),
    ('a second CONNECT', wire.connect(V311, 'again')),
    ('CONNACK', b'\x20\x02\x00\x00'),
    ('PINGRESP', b'\xD0\x00'),
]
LAX_311 = ('PUBACK of three bytes', 'SUBSCRIBE with options of 5.0', 'DISCONNECT with a code',
           'PUBACK with flags', 'PINGREQ with flags', 'PINGREQ with a body', 'PINGRESP')


@test(each=[(name,) for name, _ in V311_ROWS if name not in LAX_311])
def v311(b, name):
    ends_with(b, next(d for n, d in V311_ROWS if n == name), (), V311)


@test(each=[(name,) for name, _ in V311_ROWS if name in LAX_311], mosquitto='lets it pass')
def v311_too(b, name):
    v311(b, name)


# ---- CONNECT itself: CONNACK with the code, or nothing, then the end; never DISCONNECT.

def refused(b, data, codes, version=V5):
    c = b.client(version)
    c.send(data)
    p = c.recv()
    if p is not None:
        equal(p.type, CONNACK, p)
        equal(p.reason in codes, True, p)
        c.expect_end()


CONNECT_ROWS = [
    ('not CONNECT', wire.publish(V5, 't', b''), ()),
    ('PINGREQ', wire.pingreq(), ()),
    ('nonsense', b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', ()),
    ('flags in the first byte', b'\x11' + wire.connect(V5, 'x')[1:], (0x81,)),
    ('reserved flag', wire.connect(V5, 'x', flags=0x03), (0x81,)),
    ('will QoS 3', wire.connect(V5, 'x', will=Will('t', b''), flags=0x1E), (0x81,)),
    ('will QoS without a will', wire.connect(V5, 'x', flags=0x0A), (0x81,)),
    ('will retain without a will', wire.connect(V5, 'x', flags=0x22), (0x81,)),
    ('another protocol name', wire.connect(V5, 'x', name='MQTT5'), (0x84, 0x81)),
    ('level 6', wire.connect(V5, 'x', level=6), (0x84, 0x01)),
    ('level 0', wire.connect(V5, 'x', level=0), (0x84, 0x01)),
    ('user name flag without a user name', wire.connect(V5, 'x', flags=0x82), (0x81,)),
    ('bytes behind the end', wire.packet(0x10, wire.connect(V5, 'x')[2:] + b'\0'), (0x81,)),
    ('cut off', packet(0x10, wire.connect(V5, 'xyz')[2:-2]), (0x81,)),
    ('client id of bad UTF-8', wire.connect(V5, b'\xff'), (0x81, 0x85)),
    ('will topic with a wildcard', wire.connect(V5, 'x', will=Will('a/#')), (0x81, 0x82, 0x90)),
    ('will topic of bad UTF-8', wire.connect(V5, 'x', will=Will(b'\xff')), (0x81,)),
    ('user name of bad UTF-8', wire.connect(V5, 'x', username=b'\xff'), (0x81,)),
    ('receive maximum 0', wire.connect(V5, 'x', props={'receive_maximum': 0}), (0x82,)),
    ('maximum packet size 0', wire.connect(V5, 'x', props={'maximum_packet_size': 0}), (0x82,)),
    ('request problem information 2',
     wire.connect(V5, 'x', props={'request_problem_information': 2}), (0x82,)),
    ('request response information 2',
     wire.connect(V5, 'x', props={'request_response_information': 2}), (0x82,)),
    ('session expiry twice', wire.connect(V5, 'x', props=[('session_expiry_interval', 1)] * 2),
     (0x82,)),
    ('property of PUBLISH', wire.connect(V5, 'x', props={'topic_alias': 1}), (0x81, 0x82)),
    ('unknown property', wire.connect(V5, 'x', props=[(0x7F, b'\0')]), (0x81, 0x82)),
    ('will delay among the properties of CONNECT',
     wire.connect(V5, 'x', props={'will_delay_interval': 1}), (0x81, 0x82)),
    ('session expiry among the properties of the will',
     wire.connect(V5, 'x', will=Will('t', props={'session_expiry_interval': 1})), (0x81, 0x82)),
    ('will delay twice',
     wire.connect(V5, 'x', will=Will('t', props=[('will_delay_interval', 1)] * 2)), (0x82,)),
    ('authentication data without a method',
     wire.connect(V5, 'x', props={'authentication_data': b''}), (0x82,)),
    ('unknown authentication method',
     wire.connect(V5, 'x', props={'authentication_method': 'nonsense'}), (0x8C, 0x87)),
]
CONNECT_LAX = ('request problem information 2', 'request response information 2',
               'bytes behind the end', 'authentication data without a method')


@test(each=[(name,) for name, _, _ in CONNECT_ROWS if name not in CONNECT_LAX])
def v5_connect(b, name):
    data, codes = next((d, c) for n, d, c in CONNECT_ROWS if n == name)
    refused(b, data, codes)


@test(each=[(name,) for name, _, _ in CONNECT_ROWS if name in CONNECT_LAX],
      mosquitto='lets it pass')
def v5_connect_too(b, name):
    v5_connect(b, name)


@test(only='dunlin', each=[(name,) for name, _, codes in CONNECT_ROWS if codes])
def v5_connect_is_told_why(b, name):
    """Ours answers each bad CONNECT of 5.0 with a CONNACK, as it may [MQTT-3.1.4-2]."""
    data, codes = next((d, c) for n, d, c in CONNECT_ROWS if n == name)
    c = b.client()
    c.send(data)
    equal(c.expect(CONNACK).reason in codes, True)
    c.expect_end()


CONNECT_311_ROWS = [
    ('reserved flag', wire.connect(V311, 'x', flags=0x03), ()),
    ('password without a user name', wire.connect(V311, 'x', password=b'p'), ()),
    ('will QoS 3', wire.connect(V311, 'x', will=Will('t'), flags=0x1E), ()),
    ('will retain without a will', wire.connect(V311, 'x', flags=0x22), ()),
    ('client id with U+0000', wire.connect(V311, b'a\0'), (2,)),
    ('cut off', packet(0x10, wire.connect(V311, 'xyz')[2:-2]), ()),
]


@test(each=CONNECT_311_ROWS)
def v311_connect(b, name, data, codes):
    refused(b, data, codes, V311)


@test
def level_that_is_too_high_is_told_so_in_31(b):
    """The answer, if any, is one that an old client understands: four bytes."""
    c = b.client(V31)
    c.send(wire.connect(V31, 'x', level=9))
    p = c.recv()
    if p is not None:
        equal((p.type, p.reason, p.size), (CONNACK, 1, 4))
        c.expect_end()


# ---- Afterwards

@test(only='dunlin')
def nothing_in_a_bad_packet_takes_effect(b):
    s = b.connected()
    s.subscribe('malformed/effect')
    c = b.connected()
    c.send(wire.publish(V5, 'malformed/effect', b'no', props=[('topic_alias', 0)]))
    c.expect_disconnect(0x94)
    c = b.connected()
    c.send(wire.subscribe(V5, 1, [('malformed/effect', 0), ('t', 0x40)]))
    c.expect_disconnect(0x81)
    b.connected().publish('malformed/effect', b'yes')
    s.expect_message('malformed/effect', b'yes')


@test
def packets_before_the_bad_one_are_served(b):
    s = b.connected()
    s.subscribe('malformed/before')
    c = b.connected()
    c.send(wire.publish(V5, 'malformed/before', b'good'), b'\xE1\x00',
           wire.publish(V5, 'malformed/before', b'never'))
    c.expect_disconnect(0x81)
    b.connected().publish('malformed/before', b'end')
    s.expect_message('malformed/before', b'good')
    s.expect_message('malformed/before', b'end')


@test
def random_bytes_harm_nobody(b):
    """Whatever comes, the broker lives, and serves an onlooker."""
    order = random.Random(20)
    onlooker = b.connected()
    for round_ in range(300):
        c = b.client()
        try:
            if round_ % 2:
                c.connect('')
            good = wire.publish(V5, 'malformed/random', b'x' * 20, 1, 7, props={
                'content_type': 'abc', 'user_property': ('k', 'v')})
            data = bytearray(order.choice([
                bytes(order.randrange(256) for _ in range(order.randrange(1, 60))), good,
                wire.subscribe(V5, 3, [('malformed/r', 1), ('b/+', 2)]), wire.connect(V5, 'r')]))
            for _ in range(order.randrange(4)):
                data[order.randrange(len(data))] = order.randrange(256)
            c.send(bytes(data))
        except (OSError, AssertionError, wire.WireError):
            pass
        c.close()
    onlooker.ping()


@test
def wrong_acknowledgement_of_a_delivery(b):
    """PUBREC for what was sent at QoS 1, PUBACK for QoS 2: not what the exchange is (4.3)."""
    for qos, kind in ((1, PUBREC), (2, wire.PUBACK), (2, PUBCOMP), (1, PUBCOMP)):
        c = b.connected()
        c.subscribe(f'malformed/ack/{qos}', qos=qos)
        b.connected().publish(f'malformed/ack/{qos}', b'x', qos=qos)
        m = c.expect_message(ack=False)
        c.send(wire.ack(kind, m.packet_id))
        c.send(wire.pingreq())
        while True:  # ending it, or minding it not, are both fine; living on is not optional
            p = c.recv()
            if p is None or p.type == wire.PINGRESP:
                break
            equal(p.type in (DISCONNECT, PUBREL), True, p)
        c.close()
