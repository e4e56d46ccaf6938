# SPDX-License-Identifier: Apache-2.0
"""Flow control, packet sizes, topic aliases, in both directions (3.1.2.11, 3.3.2.3.4, 4.9)."""
import random

from harness import equal, test
from raw import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, V311, V5, publish_many, wire

SET = {'limits.receive_maximum': 20, 'limits.packet_bytes_max': 20000}
SECONDS = 4


# ---- Receive maximum, the client's

@test
def client_with_receive_maximum_1_gets_one_at_a_time(b):
    c = b.connected(props={'receive_maximum': 1})
    c.subscribe('flow/one', qos=2)
    p = b.connected()
    for i in range(6):
        p.publish('flow/one', b'%d' % i, qos=1 + i % 2)
    for i in range(6):
        m = c.expect_message('flow/one', b'%d' % i, ack=False)
        c.expect_nothing()
        c.acknowledge(m)
    c.expect_nothing()


@test
def qos_0_passes_a_full_window(b):
    c = b.connected(props={'receive_maximum': 1})
    c.subscribe('flow/full', qos=1)
    p = b.connected()
    p.publish('flow/full', b'in the window', qos=1)
    p.publish('flow/full', b'waits', qos=1)
    p.publish('flow/full', b'passes', qos=0)
    first = c.expect_message('flow/full', b'in the window', ack=False)
    c.expect_message('flow/full', b'passes', qos=0)
    c.acknowledge(first)
    c.expect_message('flow/full', b'waits')


@test
def pubrec_alone_does_not_open_the_window(b):
    c = b.connected(props={'receive_maximum': 1})
    c.subscribe('flow/pubrec', qos=2)
    p = b.connected()
    p.publish('flow/pubrec', b'first', qos=2)
    p.publish('flow/pubrec', b'second', qos=2)
    first = c.expect_message('flow/pubrec', b'first', ack=False)
    c.send(wire.ack(PUBREC, first.packet_id))
    c.expect(PUBREL, packet_id=first.packet_id)
    c.expect_nothing()
    c.send(wire.ack(PUBCOMP, first.packet_id))
    c.expect_message('flow/pubrec', b'second')


@test
def pubrec_with_a_failure_opens_the_window(b):
    c = b.connected(props={'receive_maximum': 1})
    c.subscribe('flow/refused', qos=2)
    p = b.connected()
    p.publish('flow/refused', b'first', qos=2)
    p.publish('flow/refused', b'second', qos=2)
    first = c.expect_message('flow/refused', b'first', ack=False)
    c.send(wire.ack(PUBREC, first.packet_id, 0x80))
    c.expect_message('flow/refused', b'second')
    c.expect_nothing()


@test
def puback_with_a_failure_opens_the_window(b):
    c = b.connected(props={'receive_maximum': 1})
    c.subscribe('flow/nack', qos=1)
    p = b.connected()
    p.publish('flow/nack', b'first', qos=1)
    p.publish('flow/nack', b'second', qos=1)
    first = c.expect_message('flow/nack', b'first', ack=False)
    c.send(wire.ack(PUBACK, first.packet_id, 0x97))
    c.expect_message('flow/nack', b'second')
    c.expect_nothing()


@test
def spurious_acknowledgements_do_not_widen_the_window(b):
    c = b.connected(props={'receive_maximum': 2})
    c.subscribe('flow/spurious', qos=1)
    p = b.connected()
    p.publish('flow/spurious', b'0', qos=1)
    m = c.expect_message('flow/spurious', b'0', ack=False)
    c.send(wire.ack(PUBACK, m.packet_id), wire.ack(PUBACK, m.packet_id),
           wire.ack(PUBACK, 60000), wire.ack(PUBACK, 60001))
    c.ping()
    for i in range(1, 5):
        p.publish('flow/spurious', b'%d' % i, qos=1)
    c.expect_message('flow/spurious', b'1', ack=False)
    c.expect_message('flow/spurious', b'2', ack=False)
    c.expect_nothing()


@test
def window_counts_what_is_resent_after_a_resumption(b):
    keep = {'session_expiry_interval': 300}
    c = b.connected('flow-resumed', clean_start=False, props={**keep, 'receive_maximum': 5})
    c.subscribe('flow/resumed', qos=1)
    p = b.connected()
    for i in range(8):
        p.publish('flow/resumed', b'%d' % i, qos=1)
    for i in range(5):
        c.expect_message('flow/resumed', b'%d' % i, ack=False)
    c.expect_nothing()
    c.drop()
    again = b.connected('flow-resumed', clean_start=False, props={**keep, 'receive_maximum': 2})
    for i in range(8):
        m = again.expect(PUBLISH, payload=b'%d' % i, dup=i < 5)
        if i > 0:
            again.acknowledge(held)
        held = m
    again.expect_nothing()


