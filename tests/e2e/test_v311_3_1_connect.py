# SPDX-License-Identifier: Apache-2.0
"""MQTT 3.1.1, sections 3.1.0 to 3.1.2: CONNECT, its flags, wills, keep alive. See v311.py."""
import time

from harness import equal, pass_time, test
from raw import CONNACK, PUBACK, PUBLISH, PUBREC, PUBREL, V31, V311, Will, wire
from wire import string

from v311 import (client, connect, connect_body, end_mark, exactly, not_retained,
                  resumed, retained, rows, sensor, subscribe, subscriber, turned_away, unsubscribe)

SECONDS = 12

# Whole packets of each other type, none of which may come before CONNECT.
NOT_CONNECT = {
    'PUBLISH': sensor('3.1.0-1', b'x', 1),
    'PUBLISH at QoS 1': sensor('3.1.0-1', b'x', 3, 1),
    'PUBLISH at QoS 2': sensor('3.1.0-1', b'x', 5, 1),
    'PUBACK': wire.ack(PUBACK, 1),
    'PUBREC': wire.ack(PUBREC, 1),
    'PUBREL': wire.ack(PUBREL, 1),
    'PUBCOMP': wire.ack(wire.PUBCOMP, 1),
    'SUBSCRIBE': subscribe(1, ('3.1.0-1', 1)),
    'UNSUBSCRIBE': unsubscribe(1, '3.1.0-1'),
    'PINGREQ': wire.pingreq(),
    'DISCONNECT': wire.disconnect(V311),
}


@test(each=rows(NOT_CONNECT))
def v311_mqtt_3_1_0_1(b, name):
    """The first packet is CONNECT. After any other the connection ends, and it has no effect."""
    s = subscriber(b, '3.1.0-1')
    turned_away(b, NOT_CONNECT[name], connect('3.1.0-1'))
    s.expect_nothing()
    not_retained(b, '3.1.0-1')


@test(each=rows({'same': 0, 'another id': 0, 'malformed': 0}),
      mosquitto='does not publish the will')
def v311_mqtt_3_1_0_2(b, which):
    """A second CONNECT is a violation, and ends the connection as one: the will is published."""
    o = subscriber(b, '3.1.0-2')
    c = client(b, '3.1.0-2', will=Will('3.1.0-2', b'first'))
    second = {'same': connect('3.1.0-2'), 'another id': connect('3.1.0-2b'),
              'malformed': b'\x10\x00'}[which]
    c.send(second)
    c.expect_end()
    o.expect_message('3.1.0-2', b'first')
    end_mark(b, o, '3.1.0-2')


# ---- Protocol name and level

@test(each=rows(dict.fromkeys(('MQTX', 'mqtt', 'MQT', 'MQTTT', '', 'MQIsdp', 'MQTT '))))
def v311_mqtt_3_1_2_1(b, name):
    """With another protocol name than MQTT it is not 3.1.1: the server closes, perhaps after saying
    that it has not the version."""
    c = b.client(V311)
    c.send(connect('3.1.2-1', name=name))
    p = c.recv()
    if p is not None:
        equal((p.type, p.reason), (CONNACK, 1))
        c.expect_end()


@test
def v311_mqtt_3_1_2_1_of_31(b):
    """The name of 3.1 with its level is 3.1, if the server has that."""
    c = b.client(V31)
    c.send(wire.connect(V31, '3.1.2-1'))
    p = c.recv()
    equal(p is None or (p.type, p.reason) in ((CONNACK, 0), (CONNACK, 1)), True, p)


@test(each=[(0,), (1,), (2,), (3,), (6,), (0x44,), (255,)])
@test(each=[(0x84,)], mosquitto='takes it for a bridge of its own')
def v311_mqtt_3_1_2_2(b, level):
    """A protocol level that the server has not: CONNACK with code 1, then the end."""
    c = b.client(V311)
    c.send(connect('3.1.2-2', level=level))
    exactly(c, b'\x20\x02\x00\x01')
    c.expect_end()


@test(each=[(0x01,), (0x03,), (0xC7,)])
def v311_mqtt_3_1_2_3(b, flags):
    """The reserved bit of the connect flags is 0; otherwise the server closes."""
    turned_away(b, connect_body(flags, string('3.1.2-3'), string('3.1.2-3'), string('w'),
                                string('u'), string('p')))
    turned_away(b, connect('3.1.2-3', flags=0x03))


