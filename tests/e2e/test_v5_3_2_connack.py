# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 3.2: CONNACK, and what the server says there that it can."""
import time

from harness import equal, pass_time, test
from norm5 import CODES, FOREVER, KEPT, ended, gone, refused, resumed, rows, subscriber
from raw import CONNACK, V5, Will, wire
from wire import packet

SECONDS = 10

REFUSALS = {
    'authentication method': ({'props': {'authentication_method': 'no-such'}}, (0x8C, 0x87)),
    'will topic with a wildcard': ({'will': Will('a/#')}, (0x81, 0x82, 0x90)),
    'reserved flag': ({'flags': 0x03}, (0x81,)),
    'property twice': ({'props': [('receive_maximum', 1)] * 2}, (0x82,)),
    'another level': ({'level': 6}, (0x84, 0x01)),
    'another name': ({'name': 'MQTX'}, (0x84, 0x81)),
    'bad client id': ({'client_id': b'\xff'}, (0x81, 0x85)),
}


def refusal(b, name, client_id='c32'):
    """CONNACK, if there was one; then the end."""
    how, codes = REFUSALS[name]
    return refused(b, wire.connect(V5, **{'client_id': client_id, 'clean_start': False, **how}),
                   *codes, what=name)


@test
def v5_mqtt_3_2_0_1(b):
    """CONNACK comes before all else, also when a session has much to send."""
    b.connected().publish('first/retained', b'r', 1, retain=True)
    c = subscriber(b, 'first/#', client_id='first', props=KEPT)
    c.expect_message('first/retained')
    c.drop()
    p = b.connected()
    for _ in range(20):
        p.publish('first/queued', b'q', 1)
    c = b.client()
    c.send(wire.connect(V5, 'first', clean_start=False, props=KEPT), wire.pingreq(),
           wire.subscribe(V5, 1, [('first/#', 1)]))
    equal(c.expect(CONNACK).session_present, True)
    equal(c.recv() is not None, True)


@test
def v5_mqtt_3_2_0_1_none(b):
    """… so that when it is too large for the client nothing comes at all."""
    subscriber(b, 'f', client_id='none', props=KEPT).drop()
    b.connected().publish('f', b'', 1)
    c = b.client()
    c.send(wire.connect(V5, 'none', clean_start=False, props={'maximum_packet_size': 10, **KEPT}))
    p = c.recv()
    equal(p is None or p.type == CONNACK, True, p)


@test
def v5_mqtt_3_2_0_2(b):
    """There is one CONNACK on a connection, whatever the client sends."""
    for data in (wire.connect(V5, 'once'),
                 wire.auth(0x19, {'authentication_method': 'x'})):
        c = b.connected('once')
        c.send(data)
        while (p := c.recv()) is not None:
            equal(p.type != CONNACK, True, p)


@test
def v5_mqtt_3_2_2_1(b):
    """Bits 7 to 1 of its flags are 0."""
    fresh = b.client()
    equal(fresh.connect('flags', props=KEPT).raw[2], 0)
    fresh.drop()
    equal(b.client().connect('flags', clean_start=False).raw[2], 1)
    for name in REFUSALS:
        p = refusal(b, name)
        equal(p is None or p.raw[2] == 0, True, name)


@test
def v5_mqtt_3_2_2_2(b):
    """Accepted with Clean Start: Session Present is 0, even if there was a session."""
    b.connected('present', props=KEPT).drop()
    equal(b.client().connect('present', clean_start=True).session_present, False)


@test
def v5_mqtt_3_2_2_3(b):
    """Accepted without: 1 if there is a session, be it empty, 0 if not, or if it has expired."""
    c = b.client()
    equal(c.connect('state', clean_start=False, props=KEPT).session_present, False)
    c.drop()
    c = resumed(b, 'state', props={'session_expiry_interval': 1})
    c.drop()
    pass_time(1.6)
    gone(b, 'state')


