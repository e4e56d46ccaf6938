# SPDX-License-Identifier: Apache-2.0
"""Partitions move (docs/cluster.md, "Replicas move"): to nodes that come later, with all that is in them."""
from cluster import SECONDS
from harness import Launch, equal, test, wait_until
from test_cluster_replicas import Replica, formed, wait_led
from test_cluster_sessions import come, publish, received, subscribers

MOVING = 90  # seconds, at most, for all partitions


def wait_replicas(members, count):
    """Each partition has so many replicas, and nothing moves any more."""
    def are_there():
        said = [m.partitions() for m in members]
        return all(len(p['replicas']) == count and p['step'] == 'steady' for items in said for p in items)
    wait_until(are_there, MOVING * Launch.slow, f'{count} replicas of each partition')


def alone(b, **settings):
    first = Replica(b, 1, [], cluster__initial_size=1, **settings)
    wait_led([first])
    return first


@test(only='dunlin', timeout=240)
def one_node_grows_to_three(b):
    """What it has is on the others then, and outlives it: sessions, queues, and the order of what is in them."""
    first = alone(b)
    names = subscribers([first], 'grown/#')
    before = [b'before %d' % i for i in range(20)]
    publish(first, 'grown/a', before)
    others = [Replica(b, i, [first]) for i in (2, 3)]
    members = [first, *others]
    wait_replicas(members, 3)
    wait_led(members)
    between = [b'between %d' % i for i in range(20)]
    publish(others[0], 'grown/a', between)
    first.kill()
    wait_led(others, 30)
    after = [b'after %d' % i for i in range(5)]
    publish(others[1], 'grown/a', after)
    for i, name in enumerate(names):
        c = come(others[i % 2], name, present=True)
        equal(received(c, 45), before + between + after, name)
        c.expect_nothing()
        c.disconnect()


@test(only='dunlin', timeout=300)
def another_node_takes_the_place_of_one_that_is_lost(b):
    """kill -9, its disk is gone, and an operator has the others forget it: three replicas again, by a fourth node."""
    members = formed(b)
    names = subscribers(members, 'place/#')
    before = [b'before %d' % i for i in range(20)]
    publish(members[0], 'place/a', before)
    lost, number = members[2].name, members[2].replication()['number']
    members[2].kill()
    rest = [*members[:2], Replica(b, 4, [members[0]])]
    wait_led(members[:2], 30)
    members[0].waits('node_died', lost)
    members[0].ctl(f'cluster forget {lost}')
    wait_until(lambda: all(number not in p['replicas'] and len(p['replicas']) == 3 and p['step'] == 'steady'
                           for m in rest for p in m.partitions()), MOVING * Launch.slow, 'three replicas of each')
    wait_until(lambda: len(rest[0].replication()['members']) == 3, SECONDS * Launch.slow, 'its removal')
    wait_led(rest)
    after = [b'after %d' % i for i in range(5)]
    publish(rest[1], 'place/a', after)
    for i, name in enumerate(names):
        c = come(rest[i % 3], name, present=True)
        equal(received(c, 25), before + after, name)
        c.expect_nothing()
        c.disconnect()