@test
def packet_ids_of_a_busy_window_are_unique(b):
    """More messages than identifiers, acknowledged out of order, none used twice at a time."""
    c = b.connected(props={'receive_maximum': 50})
    c.subscribe('flow/ids', qos=1)
    p = b.connected()
    order = random.Random(1)
    held, seen = {}, 0
    for at in range(0, 3000, 50):
        publish_many(p, 'flow/ids', [b'%d' % i for i in range(at, at + 50)], qos=1, window=20)
        while len(held) < 50 and seen < at + 50:
            m = c.expect_message('flow/ids', b'%d' % seen, ack=False)
            equal(m.packet_id in held, False, f'packet id {m.packet_id} is in use')
            held[m.packet_id] = m
            seen += 1
        for packet_id in order.sample(sorted(held), 30):
            c.acknowledge(held.pop(packet_id))
    while seen < 3000:
        c.acknowledge(held.pop(min(held))) if held else None
        c.expect_message('flow/ids', b'%d' % seen)
        seen += 1


@test(mosquitto='mixes them up')
def order_behind_a_window_that_opens_and_closes(b):
    """The subscriber takes and acknowledges as it likes; the order per quality of service stays."""
    order = random.Random(3)
    s, p = b.connected(props={'receive_maximum': 20}), b.connected()
    s.subscribe('flow/window', qos=2)
    sent, got = 0, {1: [], 2: []}
    while sent < 1500 or len(got[1]) + len(got[2]) < sent:
        for _ in range(order.randrange(30) if sent < 1500 else 0):
            p.publish('flow/window', b'%d' % sent, qos=order.choice((1, 2)))
            sent += 1
        # Each PUBLISH within the window is on its way, so waiting for one is fine.
        for _ in range(min(order.randrange(1, 40), 20, sent - len(got[1]) - len(got[2]))):
            m = s.expect_message('flow/window', dup=False)
            got[m.qos].append(int(m.payload))
    for qos in (1, 2):
        equal(got[qos], sorted(got[qos]), f'order at QoS {qos}')


# ---- Receive maximum, the broker's

@test
def receive_maximum_of_the_broker_is_told(b):
    equal(b.client().connect('').prop('receive_maximum'), 20)


@test(each=[(1,), (2,)])
def as_many_as_the_broker_allows_are_fine(b, qos):
    if qos == 1:  # acknowledged at once, so never more than the maximum is outstanding
        publish_many(b.connected(), 'flow/allowed', [b'x'] * 200, qos=1, window=20)
        return
    c = b.connected()
    c.send(*(wire.publish(V5, 'flow/allowed', b'x', 2, i + 1) for i in range(20)))
    for i in range(20):
        c.expect(PUBREC, packet_id=i + 1)
    c.send(wire.ack(PUBREL, 1))
    c.expect(PUBCOMP, packet_id=1)
    c.send(wire.publish(V5, 'flow/allowed', b'x', 2, 21))
    c.expect(PUBREC, packet_id=21)


@test(mosquitto='answers PUBREC 0x97')
def more_than_the_broker_allows_is_93(b):
    c = b.connected()
    c.send(*(wire.publish(V5, 'flow/too-many', b'x', 2, i + 1) for i in range(20)))
    for i in range(20):
        c.expect(PUBREC, packet_id=i + 1)
    c.send(wire.publish(V5, 'flow/too-many', b'x', 2, 21))
    c.expect_disconnect(0x93)


@test(mosquitto='closes the connection')
def the_brokers_maximum_does_not_concern_older_clients(b):
    """3.1.1 knows none, and has no word for it [MQTT-4.3.3-2]."""
    c = b.connected(version=V311)
    c.send(*(wire.publish(V311, 'flow/older', b'x', 2, i + 1) for i in range(50)))
    for i in range(50):
        c.expect(PUBREC, packet_id=i + 1)
    c.send(*(wire.ack(PUBREL, i + 1) for i in range(50)))
    for i in range(50):
        c.expect(PUBCOMP, packet_id=i + 1)


