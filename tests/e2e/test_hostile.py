# SPDX-License-Identifier: Apache-2.0
"""What a stranger may do on purpose. Each attack is a siege (siege.py): memory bounded, others served,
rest afterwards; and the attacker gets the reason code that is right, and is counted."""
import random
import socket
import struct
import time

from harness import Client, equal, pass_time, test, wait_until
from raw import (CONNACK, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, UNSUBACK, V311, V5, Will,
                 wire)
from siege import Crowd, Siege, closed, fewer
from wire import packet, string, u16

CONNECT_TIMEOUT_S = 2
SET = {'limits.connect_timeout_s': CONNECT_TIMEOUT_S, 'limits.message_memory_max': 256 << 20}
SECONDS = 60
LARGEST_LENGTH = b'\xff\xff\xff\x7f'  # 268,435,455
LINGER_0 = struct.pack('ii', 1, 0)    # close() sends a reset, and leaves no TIME_WAIT
TCP_REPAIR = 19


def grown(b, name, before, at_least):
    b.wait_counter(name, before + at_least)


# ---- Bytes

@test(only='dunlin')
def bytes_one_at_a_time(b):
    with Siege(b, 'bytes one at a time', 4000):
        clients = [b.client() for _ in range(30)]
        streams = [wire.connect(V5, f'drip-{i}') + wire.subscribe(V5, 1, [(f'drip/{i}', 1)]) +
                   wire.publish(V5, f'drip/{i}', b'drop', 1, 2) for i in range(30)]
        for at in range(max(map(len, streams))):
            for c, stream in zip(clients, streams):
                c.send(stream[at:at + 1])
        for i, c in enumerate(clients):
            c.expect(CONNACK, reason=0)
            c.expect(SUBACK, packet_id=1)
            equal({c.recv().type for _ in range(2)}, {PUBLISH, PUBACK}, i)


@test(only='dunlin')
def connect_that_never_ends(b):
    """Bytes come, and each resets nothing: the time to CONNECT is that of the whole packet."""
    before, crowd = b.counter('connect_timed_out'), Crowd(b)
    begun = packet(0x10, string('MQTT') + b'\x05\x02' + u16(60) + b'\0' + u16(9000), 9013)
    with Siege(b, 'CONNECT that never ends', 12000):
        for _ in range(1000):
            crowd.open().send(begun)
        end = time.monotonic() + 5 * CONNECT_TIMEOUT_S
        while not crowd.ended() and time.monotonic() < end:
            for s in crowd.socks:
                try:
                    s.send(b'x')
                except OSError:
                    pass
            pass_time(0.2)
        wait_until(crowd.ended, what='the end of all')
    grown(b, 'connect_timed_out', before, 1000)


@test(only='dunlin', each=[('first',), ('after CONNECT',)])
def largest_length_with_nothing_behind(b, where):
    """268,435,455 bytes are announced: refused as soon as that is read, and no memory taken."""
    with Siege(b, f'length of 268,435,455, {where}', 6000):
        for i in range(300):
            if where == 'first':
                c = b.client()
                c.send(b'\x10' + LARGEST_LENGTH)
                c.expect_end()  # its version is not known yet: there is no form for an answer
            else:
                c = b.connected(f'long-{i}')
                c.send(b'\x32' + LARGEST_LENGTH)
                c.expect_disconnect(0x95)
            c.close()


