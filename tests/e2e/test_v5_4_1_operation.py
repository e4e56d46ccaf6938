# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 4.1 to 4.6: sessions, transport, the QoS exchanges, redelivery, order."""
from harness import equal, pass_time, test
from norm5 import KEPT, collected, gone, quiet, resumed, retained_on, subscriber
from raw import PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, V5, Will, publish_many, wire

SECONDS = 10
SHORT = {'session_expiry_interval': 1}

# ---- 4.1 Sessions


@test
def v5_mqtt_4_1_0_1(b):
    """The session stays as long as the connection, however short its expiry."""
    c = subscriber(b, 'session/open', client_id='session-open', props=SHORT)
    c.send(wire.publish(V5, 'session/x', b'', 2, 5))
    c.expect(PUBREC, packet_id=5)
    pass_time(1.6)
    s = subscriber(b, 'session/x')
    b.connected().publish('session/open', b'x', 1)
    c.expect_message('session/open')
    c.send(wire.publish(V5, 'session/x', b'', 2, 5, dup=True), wire.ack(PUBREL, 5))
    c.expect(PUBREC, packet_id=5)
    c.expect(PUBCOMP, packet_id=5, reason=0)
    quiet(s, c, 'session/x')


@test
def v5_mqtt_4_1_0_2(b):
    """It ends once the connection is closed and the expiry has passed, with all that it holds."""
    for client_id, props in (('ends-1', SHORT), ('ends-0', None)):
        subscriber(b, 'session/ends', client_id=client_id, props=props).drop()
    subscriber(b, 'session/ends', client_id='ends-d', props=KEPT).disconnect(0, SHORT)
    subscriber(b, 'session/ends', client_id='ends-not', props=KEPT).drop()
    p = b.connected()
    p.publish('session/ends', b'x', 1)
    gone(b, 'ends-0')
    pass_time(1.6)
    for client_id in ('ends-1', 'ends-d'):
        c = b.client()
        equal(c.connect(client_id, clean_start=False).session_present, False)
        p.publish('session/ends', b'y', 1)
        equal(collected(c, p), [])
    resumed(b, 'ends-not').expect_message('session/ends', b'x')


ITEMS = ('existence', 'subscription', 'unacknowledged', 'waiting', 'received', 'will', 'end')


@test(each=[(item,) for item in ITEMS])
def v5_u5_4_1_0_a(b, item):
    """What a session holds is there when it is resumed."""
    client_id, topic = f'holds-{item}', f'session/{item}'
    p = b.connected()
    if item == 'existence':
        b.connected(client_id, props=KEPT).drop()
        resumed(b, client_id)
    elif item == 'subscription':
        c = b.connected(client_id, props=KEPT)
        c.subscribe(topic, qos=1, retain_as_published=True, props={'subscription_identifier': 8})
        c.drop()
        c = resumed(b, client_id)
        p.publish(topic, b'x', 2, retain=True)
        c.expect_message(topic, qos=1, retain=True, subscription_identifier=8)
    elif item == 'unacknowledged':
        c = subscriber(b, topic, client_id=client_id, props=KEPT)
        publish_many(p, topic, [b'1', b'2'], 2)
        publish_many(p, topic, [b'3'], 1)
        ids = [c.expect(PUBLISH).packet_id for _ in range(3)]
        c.send(wire.ack(PUBREC, ids[0]))
        c.expect(PUBREL, packet_id=ids[0])
        c.drop()
        c = resumed(b, client_id)
        c.expect(PUBREL, packet_id=ids[0])
        c.expect(PUBLISH, packet_id=ids[1], payload=b'2', dup=True, qos=2)
        c.expect(PUBLISH, packet_id=ids[2], payload=b'3', dup=True, qos=1)
    elif item == 'waiting':
        subscriber(b, topic, client_id=client_id, props=KEPT).drop()
        for qos in (1, 2):
            p.publish(topic, b'%d' % qos, qos)
        c = resumed(b, client_id)
        for qos in (1, 2):
            c.expect_message(topic, b'%d' % qos, qos=qos, dup=False)
    elif item == 'received':
        s = subscriber(b, topic)
        c = b.connected(client_id, props=KEPT)
        c.send(wire.publish(V5, topic, b'x', 2, 3))
        c.expect(PUBREC, packet_id=3)
        c.drop()
        c = resumed(b, client_id)
        c.send(wire.ack(PUBREL, 3))
        c.expect(PUBCOMP, packet_id=3, reason=0)
        s.expect_message(topic, b'x')
        quiet(s, c, topic)
    elif item == 'will':
        s = subscriber(b, topic)
        will = Will(topic, b'gone', props={'will_delay_interval': 1})
        b.connected(client_id, props=KEPT, will=will).drop()
        s.expect_message(topic, b'gone')
    else:
        b.connected(client_id, props=SHORT).drop()
        resumed(b, client_id, props=SHORT).drop()
        pass_time(1.6)
        gone(b, client_id)


