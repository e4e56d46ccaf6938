# SPDX-License-Identifier: Apache-2.0
"""Delivery: quality of service, order, properties, and bytes in any pieces (3.3, 4.3, 4.6)."""
import threading

from harness import equal, pass_time, test
from raw import (PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, V31, V311, V5, publish_many, wire)

SET = {'limits.packet_bytes_max': 4000000}
SECONDS = 12


# ---- Order (4.6)

class Flow:
    """A publisher in a thread of its own."""

    def __init__(self, client, *arguments, **how):
        self.failure = None
        self.thread = threading.Thread(target=self._run, args=(client, arguments, how))
        self.thread.start()

    def _run(self, client, arguments, how):
        try:
            publish_many(client, *arguments, **how)
        except Exception as e:  # raised by join()
            self.failure = e

    def join(self):
        self.thread.join()
        if self.failure:
            raise self.failure


@test(each=[(v, q) for v in (V311, V5) for q in (0, 1, 2)], timeout=60)
def order_of_10000_messages(b, version, qos):
    topic = f'delivery/order/{version}/{qos}'
    s = b.connected(f'order-s-{version}-{qos}', version)
    s.subscribe(topic, qos=qos)
    bodies = [b'%d' % i for i in range(10000)]
    # Small steps at QoS 0, so that the subscriber can follow: nothing promises it more.
    flow = Flow(b.connected(f'order-p-{version}-{qos}', version), topic, bodies, qos=qos, window=20)
    received, released = 0, 0
    while received < 10000 or (qos == 2 and released < 10000):
        p = s.recv()
        if p.type == PUBLISH:
            equal((p.payload, p.qos, p.dup), (bodies[received], qos, False))
            received += 1
            if qos:
                s.send(wire.ack(PUBACK if qos == 1 else PUBREC, p.packet_id))
        else:
            equal(p.type, PUBREL)
            s.send(wire.ack(PUBCOMP, p.packet_id))
            released += 1
    flow.join()


@test(full=True, timeout=60)
def order_from_many_publishers_to_many_subscribers(b):
    """Eight publishers on two topics each, four subscribers: order per publisher and topic."""
    subscribers = [b.connected() for _ in range(4)]
    for s in subscribers:
        s.subscribe('delivery/many/+/+', qos=1)
    flows = []
    for i in range(8):
        for topic in 'xy':
            bodies = [b'%d' % n for n in range(250)]
            flows.append(Flow(b.connected(), f'delivery/many/{i}/{topic}', bodies, qos=1))
    for s in subscribers:
        next_of = {}
        for _ in range(8 * 2 * 250):
            m = s.expect_message()
            equal(int(m.payload), next_of.get(m.topic, 0), f'order on {m.topic}')
            next_of[m.topic] = int(m.payload) + 1
    for flow in flows:
        flow.join()


@test
def order_of_queued_and_live_messages(b):
    """What was queued comes before what is published while it is being sent."""
    keep = {'session_expiry_interval': 300, 'receive_maximum': 3}
    c = b.connected('delivery-queued', clean_start=False, props=keep)
    c.subscribe('delivery/queued', qos=1)
    c.disconnect()
    p = b.connected()
    publish_many(p, 'delivery/queued', [b'%d' % i for i in range(50)], qos=1, window=10)
    again = b.connected('delivery-queued', clean_start=False, props=keep)
    publish_many(p, 'delivery/queued', [b'%d' % i for i in range(50, 80)], qos=1, window=10)
    for i in range(80):
        again.expect_message('delivery/queued', b'%d' % i)


@test
def acknowledgements_come_in_order(b):
    """PUBACK and PUBREC in the order of their PUBLISH, each kind (3.1.1, 4.6)."""
    for version in (V311, V5):
        c = b.connected(f'delivery-acks-{version}', version)
        c.send(*(wire.publish(version, 'delivery/acks', b'x', 1 + i % 2, 100 + i)
                 for i in range(20)))
        got = [c.recv() for _ in range(20)]
        for kind in (PUBACK, PUBREC):
            ids = [p.packet_id for p in got if p.type == kind]
            equal(ids, sorted(ids))
            equal(len(ids), 10)


# ---- QoS 2 (4.3.3)

@test(each=[(V31,), (V311,), (V5,)])
def qos_2_repeated_is_delivered_once(b, version):
    topic = f'delivery/repeated/{version}'
    s = b.connected(f'repeated-s-{version}', version)
    s.subscribe(topic, qos=2)
    c = b.connected(f'repeated-p-{version}', version)
    for dup in (False, True):
        c.send(wire.publish(version, topic, b'once', 2, 5, dup=dup))
        c.expect(PUBREC, packet_id=5)
    c.send(wire.ack(PUBREL, 5))
    c.expect(PUBCOMP, packet_id=5)
    c.publish(topic, b'end', qos=2)
    s.expect_message(topic, b'once')
    s.expect_message(topic, b'end')