@test(each=rows(REFUSALS))
def v5_mqtt_3_2_2_6(b, name):
    """Refused: Session Present is 0, even if there is a session, which stays."""
    client_id = f'refused-{name}'
    subscriber(b, 'x', client_id=client_id, props=KEPT).drop()
    p = refusal(b, name, client_id)
    equal(p is None or not p.session_present, True)
    resumed(b, client_id)


@test(each=rows(REFUSALS))
def v5_mqtt_3_2_2_7(b, name):
    """A refusal is followed by the end, without delay."""
    begin = time.monotonic()
    refusal(b, name)
    equal(time.monotonic() - begin < 2, True)


@test(each=rows(REFUSALS))
def v5_mqtt_3_2_2_8(b, name):
    """Its code is one of those for CONNACK."""
    p = refusal(b, name)
    # To a level that it does not know the server answers in the form of 3.1.1 if it likes.
    equal(p is None or p.reason in CODES[CONNACK] | ({1} if name == 'another level' else set()),
          True, p)


@test
def v5_mqtt_3_2_2_9(b):
    """A server that does all QoS says nothing of a Maximum QoS, and does them."""
    s = b.client()
    equal(s.connect('').prop('maximum_qos'), None)
    s.subscribe('all-qos', qos=2)
    for qos in (0, 1, 2):
        b.connected().publish('all-qos', b'', qos)
        s.expect_message('all-qos', qos=qos)


MORE = {
    'PUBLISH QoS 0': lambda n: wire.publish(V5, 'size', b'x' * (n - 3 - 6 - 1)),
    'PUBLISH QoS 1': lambda n: wire.publish(V5, 'size', b'x' * (n - 3 - 6 - 2 - 1), 1, 1),
    'SUBSCRIBE': lambda n: wire.subscribe(V5, 1, [('f', 0)], props=filler(n - 3 - 2 - 4)),
    'UNSUBSCRIBE': lambda n: wire.unsubscribe(V5, 1, ['f'], props=filler(n - 3 - 2 - 3)),
    'PUBACK': lambda n: wire.ack(4, 1, 0, props=filler(n - 3 - 3)),
}


def filler(size):
    """Properties, their length of two bytes included, of that size."""
    return [('user_property', ('k', 'v' * (size - 2 - 6)))]


@test(each=rows(MORE))
def v5_mqtt_3_2_2_15(b, kind):
    """A packet of the server's Maximum Packet Size is fine, one byte more is 95."""
    other = b.another({'limits.packet_bytes_max': 1000})
    c = other.client()
    equal(c.connect('').prop('maximum_packet_size'), 1000)
    data = MORE[kind](1000)
    equal(len(data), 1000, 'the test itself')
    c.send(data)
    c.ping()
    c.send(MORE[kind](1001))
    while (p := c.recv()) is not None and p.type != wire.DISCONNECT:
        pass
    equal(p is None or p.reason == 0x95, True, p)


@test
def v5_mqtt_3_2_2_15_length(b):
    """… closed without waiting for the rest."""
    other = b.another({'limits.packet_bytes_max': 1000})
    c = other.connected()
    c.send(packet(0x30, b'', remaining_length=100000))
    ended(c, 0x95)


@test
def v5_mqtt_3_2_2_16(b):
    """An assigned id is no other session's, be that connected or away."""
    away = []
    for _ in range(20):
        c = b.client()
        away.append(c.connect('', props=KEPT).prop('assigned_client_identifier'))
        c.drop()
    for _ in range(50):
        c = b.client()
        p = c.connect('', clean_start=False)
        equal((p.session_present, p.prop('assigned_client_identifier') in away), (False, False))


@test
def v5_mqtt_3_2_2_17(b):
    """Aliases up to the server's Topic Alias Maximum are fine, one more is 94."""
    c = b.client()
    maximum = c.connect('').prop('topic_alias_maximum', 0)
    equal(maximum > 0, True, 'this server takes aliases by default')
    c.publish('alias', b'', 1, props={'topic_alias': maximum})
    c.send(wire.publish(V5, 'alias', b'', 1, 9, props={'topic_alias': maximum + 1}))
    ended(c, 0x94)


