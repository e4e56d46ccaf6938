# SPDX-License-Identifier: Apache-2.0
"""This broker and that of the commit before as nodes of one cluster (./dev test adjacent builds the latter):
they find each other, messages pass both ways, and one after the other is replaced under way."""
import time

from cluster import SECONDS, Member, folder, know_each_other
from harness import Launch, Unexpected, equal, skip, test, wait_until


def needs_previous():
    if Launch.previous is None:
        skip('there is no broker of an earlier commit: ./dev test adjacent builds one')


def node(b, number, seeds, program):
    """Its data has a directory, so that it is the same node afterwards."""
    class At:  # whose another() takes that program
        @staticmethod
        def another(*arguments, **how):
            return b.another(*arguments, **how, program=program)

    return Member(At, number, seeds, data__dir=folder())


def passes(at, via, qos):
    """What is subscribed to at the one comes from the other; the first try may be lost where one has just been
    started, those after it not, and they come in order."""
    topic = f'{at.name}/{via.name}/{time.monotonic_ns()}'
    reader, writer = at.broker.connected(), via.broker.connected()
    reader.subscribe(f'+/{via.name}/{topic.rsplit("/", 1)[1]}', qos=2)

    def arrives():
        writer.publish(topic, b'first', qos=1)
        try:
            return reader.recv(timeout=1) is not None
        except Unexpected:
            return False

    wait_until(arrives, SECONDS * Launch.slow, f'{at.name} to hear from {via.name}')
    bodies = [f'{i}'.encode() * (1 + 977 * i) for i in range(20)]
    for body in bodies:
        writer.publish(topic, body, qos=qos, expect=(0,))
    for body in bodies:
        p = reader.recv()
        while p.payload == b'first':
            p = reader.recv()
        equal((p.topic, p.payload, p.qos), (topic, body, qos))
    reader.disconnect()
    writer.disconnect()


def all_pass(members, *qos):
    for at in members:
        for via in members:
            if at is not via:
                for q in qos:
                    passes(at, via, q)


# A node that was just started may call one that has not heard of it; it calls again.
FINE = {'the node ends', 'it is no member that is known here'}


def nobody_complained(members):
    for m in members:
        equal([e['reason'] for event in ('link_refused', 'link_down') for e in m.events(event)
               if e['reason'] not in FINE], [], m.name)
        equal([e for event in ('node_died', 'link_gap', 'gap') for e in m.events(event)], [], m.name)


@test(only='dunlin', timeout=90, each=[('previous first',), ('this first',)])
def two_versions_are_one_cluster(b, order):
    needs_previous()
    programs = [Launch.previous, Launch.program]
    one_of, other_of = programs if order == 'previous first' else programs[::-1]
    one = node(b, 1, [], one_of)
    two = node(b, 2, [one], other_of)
    know_each_other(one, two)
    all_pass([one, two], 0, 1, 2)
    nobody_complained([one, two])


@test(only='dunlin', timeout=150)
def a_cluster_is_upgraded_node_by_node(b):
    """Three of the commit before; in each state all hear from all, and from the data of before the new ones start."""
    needs_previous()
    nodes = [node(b, 1, [], Launch.previous)]
    nodes += [node(b, i, nodes[:1], Launch.previous) for i in (2, 3)]
    know_each_other(*nodes)
    kept = nodes[1].broker.client()
    kept.connect('kept', clean_start=True, props={'session_expiry_interval': 600})
    kept.subscribe('kept', qos=1)
    kept.disconnect()
    all_pass(nodes, 1)
    for m in nodes:
        m.broker.settings['cluster.seeds'] = ','.join(other.address for other in nodes)
        m.broker.stop()
        m.broker.program = Launch.program
        m.broker.start()
        all_pass(nodes, 1)
    writer = nodes[0].broker.connected()
    writer.publish('kept', b'x', qos=1, expect=(0,))
    back = nodes[1].broker.client()
    equal(back.connect('kept', clean_start=False, props={'session_expiry_interval': 600}).session_present, True)
    back.expect_message('kept', b'x', qos=1)
    nobody_complained(nodes)