@test
def packet_id_is_free_after_pubcomp(b):
    s = b.connected()
    s.subscribe('delivery/reuse', qos=2)
    c = b.connected()
    for i in range(3):
        c.publish('delivery/reuse', b'%d' % i, qos=2, packet_id=9)
    for i in range(3):
        s.expect_message('delivery/reuse', b'%d' % i)


@test
def qos_1_with_a_used_packet_id_is_a_new_message(b):
    s = b.connected()
    s.subscribe('delivery/new', qos=1)
    c = b.connected()
    for i, dup in enumerate((False, False, True)):
        c.publish('delivery/new', b'%d' % i, qos=1, packet_id=9, dup=dup)
    for i in range(3):
        s.expect_message('delivery/new', b'%d' % i, dup=False)


@test(mosquitto='PUBCOMP without a code')
def pubrel_for_an_unknown_id_is_92(b):
    c = b.connected()
    c.send(wire.ack(PUBREL, 4711))
    c.expect(PUBCOMP, packet_id=4711, reason=0x92)
    c.ping()


@test(each=[(V31,), (V311,)])
def pubrel_for_an_unknown_id_in_the_old_versions(b, version):
    c = b.connected(f'delivery-rel-{version}', version)
    c.send(wire.ack(PUBREL, 4711))
    c.expect(PUBCOMP, packet_id=4711)


@test(mosquitto='no answer')
def pubrec_for_an_unknown_id_is_92(b):
    c = b.connected()
    c.send(wire.ack(PUBREC, 4711))
    c.expect(PUBREL, packet_id=4711, reason=0x92)
    c.ping()


@test
def puback_and_pubcomp_for_unknown_ids_do_no_harm(b):
    c = b.connected()
    c.send(wire.ack(PUBACK, 4711), wire.ack(PUBCOMP, 4712))
    c.ping()


@test
def dup_of_the_publisher_is_not_passed_on(b):
    s = b.connected()
    s.subscribe('delivery/dup', qos=1)
    b.connected().publish('delivery/dup', b'x', qos=1, dup=True)
    s.expect_message('delivery/dup', dup=False)


@test
def acknowledgements_with_properties_are_fine(b):
    c = b.connected()
    c.subscribe('delivery/ack-props', qos=2)
    p = b.connected()
    props = [('reason_string', 'fine'), ('user_property', ('k', 'v'))]
    p.send(wire.publish(V5, 'delivery/ack-props', b'x', 2, 3))
    p.expect(PUBREC, packet_id=3)
    p.send(wire.ack(PUBREL, 3, 0, props))
    p.expect(PUBCOMP, packet_id=3)
    m = c.expect_message('delivery/ack-props', ack=False)
    c.send(wire.ack(PUBREC, m.packet_id, 0, props))
    c.expect(PUBREL, packet_id=m.packet_id)
    c.send(wire.ack(PUBCOMP, m.packet_id, 0, props))
    p.publish('delivery/ack-props', b'y', qos=1)
    m = c.expect_message('delivery/ack-props', b'y', ack=False)
    c.send(wire.ack(PUBACK, m.packet_id, 0, props))
    c.ping()


# ---- What a message carries (3.3.2.3)

@test
def properties_pass_unaltered_and_in_order(b):
    s = b.connected()
    s.subscribe('delivery/props', qos=1)
    users = [('user_property', pair) for pair in
             [('z', '1'), ('a', '2'), ('z', '1'), ('', ''), ('key ☃', '\U0001F600'), ('a', '1')]]
    props = [('content_type', 'application/x-☃'), ('payload_format_indicator', 1),
             ('response_topic', 'delivery/answers/☃'), ('correlation_data', bytes(range(256)))]
    b.connected().publish('delivery/props', 'ünicode'.encode(), qos=1,
                          props=[props[0], users[0], *props[1:], *users[1:]])
    m = s.expect_message('delivery/props', 'ünicode'.encode())
    equal(m.all('user_property'), [pair for _, pair in users])
    equal(sorted(p for p in m.props if p[0] != 'user_property'), sorted(props))


@test
def many_and_long_user_properties(b):
    s = b.connected()
    s.subscribe('delivery/user', qos=1)
    users = [('user_property', (f'k{i}', 'v' * i)) for i in range(300)]
    users.append(('user_property', ('K' * 65535, 'V' * 65535)))
    b.connected().publish('delivery/user', b'', qos=1, props=users)
    equal(s.expect_message('delivery/user').props, users)


@test
def old_versions_get_the_message_without_properties(b):
    for version in (V31, V311):
        s = b.connected(f'delivery-old-{version}', version)
        s.subscribe('delivery/old', qos=1)
        b.connected().publish('delivery/old', b'x', qos=1, props={
            'content_type': 't', 'message_expiry_interval': 60, 'user_property': ('a', 'b')})
        s.expect_message('delivery/old', b'x')