@test
def v5_mqtt_3_2_2_18(b):
    """Where the Topic Alias Maximum is absent or 0, any alias is 94."""
    other = b.another({'limits.topic_alias_maximum': 0})
    c = other.client()
    equal(c.connect('').prop('topic_alias_maximum', 0), 0)
    c.send(wire.publish(V5, 'alias', b'', 1, 9, props={'topic_alias': 1}))
    ended(c, 0x94)


def sizes_of_connack(b, what):
    """No CONNACK, good or bad, is larger than the client takes, and it has no `what` if without
    that it would have fitted."""
    for more in ({}, {'authentication_method': 'no-such'}):
        whole = b.client()
        whole.send(wire.connect(V5, 'c32-size', props={'maximum_packet_size': 1000, **more}))
        size = whole.expect(CONNACK).size
        for limit in range(5, size + 5):
            c = b.client()
            c.send(wire.connect(V5, 'c32-size', props={'maximum_packet_size': limit, **more}))
            p = c.recv()
            equal(p is None or p.type == CONNACK and p.size <= limit, True, p)
            if limit >= size:
                equal(p is not None, True, f'{limit} bytes are enough')
            c.close()
    c = b.client()
    equal(c.connect('c32-size', props={'maximum_packet_size': 16}).prop(what), None)


@test
def v5_mqtt_3_2_2_19(b):
    """No Reason String makes CONNACK larger than the client takes."""
    sizes_of_connack(b, 'reason_string')


@test
def v5_mqtt_3_2_2_20(b):
    """No User Property makes CONNACK larger than the client takes."""
    sizes_of_connack(b, 'user_property')


@test
def v5_mqtt_3_2_2_21(b):
    """A Server Keep Alive counts for the client, so it must ping by it: then it stays."""
    other = b.another({'limits.keep_alive_max_s': 1})
    by_it, by_its_own = other.client(), other.client()
    for c in (by_it, by_its_own):
        equal(c.connect('', keep_alive=30).prop('server_keep_alive'), 1)
    for _ in range(4):
        pass_time(0.6)
        by_it.ping()
    ended(by_its_own, 0x8D)


@test
def v5_mqtt_3_2_2_22(b):
    """Without a Server Keep Alive the client's own counts."""
    begin = time.monotonic()
    c = b.client()
    equal(c.connect('', keep_alive=1).prop('server_keep_alive'), None)
    ended(c, 0x8D)
    equal(1.4 <= time.monotonic() - begin <= 4.0, True)


@test
def v5_u5_3_2_2_a(b):
    """Another Session Expiry than asked for is told, and counts; none told: the client's own."""
    other = b.another({'limits.session_expiry_max_s': 1})
    for asked in (2, 60, FOREVER):
        c = other.client()
        p = c.connect(f'expiry-{asked}', props={'session_expiry_interval': asked})
        equal(p.prop('session_expiry_interval'), 1)
        c.drop()
    for asked in (0, 1):
        p = other.client().connect('', props={'session_expiry_interval': asked})
        equal(p.prop('session_expiry_interval') in (None, asked), True)
    pass_time(1.6)
    gone(other, 'expiry-60')
    gone(other, f'expiry-{FOREVER}')


@test
def v5_u5_3_2_2_b(b):
    """What it says is legal: no 0 for sizes, 0 or 1 for what is available, each once."""
    for props in ({}, KEPT, {'request_response_information': 1, 'topic_alias_maximum': 9}):
        p = b.client().connect('', props=props)  # the parser refuses what comes twice
        equal(p.prop('receive_maximum', 1) > 0, True, p)
        equal(p.prop('maximum_packet_size', 1) > 0, True, p)
        equal(p.prop('maximum_qos', 0) in (0, 1), True, p)
        for name in ('retain_available', 'wildcard_subscription_available',
                     'subscription_identifier_available', 'shared_subscription_available'):
            equal(p.prop(name, 1) in (0, 1), True, p)