@test(only='dunlin', timeout=120)
def connections_without_connect(b):
    """100,000 come and go without a word; half of them by a reset."""
    count, crowd = fewer(b, 100000), Crowd(b)
    before = b.counter('connections_closed')
    with Siege(b, f'{count} connections without CONNECT', 20000):
        for i in range(count):
            s = crowd.open()
            if i % 2:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            if len(crowd.socks) == 200:
                crowd.close()
        crowd.close()
        # One that was reset before it was accepted may never be seen.
        grown(b, 'connections_closed', before, count // 2)


@test(only='dunlin')
def garbage(b):
    """Random bytes, and random bytes behind a fair CONNECT."""
    rng = random.Random(20)
    with Siege(b, 'garbage', 12000):
        for i in range(1500):
            s = Crowd(b).open()
            try:
                s.sendall((wire.connect(V5, '') if i % 2 else b'') + rng.randbytes(600))
                s.shutdown(socket.SHUT_WR)
                wait_until(lambda s=s: closed(s), what='the end')
            except OSError:
                s.close()


# ---- Packets

def payloads_of(c, topic, count):
    """The payloads of so many different messages to the topic. Copies are allowed (3.3.4): a message
    that matches over a thousand filters takes more than one way. What others publish is passed over."""
    got = []
    while len(got) < count:
        m = c.recv()
        equal(m.type, PUBLISH, m)
        c.acknowledge(m)
        if m.topic == topic and m.payload not in got:
            got.append(m.payload)
    return got


@test(only='dunlin')
def subscribe_with_thousands_of_filters(b):
    """As many as the largest packet holds: granted up to the limit, and refused one by one above."""
    filters = [(f'many/{i}', 0) for i in range(60000)]
    with Siege(b, 'SUBSCRIBE with 60,000 filters', 40000):
        for i in range(3):
            c = b.connected(f'many-{i}')
            p = c.subscribe(*filters, expect=[0] * 10000 + [0x97] * 50000)
            equal(len(p.reasons), 60000)
            p = c.unsubscribe(*(f for f, _ in filters))
            equal(p.reasons, (0,) * 10000 + (0x11,) * 50000)
            c.disconnect()


@test(only='dunlin')
def long_topics_and_deep_ones(b):
    """65,535 bytes are a fair topic; hundreds of levels are refused, here above 128."""
    longest, deepest, too_deep = 'long/' + 'x' * 65530, '/'.join('l' * 128), '/'.join('l' * 500)
    empty_levels = '/' * 65535
    with Siege(b, 'topics of 65,535 bytes and of hundreds of levels', 60000):
        s, p = b.connected('topics-s'), b.connected('topics-p')
        for topic in (longest, deepest):
            s.subscribe(topic, qos=1)
            p.publish(topic, b'x', 1)
            s.expect_message(topic, b'x')
        for topic in (too_deep, empty_levels):
            s.subscribe(topic, expect=[0x8F])
            p.publish(topic, b'x', 1, expect=(0x90,))
        for i in range(100):  # each a filter of its own, of the longest kind
            s.subscribe(f'{i:04}/' + 'y' * 65530, qos=1)
        s.expect_nothing()
        s.disconnect()


@test(only='dunlin')
def wildcards_by_the_thousand(b):
    """Filters that all match, at each of many depths; a message for them comes once, and one who
    publishes into them gets no slower than what they cost."""
    rng = random.Random(21)
    deep = '/'.join('abcdefgh'[i % 8] for i in range(100))
    filters = {'#'}
    filters |= {'/'.join('+' * n) + end for n in range(1, 120) for end in ('', '/#')}
    while len(filters) < 5000:
        parts = [rng.choice(('+', part)) for part in deep.split('/')[:rng.randint(1, 100)]]
        filters.add('/'.join(parts) + rng.choice(('/#', '')))
    with Siege(b, '5,000 wildcard filters, all deep', 30000):
        clients = [b.connected(f'wild-{i}') for i in range(4)]
        some = sorted(filters)
        for c in clients:
            for at in range(0, len(some), 1000):
                c.subscribe(*some[at:at + 1000], qos=1)
        p = b.connected('wild-p')
        for i in range(50):
            p.publish(deep, b'%d' % i, 1)
        for c in clients:
            equal(payloads_of(c, deep, 50), [b'%d' % i for i in range(50)])
        for c in clients:
            c.disconnect()


@test(only='dunlin')
def everything_for_a_thousand(b):
    """A thousand subscribe to all there is, and read none of it."""
    count, crowd = fewer(b, 1000), Crowd(b)
    with Siege(b, f'{count} who want everything and read nothing', 80000):
        for i in range(count):
            s = crowd.open()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.send(wire.connect(V311, f'all-{i}') +
                   wire.subscribe(V311, 1, [('#', 0), ('+/+', 0), ('+/#', 0)]))
        p = b.connected('all-p')
        for i in range(200):
            p.publish('all/of/it', bytes(1024), 1)
        crowd.close()


@test(only='dunlin', each=[('read',), ('not read',)])
def pubrel_flood(b, answers):
    """For identifiers that nobody has used: each is answered with 0x92, and one who does not read
    the answers is not read from."""
    count = fewer(b, 200000)
    flood = b''.join(wire.ack(PUBREL, 1 + i % 65535) for i in range(1000))
    with Siege(b, f'PUBREL flood, answers {answers}', 12000):
        c = b.connected(f'pubrel-{answers}')
        if answers == 'read':
            for _ in range(count // 1000):
                c.send(flood)
                for i in range(1000):
                    p = c.recv()
                    equal((p.type, p.reason), (PUBCOMP, 0x92))
            c.ping()
        else:
            c.sock.setblocking(False)
            try:
                while True:
                    c.sock.send(flood)
            except BlockingIOError:
                pass


@test(only='dunlin')
def qos_2_never_released(b):
    """5.0: one more than Receive Maximum is 0x93. Before, all 65,535 identifiers may be open, and
    what is sent again under one is not delivered again."""
    with Siege(b, 'QoS 2, never released', 40000):
        c = b.connected('never-5')
        c.send(b''.join(wire.publish(V5, 'never/5', b'x', 2, i + 1) for i in range(1025)))
        for _ in range(1024):
            c.expect(PUBREC)
        c.expect_disconnect(0x93)

        s, c = b.connected('never-s', V311), b.connected('never-3', V311)
        s.subscribe('never/3', qos=0)
        for at in range(1, 65536, 5000):
            some = range(at, min(at + 5000, 65536))
            for _ in range(2):
                c.send(b''.join(wire.publish(V311, 'never/3', b'', 2, i) for i in some))
                for i in some:
                    c.expect(PUBREC, packet_id=i)
            for _ in some:
                s.expect(PUBLISH, topic='never/3')
        s.expect_nothing()


@test(only='dunlin')
def packet_ids_used_again(b):
    """QoS 1 under one identifier again and again, without waiting: as many messages."""
    with Siege(b, 'one packet identifier for all', 20000):
        s, c = b.connected('again-s'), b.connected('again-c')
        s.subscribe('again', qos=1)
        for _ in range(10):
            c.send(b''.join(wire.publish(V5, 'again', b'x', 1, 7) for _ in range(1000)))
            for _ in range(1000):
                c.expect(PUBACK, packet_id=7, reason=0)
            for _ in range(1000):
                s.expect_message('again')
        c.send(b''.join(wire.subscribe(V5, 7, [('again', 0)]) + wire.unsubscribe(V5, 7, ['again'])
                        for _ in range(1000)))
        for _ in range(1000):
            c.expect(SUBACK, packet_id=7)
            c.expect(UNSUBACK, packet_id=7)


@test(only='dunlin')
def subscribing_to_and_fro(b):
    """Two clients, both ever anew to the same filter, as fast as it goes."""
    rounds = fewer(b, 20000) // 1000
    both = b''.join(wire.subscribe(V311, 1, [('fro/+/x', 0)]) + wire.unsubscribe(V311, 2, ['fro/+/x'])
                    for _ in range(1000))
    with Siege(b, 'one filter, subscribed to and fro', 20000):
        clients = [b.connected(f'fro-{i}', V311) for i in range(4)]
        for _ in range(rounds):
            for c in clients:
                c.send(both)
            for c in clients:
                for _ in range(1000):
                    c.expect(SUBACK, packet_id=1)
                    c.expect(UNSUBACK, packet_id=2)


@test(only='dunlin')
def topic_alias_abuse(b):
    """An alias over and over for another topic, the longest; then one that is not allowed."""
    with Siege(b, 'topic aliases', 60000):
        for i in range(10):
            c = b.connected(f'alias-{i}')
            for n in range(100):
                topic = f'alias/{n}/' + 'x' * 65000
                c.send(wire.publish(V5, topic, b'', props=[('topic_alias', 1 + n % 10)]))
            c.ping()
            c.send(wire.publish(V5, '' if i % 2 else 'x', b'', props=[('topic_alias', 11)]))
            c.expect_disconnect(0x94)


# ---- Sessions

@test(only='dunlin')
def wills_of_the_largest_size(b):
    """400 of 65,535 bytes, all due at once."""
    with Siege(b, '400 wills of 65,535 bytes', 120000):
        s = b.connected('wills-s')
        s.subscribe('wills/+', qos=1)
        clients = [b.connected(f'will-{i}', will=Will(f'wills/{i}', bytes(65535), 1))
                   for i in range(400)]
        for c in clients:
            c.close()
        equal({s.expect_message(payload=bytes(65535)).topic for _ in range(400)},
              {f'wills/{i}' for i in range(400)})


@test(only='dunlin')
def half_open(b):
    """Clients that are gone without a word, as behind a broken line: the keep alive finds them out,
    and their wills are published. TCP_REPAIR lets a socket end in silence (tcp(7) of Linux 3.5)."""
    before = b.counter('keep_alive_timed_out')
    with Siege(b, '300 half-open connections', 12000):
        s = b.connected('half-s')
        s.subscribe('half/+', qos=1)
        for i in range(300):
            c = b.connected(f'half-{i}', keep_alive=1, will=Will(f'half/{i}', b'gone', 1))
            c.sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
            c.sock.close()
        equal({s.expect_message(payload=b'gone').topic for _ in range(300)},
              {f'half/{i}' for i in range(300)})
    grown(b, 'keep_alive_timed_out', before, 300)


@test(only='dunlin', timeout=90)
def takeover_storm(b):
    """One client id, as fast as connections can be made; the older one is always the one that ends,
    and the session lives on with its subscription."""
    count, crowd = fewer(b, 20000), Crowd(b)
    kept = {'session_expiry_interval': 300}
    before = b.counter('sessions_taken_over')
    connect = wire.connect(V5, 'storm', clean_start=False, props=kept)
    with Siege(b, f'{count} takeovers of one client id', 20000):
        first = b.connected('storm', clean_start=True, props=kept)
        first.subscribe('storm/x', qos=1)
        for _ in range(count):
            crowd.open().send(connect)
            if len(crowd.socks) == 400:
                for s in crowd.socks[:200]:
                    s.close()
                del crowd.socks[:200]
        first.expect_disconnect(0x8E)
        wait_until(lambda: crowd.left() <= 1, what='the end of all but one')
        last = b.client()
        p = last.connect('storm', clean_start=False, props=kept)
        equal(p.session_present, True)
        wait_until(crowd.ended, what='the end of that one')
        b.connected('storm-p').publish('storm/x', b'still there', 1)
        last.expect_message('storm/x', b'still there')
        last.expect_nothing()
        last.disconnect(0, props={'session_expiry_interval': 0})
    # How many depends on who is faster: one whose client has closed before it is read takes nothing over.
    grown(b, 'sessions_taken_over', before, 1)


@test(only='dunlin')
def connect_publish_disconnect_in_one(b):
    """All of a short life in one write, over and over; each message counts."""
    count, crowd = fewer(b, 3000), Crowd(b)
    with Siege(b, f'{count} short lives', 20000):
        s = b.connected('lives-s')
        s.subscribe('lives', qos=1)
        for i in range(count):
            crowd.open().send(wire.connect(V5, f'life-{i % 500}') +
                              wire.publish(V5, 'lives', b'%d' % i, 1, 1) + wire.disconnect(V5))
            if i % 100 == 99:
                wait_until(crowd.ended)
        wait_until(crowd.ended)
        equal({s.expect_message('lives').payload for _ in range(count)},
              {b'%d' % i for i in range(count)})


@test(only='dunlin')
def retained_for_one_who_does_not_read(b):
    """20 MB are asked for by thirty who read nothing: none is looked up before it can be sent."""
    p = b.connected('hoard-p')
    for i in range(2000):
        p.publish(f'hoard/{i}', bytes(10000), 1, retain=True)
    try:
        with Siege(b, 'retained messages for thirty who do not read', 80000):
            slow = [Client(b.address, V311, receive_buffer=4096) for _ in range(30)]
            for i, c in enumerate(slow):
                c.connect(f'hoard-{i}')
                c.send(wire.subscribe(V311, 1, [('hoard/#', 1)]))
            pass_time(1)
            for c in slow:
                c.close()
    finally:
        for i in range(2000):
            p.publish(f'hoard/{i}', b'', 1, retain=True)