@test(each=[(0,), (1,), (127,), (128,), (16383,), (16384,), (65536,), (2097151,), (2097152,)])
def payloads_of_all_lengths(b, size):
    s = b.connected()
    topic = f'delivery/size/{size}'
    s.subscribe(topic, qos=1)
    body = (b'0123456789abcdef' * (size // 16 + 1))[:size]
    b.connected().publish(topic, body, qos=1)
    equal(s.expect_message(topic).payload == body, True, 'the same bytes')


@test
def one_large_message_to_many(b):
    subscribers = [b.connected() for _ in range(20)]
    for s in subscribers:
        s.subscribe('delivery/large', qos=1)
    body = bytes(range(256)) * 1024
    b.connected().publish('delivery/large', body, qos=1)
    for s in subscribers:
        equal(s.expect_message('delivery/large').payload == body, True, 'the same bytes')


# ---- Message expiry (3.3.2.3.3)

@test
def expiry_counts_while_queued(b):
    keep = {'session_expiry_interval': 300}
    c = b.connected('delivery-expiry', clean_start=False, props=keep)
    c.subscribe('delivery/expiry', qos=1)
    c.disconnect()
    p = b.connected()
    p.publish('delivery/expiry', b'expires', qos=1, props={'message_expiry_interval': 1})
    p.publish('delivery/expiry', b'lasts', qos=1, props={'message_expiry_interval': 60})
    p.publish('delivery/expiry', b'never', qos=1)
    pass_time(2.1)
    again = b.connected('delivery-expiry', clean_start=False, props=keep)
    m = again.expect_message('delivery/expiry', b'lasts')
    equal(m.prop('message_expiry_interval') in (57, 58), True, str(m))
    equal(again.expect_message('delivery/expiry', b'never').prop('message_expiry_interval'), None)


@test
def expiry_passes_at_once_unchanged(b):
    s = b.connected()
    s.subscribe('delivery/expiry-now', qos=1)
    for seconds in (60, 0xFFFFFFFF):
        b.connected().publish('delivery/expiry-now', b'', qos=1,
                              props={'message_expiry_interval': seconds})
        got = s.expect_message('delivery/expiry-now').prop('message_expiry_interval')
        equal(got in (seconds, seconds - 1), True, f'{got} of {seconds}')


@test(mosquitto='stalls')
def what_waits_for_the_window_expires_too(b):
    c = b.connected(props={'receive_maximum': 1})
    c.subscribe('delivery/expiry-window', qos=1)
    p = b.connected()
    p.publish('delivery/expiry-window', b'sent', qos=1)
    p.publish('delivery/expiry-window', b'expires', qos=1, props={'message_expiry_interval': 1})
    p.publish('delivery/expiry-window', b'last', qos=1)
    first = c.expect_message('delivery/expiry-window', b'sent', ack=False)
    pass_time(2.1)
    c.acknowledge(first)
    c.expect_message('delivery/expiry-window', b'last')


# ---- Bytes in any pieces

@test(each=[(V31,), (V311,), (V5,)])
def a_byte_at_a_time(b, version):
    topic = f'delivery/bytes/{version}'
    s = b.connected(f'bytes-s-{version}', version)
    s.subscribe(topic, qos=2)
    c = b.client(version)
    props = {'user_property': ('k', 'v' * 150)} if version == V5 else None
    for byte in (wire.connect(version, f'bytes-{version}') +
                 wire.publish(version, topic, b'x' * 200, 1, 1, props=props) +
                 wire.publish(version, topic, b'y', 2, 2)):
        c.send(bytes([byte]))
    c.expect(wire.CONNACK, reason=0)
    c.expect(PUBACK, packet_id=1)
    c.expect(PUBREC, packet_id=2)
    c.send(wire.ack(PUBREL, 2))
    c.expect(PUBCOMP, packet_id=2)
    s.expect_message(topic, b'x' * 200)
    s.expect_message(topic, b'y')


@test
def many_packets_in_one_write(b):
    s = b.connected()
    s.subscribe('delivery/burst', qos=0)
    c = b.connected()
    bodies = [b'%d' % i * (i % 30) for i in range(1000)]
    c.send(*(wire.publish(V5, 'delivery/burst', body) for body in bodies), wire.pingreq())
    c.expect(wire.PINGRESP)
    for body in bodies:
        s.expect_message('delivery/burst', body)


@test
def cut_at_every_place(b):
    """The same packets, cut in two at each byte in turn."""
    s = b.connected()
    s.subscribe('delivery/cut', qos=1)
    c = b.connected()
    data = wire.publish(V5, 'delivery/cut', b'z' * 130, 1, 7) + wire.pingreq() + \
        wire.publish(V5, 'delivery/cut', b'', 0)
    for at in range(1, len(data)):
        c.send(data[:at])
        c.send(data[at:])
        c.expect(PUBACK, packet_id=7)
        c.expect(wire.PINGRESP)
        s.expect_message('delivery/cut', b'z' * 130)
        s.expect_message('delivery/cut', b'')


@test
def answers_to_a_burst_of_pings(b):
    c = b.connected()
    c.send(wire.pingreq() * 1000)
    for _ in range(1000):
        c.expect(wire.PINGRESP)