# ---- Clean session

@test(each=rows({'disconnect': 0, 'drop': 0}))
def v311_mqtt_3_1_2_4(b, how):
    """Without clean session the session goes on: there is none at first, it is kept when the
    connection ends, and its subscriptions work when the client is back."""
    name, topic = f'3.1.2-4-{how}', f'3.1.2-4/{how}'
    c = b.client(V311)
    equal(c.connect(name, clean_start=False).session_present, False)
    c.subscribe(topic, qos=1)
    getattr(c, how)()
    c = resumed(b, name)
    client(b).publish(topic, b'live', qos=1)
    c.expect_message(topic, b'live', qos=1)
    getattr(c, how)()
    resumed(b, name)


@test(each=[(1,), (2,)])
def v311_mqtt_3_1_2_5(b, qos):
    """What comes for a session while its client is away is stored, at QoS 1 and 2."""
    name, topic = f'3.1.2-5-{qos}', f'3.1.2-5/{qos}'
    c = client(b, name, clean=False)
    c.subscribe(topic, qos=qos)
    c.disconnect()
    p = client(b)
    for i in range(5):
        p.publish(topic, b'%d' % i, qos=qos)
    c = resumed(b, name)
    for i in range(5):
        c.expect_message(topic, b'%d' % i, qos=qos, dup=False)


@test
def v311_mqtt_3_1_2_6(b):
    """Clean session: what was before is discarded."""
    c = client(b, '3.1.2-6', clean=False)
    c.subscribe('3.1.2-6', qos=1)
    c.disconnect()
    client(b).publish('3.1.2-6', b'stored', qos=1)
    c = b.client(V311)
    equal(c.connect('3.1.2-6', clean_start=True).session_present, False)
    client(b).publish('3.1.2-6', b'later', qos=1)
    c.expect_nothing()


@test(each=rows({'disconnect': 0, 'drop': 0}))
def v311_mqtt_3_1_2_6_afterwards(b, how):
    """Clean session: the session ends with the connection, and nothing of it is used again."""
    name, topic = f'3.1.2-6-{how}', f'3.1.2-6/{how}'
    c = client(b, name, clean=True)
    c.subscribe(topic, qos=1)
    client(b).publish(topic, b'unacknowledged', qos=1)
    c.expect(PUBLISH, topic=topic)
    getattr(c, how)()
    c = b.client(V311)
    equal(c.connect(name, clean_start=False).session_present, False)
    client(b).publish(topic, b'later', qos=1)
    c.expect_nothing()


@test(each=rows({True: 0, False: 0}, {'disconnect': 0, 'drop': 0}))
def v311_mqtt_3_1_2_7(b, clean, how):
    """Retained messages are not of the session, and stay when it ends."""
    topic = f'3.1.2-7/{clean}/{how}'
    c = client(b, f'3.1.2-7-{clean}-{how}', clean=clean)
    c.publish(topic, b'stays', qos=1, retain=True)
    getattr(c, how)()
    client(b, f'3.1.2-7-{clean}-{how}', clean=True).disconnect()
    equal(retained(b, topic).payload, b'stays')


# ---- Will

def lose(b, c, how, client_id):
    """Ends a connection in one of the ways other than DISCONNECT."""
    if how == 'drop':
        c.drop()
    elif how == 'takeover':
        client(b, client_id)
        c.expect_end()
    elif how == 'malformed packet':
        c.send(b'\x80\x00')
        c.expect_end()
    elif how == 'cut off':
        c.send(b'\x30\x10\x00')
        c.drop()
    else:
        assert how == 'silence'
        c.expect_end()


@test(each=rows(dict.fromkeys(('drop', 'takeover', 'malformed packet', 'cut off', 'silence'))))
def v311_mqtt_3_1_2_8(b, how):
    """The will is stored with the connection and published when it ends, however it does, but for
    DISCONNECT."""
    name, topic = f'3.1.2-8-{how}', f'3.1.2-8/{how}'
    o = subscriber(b, topic)
    c = client(b, name, will=Will(topic, b'gone', qos=1), keep_alive=1 if how == 'silence' else 60)
    o.expect_nothing()
    lose(b, c, how, name)
    o.expect_message(topic, b'gone', qos=1)