@test
def v5_u5_4_1_0_b(b):
    """Retained messages belong to no session."""
    c = b.connected('session-retained')
    c.publish('session/retained', b'x', 1, retain=True)
    c.disconnect()
    gone(b, 'session-retained')
    equal(retained_on(b, 'session/retained'), [('session/retained', b'x')])


# ---- 4.2 Transport

STREAM = [wire.connect(V5, 'stream', will=Will('t', b'p', props={'content_type': 'x'}), props=KEPT),
          wire.subscribe(V5, 1, [('stream/a', 1)], {'subscription_identifier': 200}),
          wire.publish(V5, 'stream/a', b'x' * 200, 2, 2, props={'user_property': ('k', 'v')}),
          wire.ack(PUBREL, 2), wire.unsubscribe(V5, 3, ['stream/a']), wire.pingreq()]


def answers(c):
    """All up to PINGRESP, in an order that does not depend on how shards run."""
    found = []
    while (p := c.recv()).type != PINGRESP:
        found.append(str(p) if p.type != PUBLISH else p.payload)
    return sorted(map(str, found))


@test
def v5_mqtt_4_2_1(b):
    """Bytes come over TCP in order and whole, wherever they are cut."""
    whole = b''.join(STREAM)

    def run(*pieces):
        c = b.client()
        for piece in pieces:
            c.send(piece)
        found = answers(c)
        c.send(wire.disconnect(V5, 0, {'session_expiry_interval': 0}))
        c.expect_end()
        return found
    want = run(*STREAM)
    equal(len(want), 6, want)
    equal(run(whole), want)
    equal(run(*(whole[i:i + 1] for i in range(len(whole)))), want)
    for cut in range(1, len(whole), 3):
        equal(run(whole[:cut], whole[cut:]), want, f'cut at {cut}')


# ---- 4.3 QoS

@test
def v5_mqtt_4_3_1_1(b):
    """QoS 0: sent with QoS 0 and DUP 0."""
    low, high = subscriber(b, 'q0/t', qos=0), subscriber(b, 'q0/t', qos=2)
    p = b.connected()
    p.publish('q0/t', b'1', 2, dup=False)
    low.expect_message('q0/t', b'1', qos=0, dup=False, packet_id=None)
    p.publish('q0/t', b'2', 0)
    high.expect_message('q0/t', b'1')
    high.expect_message('q0/t', b'2', qos=0, dup=False, packet_id=None)


def new_ids(b, qos):
    """Ids of messages, while two of them stay unacknowledged: all that are open differ."""
    s = subscriber(b, f'ids/{qos}', qos=qos)
    p = b.connected()
    publish_many(p, f'ids/{qos}', [b'held'] * 2, qos)
    held = {s.expect(PUBLISH).packet_id for _ in range(2)}
    equal(len(held), 2)
    for i in range(300):
        p.publish(f'ids/{qos}', b'%d' % i, qos)
        m = s.expect_message(payload=b'%d' % i, dup=False, qos=qos)
        equal(m.packet_id in held or m.packet_id == 0, False)


@test
def v5_mqtt_4_3_2_1(b):
    """QoS 1: each new message has an id that is not in use."""
    new_ids(b, 1)


