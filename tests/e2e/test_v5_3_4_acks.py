# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 3.4 to 3.7: PUBACK, PUBREC, PUBREL, PUBCOMP."""
from harness import equal, test
from norm5 import CODES, ended, subscriber
from raw import NAMES, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, V5, wire

SECONDS = 1

# What clients may send, which is what servers may; the rest is foreign.
FOREIGN = {kind: sorted(set(range(256)) - CODES[kind]) for kind in
           (PUBACK, PUBREC, PUBREL, PUBCOMP)}


def foreign_codes_end_it(b, kind):
    for code in FOREIGN[kind]:
        if code == 0x10:
            continue
        c = b.connected()
        c.send(wire.ack(kind, 1, code))
        ended(c, 0x81, 0x82, what=f'{code:02x}')


def answers(c, kind, qos):
    """What comes for PUBLISH to a topic that nobody, somebody, and no client may publish to."""
    c.subscribe('acks/some', qos=0)
    found = []
    for topic in ('acks/none', 'acks/some', '$SYS/acks', '/'.join('x' * 200)):
        c.send(wire.publish(V5, topic, b'', qos, 1))
        found.append(c.wait_for(kind, 1))
        if qos == 2 and found[-1].reason < 0x80:
            c.send(wire.ack(PUBREL, 1))
            c.wait_for(PUBCOMP, 1)
    return found


def small_enough(b, kind, what):
    """Provoked with a small Maximum Packet Size: the packet still comes, is within it, and has no
    `what` that would have made it larger."""
    for size in (40, 42, 45, 50, 60):
        c = b.connected('acks-small', props={'maximum_packet_size': size})
        if kind in (PUBACK, PUBREC):
            c.send(wire.publish(V5, '$SYS/x', b'', 1 if kind == PUBACK else 2, 1))
        else:
            c.send(wire.ack(PUBREL if kind == PUBCOMP else PUBREC, 999))
        p = c.expect(kind)
        equal(p.size <= size, True, p)
        c.ping()
    # With room for it, it may be there; then it must be what made the difference above.
    equal(p.prop(what) is None or p.size > 8, True)


@test
def v5_mqtt_3_4_2_1(b):
    """PUBACK has codes of its own: the server sends no others …"""
    for p in answers(b.connected(), PUBACK, 1):
        equal(p.reason in CODES[PUBACK], True, p)


@test
def v5_mqtt_3_4_2_1_client(b):
    """… and takes no others."""
    foreign_codes_end_it(b, PUBACK)


@test
def v5_mqtt_3_4_2_2(b):
    """No Reason String makes PUBACK larger than the client takes."""
    small_enough(b, PUBACK, 'reason_string')


@test
def v5_mqtt_3_4_2_3(b):
    """No User Property does."""
    small_enough(b, PUBACK, 'user_property')


@test(each=[(NAMES[kind], form) for kind in (PUBACK, PUBREC, PUBREL, PUBCOMP)
            for form in ('id', 'id and code', 'no properties', 'properties')])
def v5_u5_3_4_2_a(b, kind, form):
    """Acknowledgements may end after the id, after the code, or after the properties."""
    kind = NAMES.index(kind)

    def ack(number, packet_id):
        if number != kind:
            return wire.ack(number, packet_id)
        return wire.ack(number, packet_id, None if form == 'id' else 0,
                        {'no properties': [], 'properties': {
                            'reason_string': 'fine', 'user_property': ('k', 'v')}}.get(form))
    s = subscriber(b, 'acks/forms', props={'receive_maximum': 1})
    p = b.connected()
    for _ in range(2):  # the second one comes only if the first was understood
        p.send(wire.publish(V5, 'acks/forms', b'', 2, 1))
        p.expect(PUBREC, packet_id=1)
        p.send(ack(PUBREL, 1))
        p.expect(PUBCOMP, packet_id=1, reason=0)
        m = s.expect(PUBLISH)
        s.send(ack(PUBREC, m.packet_id))
        s.expect(PUBREL, packet_id=m.packet_id, reason=0)
        s.send(ack(PUBCOMP, m.packet_id))
        p.publish('acks/forms', b'', 1)
        m = s.expect(PUBLISH)
        s.send(ack(PUBACK, m.packet_id))
    s.ping()


@test(each=[(NAMES[kind],) for kind in (PUBACK, PUBREC, PUBREL, PUBCOMP)])
def v5_u5_3_4_2_b(b, kind):
    """A Reason String comes at most once."""
    c = b.connected()
    c.send(wire.ack(NAMES.index(kind), 1, 0, [('reason_string', 'a')] * 2))
    ended(c, 0x82)