@test
def v311_mqtt_3_1_2_8_disconnect(b):
    """DISCONNECT removes the will."""
    o = subscriber(b, '3.1.2-8/not')
    client(b, will=Will('3.1.2-8/not', b'gone')).disconnect()
    end_mark(b, o, '3.1.2-8/not')


@test(each=rows({0: 0, 1: 0, 2: 0}, {False: 0, True: 0}))
def v311_mqtt_3_1_2_9(b, qos, retain):
    """The will's QoS and retain flags are those of the message; its topic and payload stand in
    CONNECT."""
    topic = f'3.1.2-9/{qos}/{retain}'
    o = subscriber(b, topic)
    client(b, will=Will(topic, b'w%d' % qos, qos=qos, retain=retain)).drop()
    o.expect_message(topic, b'w%d' % qos, qos=qos, retain=False)
    if retain:
        kept = retained(b, topic)
        equal((kept.qos, kept.payload, kept.retain), (qos, b'w%d' % qos, True))
    else:
        not_retained(b, topic)


@test(each=rows({'both fields': 0, 'message': 0, 'rest of the message': 0, 'rest of the topic': 0}))
def v311_mqtt_3_1_2_9_missing(b, what):
    """With the will flag the will's topic and message are there; if not, the server closes."""
    turned_away(b, connect_body(0x06, string('3.1.2-9'), {
        'both fields': b'', 'message': string('t'), 'rest of the message': string('t') + b'\0\5xx',
        'rest of the topic': b'\0\7tt'}[what]))


@test
def v311_mqtt_3_1_2_10(b):
    """A will that was published is gone: it does not come again when the same client's next
    connection, without one, is lost; nor does one that DISCONNECT removed."""
    o = subscriber(b, '3.1.2-10')
    client(b, '3.1.2-10', clean=False, will=Will('3.1.2-10', b'once')).drop()
    o.expect_message('3.1.2-10', b'once')
    resumed(b, '3.1.2-10').drop()
    end_mark(b, o, '3.1.2-10')
    resumed(b, '3.1.2-10', will=Will('3.1.2-10', b'never')).disconnect()
    resumed(b, '3.1.2-10').drop()
    end_mark(b, o, '3.1.2-10')


@test(each=rows({'QoS 1': 0x0A, 'QoS 2': 0x12, 'retain': 0x22, 'all': 0x3A}))
def v311_mqtt_3_1_2_11(b, bits):
    """Without the will flag there is no will QoS and no will retain."""
    flags = {'QoS 1': 0x0A, 'QoS 2': 0x12, 'retain': 0x22, 'all': 0x3A}[bits]
    turned_away(b, connect('3.1.2-11', flags=flags))


@test
def v311_mqtt_3_1_2_11_fields(b):
    """Without the will flag there are no fields of a will."""
    turned_away(b, connect_body(0x02, string('3.1.2-11'), string('t'), string('w')))


@test
def v311_mqtt_3_1_2_12(b):
    """Without the will flag nothing is published when the connection is lost."""
    o = subscriber(b, '3.1.2-12/#')
    o.ping()  # or what is retained now may come twice
    client(b, '3.1.2-12', clean=False, will=Will('3.1.2-12/w', b'former')).disconnect()
    c = resumed(b, '3.1.2-12')
    c.publish('3.1.2-12/t', b'mine', qos=1, retain=True)
    o.expect_message('3.1.2-12/t', b'mine')
    c.drop()
    end_mark(b, o, '3.1.2-12/t')


@test(each=[(1,), (2,), (3,)])
def v311_mqtt_3_1_2_13(b, qos):
    """Without the will flag the will QoS is 0."""
    turned_away(b, connect('3.1.2-13', flags=0x02 | qos << 3))


@test(each=[(False,), (True,)])
def v311_mqtt_3_1_2_14(b, retain):
    """The will QoS is not 3."""
    o = subscriber(b, '3.1.2-14')
    turned_away(b, connect('3.1.2-14', will=Will('3.1.2-14', b'w', qos=3, retain=retain)))
    end_mark(b, o, '3.1.2-14')


@test
def v311_mqtt_3_1_2_15(b):
    """Without the will flag the will retain flag is 0."""
    turned_away(b, connect('3.1.2-15', flags=0x22))


