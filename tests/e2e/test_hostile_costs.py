# SPDX-License-Identifier: Apache-2.0
"""Attacks that cost their author little and the broker much, each found by trying: a siege (siege.py)
like those of test_hostile, on one shard, where attacker and bystander cannot be apart."""
from harness import equal, test, wait_until
from raw import SUBACK, V5, wire
from siege import Crowd, Siege, fewer
from wire import varint

SET = {'node.shards': 1, 'limits.message_memory_max': 64 << 20, 'limits.connect_timeout_s': 60}
SECONDS = 30
SHARE_KIB = (64 << 10) // 4


def crossed(levels, count):
    """Different filters that all match a/a/a/…"""
    return ['/'.join('+' if i >> k & 1 else 'a' for k in range(levels)) for i in range(count)]


@test(only='dunlin')
def packets_never_finished(b):
    """Most of a large packet on each of many connections, before CONNECT and after: the oldest of
    them go, and one who sends such a packet quickly is heard."""
    before, crowd = b.counter('unread_refused'), Crowd(b)
    announced = varint(1000000)
    with Siege(b, 'packets never finished', 3 * SHARE_KIB):
        told = b.connected('told')
        told.send(b'\x30' + announced + bytes(300000))
        for i in range(100):
            connect = wire.connect(V5, f'part-{i}') if i % 2 else b''
            crowd.open().sendall(connect + (b'\x30' if i % 2 else b'\x10') + announced +
                                 bytes(500000))
        told.expect_disconnect(0x97)
        c = b.connected('whole')
        c.subscribe('whole', qos=1)
        c.publish('whole', bytes(900000), 1)
        c.expect_message('whole')
        wait_until(lambda: crowd.left() < 40, what='the oldest to go')
        crowd.close()
    b.wait_counter('unread_refused', before + 50)


@test(only='dunlin')
def filters_of_the_longest_kind(b):
    """10,000 of 65,535 bytes: what is granted takes what the limits say, and no more."""
    before = b.counter('subscribe_refused')
    with Siege(b, '10,000 filters of 65,535 bytes', 4 * SHARE_KIB):
        c = b.connected('longest')
        reasons = []
        for at in range(0, fewer(b, 10000), 10):
            c.send(wire.subscribe(V5, 1 + at, [(f'{i:05}/' + 'y' * 65529, 0)
                                               for i in range(at, at + 10)]))
            reasons += c.expect(SUBACK).reasons
        equal(set(reasons), {0, 0x97})
        equal(50 < reasons.count(0) < 300, True, reasons.count(0))
        c.disconnect()
        c = b.connected('later')
        c.subscribe('there/is/room/again', qos=0)
    equal(b.counter('subscribe_refused') > before, True)


@test(only='dunlin')
def messages_that_match_much(b):
    """Fifty small PUBLISH packets in one write, each of which matches 8,000 filters."""
    before, count = b.counter('input_deferred'), fewer(b, 50)
    filters = crossed(13, 8000)
    with Siege(b, 'messages that match 8,000 filters', 20000):
        subscribers = [b.connected(f'match-{i}') for i in range(8)]
        for i, c in enumerate(subscribers):
            c.subscribe(*filters[i * 1000:i * 1000 + 1000], qos=0)
        flood = [b.connected(f'flood-{i}') for i in range(4)]
        for c in flood:
            c.send(wire.publish(V5, '/'.join('a' * 13), b'') * count)
        for c in flood:
            c.ping()
        for c in subscribers + flood:
            c.disconnect()
    b.wait_counter('input_deferred', before + 4)


@test(only='dunlin')
def identifiers_of_many(b):
    """300 sessions, each with identifiers for some of 2,400 filters that all match."""
    filters = crossed(12, 2400)
    with Siege(b, 'subscription identifiers of 300 recipients', 12000):
        clients = [b.connected(f'ids-{i}') for i in range(300)]
        for i, c in enumerate(clients):
            c.subscribe(*filters[i * 8:i * 8 + 8], qos=0, props={'subscription_identifier': i + 1})
        p = b.connected('ids-p')
        for _ in range(fewer(b, 100)):
            p.publish('/'.join('a' * 12), b'', 1)
        for i, c in enumerate(clients):
            got = c.expect_message('/'.join('a' * 12))
            equal(set(got.all('subscription_identifier')), {i + 1})
            c.disconnect()


@test(only='dunlin')
def groups_of_one_filter(b):
    """Names of shared subscriptions by the thousand, all on one filter; then all of them go."""
    count = fewer(b, 5000)  # of more the shard's share of memory would not do
    with Siege(b, f'{4 * count} groups of one filter', 40000):
        clients = [b.connected(f'groups-{i}') for i in range(4)]
        for k, c in enumerate(clients):
            for at in range(0, count, 500):
                c.subscribe(*(f'$share/g{k}-{i}/grouped' for i in range(at, at + 500)), qos=0)
        for c in clients:
            c.disconnect()
        c = b.connected('groups-p')
        wait_until(lambda: c.publish('grouped', b'', 1, expect=(0, 0x10)).reason == 0x10,
                   what='the end of all')