@test
def v5_mqtt_4_3_3_1(b):
    """QoS 2: each new message has an id that is not in use."""
    new_ids(b, 2)


@test
def v5_mqtt_4_3_2_2(b):
    """QoS 1: first sent with an id, QoS 1, DUP 0."""
    s = subscriber(b, 'q1/first', qos=1)
    b.connected().publish('q1/first', b'x', 2)
    equal(s.expect_message(qos=1, dup=False).raw[0], 0x32)


@test
def v5_mqtt_4_3_3_2(b):
    """QoS 2: first sent with an id, QoS 2, DUP 0."""
    s = subscriber(b, 'q2/first', qos=2)
    b.connected().publish('q2/first', b'x', 2)
    equal(s.expect_message(qos=2, dup=False).raw[0], 0x34)


@test
def v5_mqtt_4_3_2_3(b):
    """QoS 1: unacknowledged until PUBACK for its id comes, and then no more."""
    c = subscriber(b, 'q1/un', client_id='q1-un', qos=1, props=KEPT)
    b.connected().publish('q1/un', b'x', 1)
    m = c.expect(PUBLISH)
    c.send(wire.ack(PUBACK, m.packet_id % 65535 + 1))
    c.ping()
    c.drop()
    c = resumed(b, 'q1-un')
    c.expect(PUBLISH, packet_id=m.packet_id, dup=True)
    c.send(wire.ack(PUBACK, m.packet_id))
    c.ping()
    c.drop()
    resumed(b, 'q1-un').expect_nothing()


@test
def v5_mqtt_4_3_2_3_pubrec(b):
    """… nor does PUBREC settle it."""
    c = subscriber(b, 'q1/rec', client_id='q1-rec', qos=1, props=KEPT)
    b.connected().publish('q1/rec', b'x', 1)
    m = c.expect(PUBLISH)
    c.send(wire.ack(PUBREC, m.packet_id))
    p = c.recv()
    if p is not None and p.type == PUBREL:
        equal(p.reason, 0x92)
        c.drop()
    else:
        equal(p is None or p.reason == 0x82, True, p)
        c.close()
    resumed(b, 'q1-rec').expect(PUBLISH, packet_id=m.packet_id, dup=True)


@test
def v5_mqtt_4_3_2_4(b):
    """QoS 1: PUBACK has the message's id, and says that the server has taken it over."""
    subscriber(b, 'q1/own', client_id='q1-own', qos=1, props=KEPT).drop()
    for packet_id in (1, 0x1234, 65535):
        p = b.connected()
        p.send(wire.publish(V5, 'q1/own', b'%d' % packet_id, 1, packet_id))
        p.expect(PUBACK, packet_id=packet_id, reason=0)
        p.close()
    c = resumed(b, 'q1-own')
    for packet_id in (1, 0x1234, 65535):
        c.expect_message('q1/own', b'%d' % packet_id)


@test(each=[(False,), (True,)])
def v5_mqtt_4_3_2_5(b, dup):
    """QoS 1: after PUBACK the id is that of a new message, whatever its DUP."""
    s = subscriber(b, f'q1/again/{dup}')
    p = b.connected()
    for i, flag in ((1, False), (2, dup)):
        p.send(wire.publish(V5, f'q1/again/{dup}', b'%d' % i, 1, 7, dup=flag))
        p.expect(PUBACK, packet_id=7, reason=0)
    s.expect_message(payload=b'1')
    s.expect_message(payload=b'2')


@test
def v5_mqtt_4_3_3_3(b):
    """QoS 2: unacknowledged until PUBREC."""
    c = subscriber(b, 'q2/un', client_id='q2-un', props=KEPT)
    b.connected().publish('q2/un', b'x', 2)
    m = c.expect(PUBLISH)
    c.drop()
    c = resumed(b, 'q2-un')
    c.expect(PUBLISH, packet_id=m.packet_id, dup=True, qos=2, payload=b'x')