@test(mosquitto='answers PUBREC 0x97')
def the_quota_is_whole_again_after_a_resumption(b):
    """What awaits PUBREL from an earlier connection was not sent on this one (4.9)."""
    expiry = {'session_expiry_interval': 60}
    c = b.connected('flow-quota', clean_start=False, props=expiry)
    c.send(*(wire.publish(V5, 'flow/quota', b'x', 2, i + 1) for i in range(20)))
    for i in range(20):
        c.expect(PUBREC, packet_id=i + 1)
    c.drop()
    c = b.connected('flow-quota', clean_start=False, props=expiry)
    c.send(*(wire.publish(V5, 'flow/quota', b'x', 2, i + 1) for i in range(20, 40)))
    for i in range(20, 40):
        c.expect(PUBREC, packet_id=i + 1)
    c.send(*(wire.ack(PUBREL, i + 1) for i in range(40)))
    for i in range(40):
        c.expect(PUBCOMP, packet_id=i + 1)


@test
def a_repeat_does_not_count_twice(b):
    c = b.connected('flow-repeat')
    c.send(*(wire.publish(V5, 'flow/repeat', b'x', 2, i + 1) for i in range(20)))
    for i in range(20):
        c.expect(PUBREC, packet_id=i + 1)
    c.send(*(wire.ack(PUBREL, i + 1) for i in range(20)))
    for i in range(20):
        c.expect(PUBCOMP, packet_id=i + 1)
    c.publish('flow/repeat', b'on', qos=2)


# ---- Packet sizes

@test(each=[(0,), (1,), (2,)], mosquitto='leaves the fixed header out of the size')
def what_is_too_large_for_the_client_is_not_sent(b, qos):
    c = b.connected(props={'maximum_packet_size': 100, 'receive_maximum': 1})
    topic = f'flow/size/{qos}'
    c.subscribe(topic, qos=qos)
    p = b.connected()
    empty = len(wire.publish(V5, topic, b'', qos, 1 if qos else None))
    p.publish(topic, b'x' * (101 - empty), qos=qos)
    fits = b'y' * (100 - empty)
    p.publish(topic, fits, qos=qos)
    m = c.expect_message(topic, fits)
    equal(m.size <= 100, True, f'{m.size} bytes')
    c.expect_nothing()


@test
def one_who_takes_less_does_not_rob_the_others(b):
    small = b.connected(props={'maximum_packet_size': 200})
    large = b.connected()
    for c in (small, large):
        c.subscribe('flow/mixed', qos=1)
    p = b.connected()
    p.publish('flow/mixed', b'x' * 1000, qos=1)
    p.publish('flow/mixed', b'end', qos=1)
    large.expect_message('flow/mixed', b'x' * 1000)
    large.expect_message('flow/mixed', b'end')
    small.expect_message('flow/mixed', b'end')


@test
def maximum_packet_size_of_the_broker_is_told(b):
    equal(b.client().connect('').prop('maximum_packet_size'), 20000)


@test(each=[(V311,), (V5,)], mosquitto='leaves the fixed header out of the size')
def the_largest_packet_passes_and_one_byte_more_is_95(b, version):
    topic = f'flow/largest/{version}'
    s = b.connected()
    s.subscribe(topic, qos=1)
    c = b.connected(f'flow-largest-{version}', version)
    empty = len(wire.publish(version, topic, b'', 1, 1)) + 2  # and two more for the length
    c.publish(topic, b'x' * (20000 - empty), qos=1)
    if version == V5:
        equal(s.expect_message(topic).size, 20000)
    c.send(wire.publish(version, topic, b'x' * (20001 - empty), 1, 9))
    c.expect_disconnect(0x95)
    b.connected().publish(topic, b'end', qos=1)
    if version != V5:
        equal(len(s.expect_message(topic).payload), 20000 - empty)
    s.expect_message(topic, b'end')


@test
def connect_that_is_too_large_is_95(b):
    c = b.client()
    c.send(wire.connect(V5, 'x' * 30000))
    p = c.recv()
    if p is not None:
        equal((p.type, p.reason), (wire.CONNACK, 0x95))
        c.expect_end()


@test
def the_length_alone_is_enough_to_refuse(b):
    """A packet that will be too large is not waited for."""
    c = b.connected()
    c.send(b'\x30\xff\xff\xff\x7f')
    c.expect_disconnect(0x95)


# ---- Topic aliases, the client's

@test
def alias_stands_for_its_topic(b):
    s = b.connected()
    s.subscribe('flow/alias/#', qos=1)
    c = b.client()
    equal(c.connect('').prop('topic_alias_maximum', 0) >= 2, True, 'the broker takes two aliases')
    c.publish('flow/alias/a', b'1', qos=1, props={'topic_alias': 1})
    c.publish('flow/alias/b', b'2', qos=1, props={'topic_alias': 2})
    c.publish('', b'3', qos=1, props={'topic_alias': 1})
    c.publish('', b'4', qos=1, props={'topic_alias': 2})
    c.publish('flow/alias/c', b'5', qos=1, props={'topic_alias': 1})
    c.publish('', b'6', qos=1, props={'topic_alias': 1})
    c.publish('flow/alias/a', b'7', qos=1)
    for topic, body in ('a1', 'b2', 'a3', 'b4', 'c5', 'c6', 'a7'):
        m = s.expect_message(f'flow/alias/{topic}', body.encode())
        equal(m.prop('topic_alias'), None, 'alias towards a client that allows none')