@test
def v5_u5_3_4_2_c(b):
    """Without subscribers the code is 0 or 10, and QoS 2 goes on with PUBREL."""
    c = b.connected()
    c.send(wire.publish(V5, 'acks/nobody', b'', 1, 1), wire.publish(V5, 'acks/nobody', b'', 2, 2))
    equal(c.expect(PUBACK, packet_id=1).reason in (0, 0x10), True)
    equal(c.expect(PUBREC, packet_id=2).reason in (0, 0x10), True)
    c.send(wire.ack(PUBREL, 2))
    c.expect(PUBCOMP, packet_id=2, reason=0)
    subscriber(b, 'acks/nobody', qos=0)
    c.send(wire.publish(V5, 'acks/nobody', b'', 1, 3))
    c.expect(PUBACK, packet_id=3, reason=0)


@test
def v5_mqtt_3_5_2_1(b):
    """PUBREC has codes of its own: the server sends no others …"""
    for p in answers(b.connected(), PUBREC, 2):
        equal(p.reason in CODES[PUBREC], True, p)


@test
def v5_mqtt_3_5_2_1_client(b):
    """… and takes no others."""
    foreign_codes_end_it(b, PUBREC)


@test
def v5_mqtt_3_5_2_2(b):
    """No Reason String makes PUBREC larger than the client takes."""
    small_enough(b, PUBREC, 'reason_string')


@test
def v5_mqtt_3_5_2_3(b):
    """No User Property does."""
    small_enough(b, PUBREC, 'user_property')


@test(each=[(flags,) for flags in range(16) if flags != 2])
def v5_mqtt_3_6_1_1(b, flags):
    """The flags of PUBREL are 2; others are malformed."""
    c = b.connected()
    c.publish('acks/flags', b'', 0)
    c.send(wire.publish(V5, 'acks/flags', b'', 2, 1))
    c.expect(PUBREC)
    c.send(bytes([0x60 | flags]) + b'\x02\x00\x01')
    ended(c, 0x81)


@test
def v5_mqtt_3_6_1_1_server(b):
    """… in the server's too."""
    s = subscriber(b, 'acks/62')
    b.connected().publish('acks/62', b'', 2)
    m = s.expect(PUBLISH)
    s.send(wire.ack(PUBREC, m.packet_id))
    equal(s.expect(PUBREL).raw[0], 0x62)


@test
def v5_mqtt_3_6_2_1(b):
    """PUBREL has codes of its own: 0 and 92, from the server …"""
    s = subscriber(b, 'acks/rel')
    b.connected().publish('acks/rel', b'', 2)
    m = s.expect(PUBLISH)
    s.send(wire.ack(PUBREC, m.packet_id), wire.ack(PUBREC, 999))
    s.expect(PUBREL, packet_id=m.packet_id, reason=0)
    equal(s.expect(PUBREL, packet_id=999).reason in CODES[PUBREL], True)


@test
def v5_mqtt_3_6_2_1_client(b):
    """… and from clients."""
    foreign_codes_end_it(b, PUBREL)
    c = b.connected()
    for code in CODES[PUBREL]:
        c.send(wire.ack(PUBREL, 7, code))
        c.expect(PUBCOMP, packet_id=7)


@test
def v5_mqtt_3_6_2_2(b):
    """No Reason String makes PUBREL larger than the client takes."""
    small_enough(b, PUBREL, 'reason_string')


@test
def v5_mqtt_3_6_2_3(b):
    """No User Property does."""
    small_enough(b, PUBREL, 'user_property')


@test
def v5_u5_3_6_2_a(b):
    """An unknown id: PUBREL is answered with PUBCOMP 92, PUBREC with PUBREL 92, and all goes on."""
    c = b.connected()
    c.send(wire.ack(PUBREL, 999), wire.ack(PUBREC, 999), wire.pingreq())
    c.expect(PUBCOMP, packet_id=999, reason=0x92)
    c.expect(PUBREL, packet_id=999, reason=0x92)
    c.expect(PINGRESP)


@test
def v5_mqtt_3_7_2_1(b):
    """PUBCOMP has codes of its own: 0 and 92, from the server …"""
    c = b.connected()
    c.send(wire.publish(V5, 'acks/comp', b'', 2, 1), wire.ack(PUBREL, 1), wire.ack(PUBREL, 1))
    c.expect(PUBREC)
    c.expect(PUBCOMP, packet_id=1, reason=0)
    equal(c.expect(PUBCOMP, packet_id=1).reason in CODES[PUBCOMP], True)


@test
def v5_mqtt_3_7_2_1_client(b):
    """… and from clients."""
    foreign_codes_end_it(b, PUBCOMP)


@test
def v5_mqtt_3_7_2_2(b):
    """No Reason String makes PUBCOMP larger than the client takes."""
    small_enough(b, PUBCOMP, 'reason_string')


@test
def v5_mqtt_3_7_2_3(b):
    """No User Property does."""
    small_enough(b, PUBCOMP, 'user_property')