@test(each=[(0x00,), (0x80,), (0x97,)])
def v5_mqtt_4_3_3_4(b, code):
    """QoS 2: PUBREC is answered by PUBREL with its id, unless it refuses."""
    s = subscriber(b, f'q2/rec/{code}', props={'receive_maximum': 1})
    p = b.connected()
    p.publish(f'q2/rec/{code}', b'1', 2)
    m = s.expect(PUBLISH)
    s.send(wire.ack(PUBREC, m.packet_id, code))
    if code < 0x80:
        s.expect(PUBREL, packet_id=m.packet_id, reason=0)
    else:
        p.publish(f'q2/rec/{code}', b'2', 2)
        s.expect(PUBLISH, payload=b'2')


@test
def v5_mqtt_4_3_3_5(b):
    """QoS 2: PUBREL is unacknowledged until PUBCOMP, and then no more."""
    c = subscriber(b, 'q2/rel', client_id='q2-rel', props=KEPT)
    b.connected().publish('q2/rel', b'x', 2)
    m = c.expect(PUBLISH)
    c.send(wire.ack(PUBREC, m.packet_id))
    c.expect(PUBREL, packet_id=m.packet_id)
    for _ in range(2):
        c.drop()
        c = resumed(b, 'q2-rel')
        c.expect(PUBREL, packet_id=m.packet_id)
    c.send(wire.ack(PUBCOMP, m.packet_id))
    c.ping()
    c.drop()
    resumed(b, 'q2-rel').expect_nothing()


@test
def v5_mqtt_4_3_3_6(b):
    """QoS 2: once PUBREL was sent, PUBLISH does not come again."""
    c = subscriber(b, 'q2/only', client_id='q2-only', props=KEPT)
    b.connected().publish('q2/only', b'x', 2)
    m = c.expect(PUBLISH)
    c.send(wire.ack(PUBREC, m.packet_id))
    c.expect(PUBREL)
    c.drop()
    c = resumed(b, 'q2-only')
    c.expect(PUBREL, packet_id=m.packet_id)
    c.expect_nothing()


@test
def v5_mqtt_4_3_3_7(b):
    """QoS 2: a message that was sent does not expire any more."""
    live = subscriber(b, 'q2/expiry')
    away = subscriber(b, 'q2/expiry', client_id='q2-expiry', props=KEPT)
    b.connected().publish('q2/expiry', b'x', 2, props={'message_expiry_interval': 1})
    m, n = live.expect(PUBLISH), away.expect(PUBLISH)
    away.drop()
    pass_time(1.3)
    live.send(wire.ack(PUBREC, m.packet_id))
    live.expect(PUBREL, packet_id=m.packet_id, reason=0)
    resumed(b, 'q2-expiry').expect(PUBLISH, packet_id=n.packet_id, dup=True)


@test
def v5_mqtt_4_3_3_8(b):
    """QoS 2: PUBREC has the message's id, and says that the server has taken it over."""
    s = subscriber(b, 'q2/own')
    p = b.connected('q2-own', props=KEPT)
    p.send(wire.publish(V5, 'q2/own', b'x', 2, 0x1234))
    p.expect(PUBREC, packet_id=0x1234, reason=0)
    p.drop()
    p = resumed(b, 'q2-own')
    p.send(wire.ack(PUBREL, 0x1234))
    p.expect(PUBCOMP, packet_id=0x1234, reason=0)
    s.expect_message('q2/own', b'x')


@test
def v5_mqtt_4_3_3_9(b):
    """QoS 2: after a PUBREC that refuses the id is free for a new message."""
    s = subscriber(b, 'q2/refused')
    p = b.connected()
    p.send(wire.publish(V5, '$SYS/refused', b'x', 2, 5))
    equal(p.expect(PUBREC, packet_id=5).reason >= 0x80, True)
    p.send(wire.publish(V5, 'q2/refused', b'y', 2, 5), wire.ack(PUBREL, 5))
    p.expect(PUBREC, packet_id=5, reason=0)
    p.expect(PUBCOMP, packet_id=5, reason=0)
    s.expect_message('q2/refused', b'y')