@test
def aliases_are_of_one_connection(b):
    keep = {'session_expiry_interval': 300}
    c = b.connected('flow-alias', clean_start=False, props=keep)
    c.publish('flow/alias-gone', b'1', qos=1, props={'topic_alias': 1})
    c.drop()
    again = b.connected('flow-alias', clean_start=False, props=keep)
    again.send(wire.publish(V5, '', b'2', 1, 9, props={'topic_alias': 1}))
    again.expect_disconnect(0x82)


@test
def unknown_alias_is_82(b):
    c = b.connected()
    c.send(wire.publish(V5, '', b'x', props={'topic_alias': 1}))
    c.expect_disconnect(0x82)


@test
def no_topic_and_no_alias_is_82(b):
    c = b.connected()
    c.send(wire.publish(V5, '', b'x'))
    c.expect_disconnect(0x82)


@test
def alias_0_is_94(b):
    c = b.connected()
    c.send(wire.publish(V5, 'flow/alias-0', b'x', props={'topic_alias': 0}))
    c.expect_disconnect(0x94)


@test
def alias_over_the_maximum_is_94(b):
    c = b.client()
    maximum = c.connect('').prop('topic_alias_maximum', 0)
    c.publish('flow/alias-max', b'x', qos=1, props={'topic_alias': maximum})
    c.send(wire.publish(V5, 'flow/alias-max', b'x', props={'topic_alias': maximum + 1}))
    c.expect_disconnect(0x94)


# ---- Topic aliases, the broker's

class Aliases:
    """What a client knows of the server's aliases."""

    def __init__(self, maximum):
        self.maximum, self.topics, self.used = maximum, {}, 0

    def topic(self, p):
        alias = p.prop('topic_alias')
        if alias is None:
            return p.topic
        equal(1 <= alias <= self.maximum, True, f'alias {alias} of {self.maximum}')
        if p.topic:
            self.topics[alias] = p.topic
        else:
            self.used += 1
        return self.topics[alias]


@test
def the_broker_keeps_to_the_aliases_that_the_client_allows(b):
    """Ten topics, three aliases, all qualities of service: each message arrives with its topic."""
    c = b.connected(props={'topic_alias_maximum': 3})
    c.subscribe('flow/aliases/#', qos=2)
    p = b.connected()
    aliases, order = Aliases(3), random.Random(2)
    sent = [(f'flow/aliases/a/rather/long/topic/name/{order.randrange(10)}', b'%d' % i, i % 3)
            for i in range(300)]
    for at in range(0, 300, 10):
        for topic, body, qos in sent[at:at + 10]:
            p.publish(topic, body, qos=qos)
        for topic, body, qos in sent[at:at + 10]:
            m = c.expect_message(payload=body, qos=qos)
            equal(aliases.topic(m), topic)


@test(only='dunlin')
def the_broker_saves_bytes_with_aliases(b):
    c = b.connected(props={'topic_alias_maximum': 3})
    topic = 'flow/saved/' + 'x' * 200
    c.subscribe(topic, qos=1)
    p = b.connected()
    aliases = Aliases(3)
    for i in range(20):
        p.publish(topic, b'%d' % i, qos=1)
        equal(aliases.topic(c.expect_message(payload=b'%d' % i)), topic)
    equal(aliases.used > 0, True, 'aliases were used')


@test
def resent_messages_have_their_topic(b):
    """Aliases end with the connection, so what comes again must not count on one."""
    props = {'session_expiry_interval': 300, 'topic_alias_maximum': 5}
    c = b.connected('flow-alias-again', clean_start=False, props=props)
    topic = 'flow/alias-again/' + 'x' * 100
    c.subscribe(topic, qos=1)
    p = b.connected()
    aliases = Aliases(5)
    for i in range(5):
        p.publish(topic, b'%d' % i, qos=1)
        equal(aliases.topic(c.expect_message(payload=b'%d' % i, ack=False)), topic)
    c.drop()
    again = b.connected('flow-alias-again', clean_start=False, props=props)
    aliases = Aliases(5)
    for i in range(5):
        equal(aliases.topic(again.expect_message(payload=b'%d' % i, dup=True)), topic)