@test
def v311_mqtt_3_1_2_16(b):
    """Will retain 0: the will is published as a message that is not retained, and leaves an older
    one that is."""
    o = subscriber(b, '3.1.2-16', '3.1.2-16/old')
    o.ping()  # or what is retained now may come twice
    client(b).publish('3.1.2-16/old', b'old', qos=1, retain=True)
    o.expect_message('3.1.2-16/old', b'old')
    for topic in ('3.1.2-16', '3.1.2-16/old'):
        client(b, will=Will(topic, b'w', qos=1)).drop()
        o.expect_message(topic, b'w', qos=1)
    not_retained(b, '3.1.2-16')
    equal(retained(b, '3.1.2-16/old').payload, b'old')


@test
def v311_mqtt_3_1_2_17(b):
    """Will retain 1: the will is published as a retained message; an empty one removes what was
    retained."""
    o = subscriber(b, '3.1.2-17')
    o.ping()  # or what is retained now may come twice
    client(b, will=Will('3.1.2-17', b'w', qos=1, retain=True)).drop()
    o.expect_message('3.1.2-17', b'w', retain=False)
    kept = retained(b, '3.1.2-17')
    equal((kept.payload, kept.retain), (b'w', True))
    client(b, will=Will('3.1.2-17', b'', qos=1, retain=True)).drop()
    o.expect_message('3.1.2-17', b'')
    not_retained(b, '3.1.2-17')


# ---- User name and password

@test
def v311_mqtt_3_1_2_18(b):
    """Without the user name flag there is no user name."""
    turned_away(b, connect_body(0x02, string('3.1.2-18'), string('user')))


@test(each=rows({'missing': 0, 'cut off': 0, 'half a length': 0}))
def v311_mqtt_3_1_2_19(b, what):
    """With the user name flag there is a user name."""
    rest = {'missing': b'', 'cut off': b'\0\4use', 'half a length': b'\0'}[what]
    turned_away(b, connect_body(0x82, string('3.1.2-19'), rest))


@test
def v311_mqtt_3_1_2_20(b):
    """Without the password flag there is no password."""
    turned_away(b, connect_body(0x82, string('3.1.2-20'), string('user'), string('pass')))


@test(each=rows({'missing': 0, 'cut off': 0, 'half a length': 0}))
def v311_mqtt_3_1_2_21(b, what):
    """With the password flag there is a password."""
    rest = {'missing': b'', 'cut off': b'\0\4pas', 'half a length': b'\0'}[what]
    turned_away(b, connect_body(0xC2, string('3.1.2-21'), string('user'), rest))


@test(each=rows({'password': 0, 'none': 0}))
def v311_mqtt_3_1_2_22(b, what):
    """Without the user name flag the password flag is 0."""
    turned_away(b, connect_body(0x42, string('3.1.2-22'),
                                string('pass') if what == 'password' else b''))


# ---- Keep alive

def lasted(c, begin):
    c.expect_end()
    return time.monotonic() - begin


@test(mosquitto='looks every five seconds')
def v311_mqtt_3_1_2_24(b):
    """Silence of one and a half times the keep alive, and not less, is a lost connection: the
    server closes, and the will is published."""
    o = subscriber(b, '3.1.2-24')
    begin = time.monotonic()
    c = client(b, keep_alive=1, will=Will('3.1.2-24', b'silent', qos=1))
    took = lasted(c, begin)
    equal(1.45 < took < 3.5, True, f'closed after {took:.2f} s')
    o.expect_message('3.1.2-24', b'silent')


@test(mosquitto='looks every five seconds')
def v311_mqtt_3_1_2_24_any_packet(b):
    """Every packet of the client counts, not PINGREQ alone; those of the server do not."""
    quiet = subscriber(b, '3.1.2-24/x', keep_alive=1)
    begin = time.monotonic()
    pings, publishes = client(b, keep_alive=1), client(b, keep_alive=1)
    while time.monotonic() - begin < 2.4:
        pings.ping()
        publishes.publish('3.1.2-24/x', b'tick')
        pass_time(0.4)
    pings.ping()
    publishes.publish('3.1.2-24/x', b'tock', qos=1)
    while (p := quiet.recv()) is not None:
        equal(p.type, PUBLISH)
        equal(p.payload, b'tick', 'sent to one who has been silent for too long')


@test
def v311_mqtt_3_1_2_24_off(b):
    """A keep alive of 0 turns it off, and one of another client is not that of this one."""
    off, hour = client(b, keep_alive=0), client(b, keep_alive=3600)
    client(b, keep_alive=1).expect_end()
    pass_time(0.5)
    off.ping()
    hour.ping()