@test(each=[('live',), ('resumed',)])
def v5_mqtt_4_3_3_10(b, how):
    """QoS 2: the same id before PUBREL gets PUBREC again, and is delivered once."""
    topic = f'q2/twice/{how}'
    s = subscriber(b, topic)
    p = b.connected(f'q2-twice-{how}', props=KEPT)
    for dup in (False, True, True):
        p.send(wire.publish(V5, topic, b'x', 2, 5, dup=dup))
        equal(p.expect(PUBREC, packet_id=5).reason < 0x80, True)
        if how == 'resumed':
            p.drop()
            p = resumed(b, f'q2-twice-{how}')
    p.send(wire.ack(PUBREL, 5))
    p.expect(PUBCOMP, packet_id=5, reason=0)
    s.expect_message(topic, b'x')
    quiet(s, p, topic)


@test
def v5_mqtt_4_3_3_11(b):
    """QoS 2: PUBREL is answered by PUBCOMP with its id, each time."""
    p = b.connected()
    for packet_id in (5, 256, 65535):
        p.send(wire.publish(V5, 'q2/comp', b'', 2, packet_id))
        p.expect(PUBREC, packet_id=packet_id)
    for packet_id in (65535, 5, 256, 5):
        p.send(wire.ack(PUBREL, packet_id))
        p.expect(PUBCOMP, packet_id=packet_id)


@test(each=[(False,), (True,)])
def v5_mqtt_4_3_3_12(b, dup):
    """QoS 2: after PUBCOMP the id is that of a new message."""
    topic = f'q2/anew/{dup}'
    s = subscriber(b, topic)
    p = b.connected()
    for i, flag in ((1, False), (2, dup)):
        p.send(wire.publish(V5, topic, b'%d' % i, 2, 5, dup=flag), wire.ack(PUBREL, 5))
        p.expect(PUBREC, packet_id=5, reason=0)
        p.expect(PUBCOMP, packet_id=5, reason=0)
    s.expect_message(payload=b'1')
    s.expect_message(payload=b'2')


@test
def v5_mqtt_4_3_3_13(b):
    """QoS 2: the exchange goes on after the message has expired."""
    p = b.connected()
    p.send(wire.publish(V5, 'q2/late', b'', 2, 5, props={'message_expiry_interval': 1}))
    p.expect(PUBREC, packet_id=5)
    pass_time(1.2)
    p.send(wire.ack(PUBREL, 5))
    p.expect(PUBCOMP, packet_id=5, reason=0)


# ---- 4.4 Redelivery

@test
def v5_mqtt_4_4_0_1(b):
    """PUBLISH and PUBREL without an answer come again when the session is resumed, with their ids,
    once, in order; and at no other time."""
    c = subscriber(b, 'again', client_id='again', props=KEPT)
    p = b.connected()
    for i in range(6):
        p.publish('again', b'%d' % i, 1 + i % 2)
    ids = [c.expect(PUBLISH).packet_id for _ in range(6)]
    c.send(wire.ack(PUBREC, ids[1]))
    c.expect(PUBREL, packet_id=ids[1])
    for _ in range(4):
        pass_time(0.3)
        c.expect_nothing()
    c.drop()
    c = resumed(b, 'again')
    for i in range(6):
        if i == 1:
            c.expect(PUBREL, packet_id=ids[1])
        else:
            c.expect(PUBLISH, packet_id=ids[i], dup=True, payload=b'%d' % i, qos=1 + i % 2)
    c.expect_nothing()


@test(each=[(0x80,), (0x83,), (0x87,), (0x97,)])
def v5_mqtt_4_4_0_2(b, code):
    """PUBACK and PUBREC that refuse settle it, too: it does not come again."""
    c = subscriber(b, f'refuse/{code}', client_id=f'refuse-{code}', props=KEPT)
    p = b.connected()
    for qos in (1, 2):
        p.publish(f'refuse/{code}', b'x', qos)
        m = c.expect(PUBLISH)
        c.send(wire.ack(PUBACK if qos == 1 else PUBREC, m.packet_id, code))
    c.ping()
    c.drop()
    resumed(b, f'refuse-{code}').expect_nothing()


# ---- 4.5, 4.6

@test
def v5_mqtt_4_5_0_1(b):
    """Every session that has subscribed gets the message, be it connected or not."""
    topics = ('all/#', 'all/+', 'all/x', '#', '+/x')
    new = {'retain_handling': 2}
    online = [subscriber(b, f, opts=new) for f in topics]
    for i, f in enumerate(topics):
        subscriber(b, f, client_id=f'all-{i}', opts=new, props=KEPT).drop()
    p = b.connected()
    for qos in (1, 2):
        p.publish('all/x', b'%d' % qos, qos)
    for c in online + [resumed(b, f'all-{i}') for i in range(len(topics))]:
        for qos in (1, 2):
            c.expect_message('all/x', b'%d' % qos, qos=qos)
    for c in online:
        equal([m for m in collected(c, p) if not m.topic.startswith('norm5/end/')], [])


@test(each=[(1,), (2,)])
def v5_mqtt_4_6_0_1(b, qos):
    """What is sent again, is so in its first order."""
    c = subscriber(b, f'order/re/{qos}', client_id=f'order-re-{qos}', props=KEPT)
    publish_many(b.connected(), f'order/re/{qos}', [b'%d' % i for i in range(50)], qos)
    ids = [c.expect(PUBLISH).packet_id for _ in range(50)]
    for _ in range(2):
        c.drop()
        c = resumed(b, f'order-re-{qos}')
        for i in range(50):
            c.expect(PUBLISH, packet_id=ids[i], payload=b'%d' % i, dup=True)


def acks_in_order(b, qos):
    p = b.connected()
    ids = [5, 3, 65535, 1, 4, 2, 1000]
    p.send(*(wire.publish(V5, f'order/acks/{i % 3}', b'', qos, i, retain=i == 3) for i in ids))
    for i in ids:
        p.expect(PUBACK if qos == 1 else PUBREC, packet_id=i)


@test
def v5_mqtt_4_6_0_2(b):
    """PUBACKs come in the order of the messages."""
    acks_in_order(b, 1)


@test
def v5_mqtt_4_6_0_3(b):
    """PUBRECs come in the order of the messages."""
    acks_in_order(b, 2)


@test
def v5_mqtt_4_6_0_4(b):
    """PUBRELs come in the order of the PUBRECs."""
    s = subscriber(b, 'order/rel')
    publish_many(b.connected(), 'order/rel', [b''] * 4, 2)
    ids = [s.expect(PUBLISH).packet_id for _ in range(4)]
    order = [ids[i] for i in (2, 0, 3, 1)]
    s.send(*(wire.ack(PUBREC, i) for i in order))
    for i in order:
        s.expect(PUBREL, packet_id=i)


@test(each=[(qos, granted) for qos in (0, 1, 2) for granted in (0, 1, 2)])
def v5_mqtt_4_6_0_5(b, qos, granted):
    """Messages of one client on one topic come in the order in which it has sent them: to who is
    quick, has a small window, or has been away."""
    topic = f'order/{qos}/{granted}'
    quick = subscriber(b, topic, qos=granted)
    narrow = subscriber(b, topic, qos=granted, props={'receive_maximum': 3})
    away = subscriber(b, topic, qos=granted, client_id=topic, props=KEPT)
    away.drop()
    payloads = [b'%d' % i for i in range(300)]
    publish_many(b.connected(), topic, payloads, qos)
    if min(qos, granted) > 0:
        away = resumed(b, topic)
        for payload in payloads:
            away.expect_message(topic, payload)
    for c in (quick, narrow):
        for payload in payloads:
            c.expect_message(topic, payload)


@test
def v5_mqtt_4_6_0_6(b):
    """Every topic is ordered, for each of its publishers."""
    s = subscriber(b, 'order/two', qos=1)
    publishers = [b.connected() for _ in range(2)]
    for start in range(0, 200, 10):
        for which, p in enumerate(publishers):
            p.send(*(wire.publish(V5, 'order/two', b'%d %d' % (which, i), 1, p.next_id())
                     for i in range(start, start + 10)))
    seen = {0: [], 1: []}
    for _ in range(400):
        which, i = map(int, s.expect_message('order/two').payload.split())
        seen[which].append(i)
    equal(seen, {0: list(range(200)), 1: list(range(200))})
