# SPDX-License-Identifier: Apache-2.0
"""Messages between nodes (docs/cluster.md): several real brokers, each with clients of its own."""
import os
import signal
import subprocess
import tempfile
import time

from harness import PORTS, Launch, equal, needs_root, pass_time, test, wait_until
from raw import DISCONNECT, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, V5, Will, publish_many, wire

QUICK = {'drain.wait_s': 0}
SECONDS = 36


class Nodes:
    """`count` brokers that are one cluster; at[i] is the one, by its harness' class. A setting that is a list
    has a value for each."""

    def __init__(self, b, count, shards=None, **settings):
        self.addresses = [f'127.0.0.{i + 1}:{PORTS.take()}' for i in range(count)]
        self.at = []
        for i in range(count):
            own = {'node.shards': shards[i]} if shards else {}
            self.at.append(b.another({
                **QUICK, 'node.name': f'n{i}', 'cluster.listen': self.addresses[i],
                'cluster.seeds': self.addresses[0] if i else '', **own,
                **{key.replace('__', '.'): value[i] if isinstance(value, list) else value
                   for key, value in settings.items()}}))
        self.wait_linked(self.at)

    def wait_linked(self, among):
        """All of them are connected with all others, and interest goes to and fro."""
        for one in among:
            for other in among:
                if one is not other:
                    self.wait_heard(one, other)

    def wait_heard(self, one, other):
        """What is subscribed to at the one is known at the other."""
        name = f'linked/{one.port}/{other.port}/{time.monotonic_ns()}'
        with_reader = one.connected()
        with_reader.subscribe(name, qos=0)
        writer = other.connected()
        # No subscriber, before it is known: 0x10.
        wait_until(lambda: writer.publish(name, b'', qos=1).reason == 0, SECONDS * Launch.slow,
                   f'{one.name} to be heard at {other.name}')
        with_reader.disconnect()
        writer.disconnect()


def folder():
    return tempfile.mkdtemp(prefix='cluster-', dir=os.path.abspath(Launch.folder))


@test(only='dunlin', timeout=120)
def suback_means_subscribed_on_all_nodes(b):
    """Published on one node at once after the SUBACK of another: it arrives, in each round."""
    nodes = Nodes(b, 3, shards=[2, 1, 2])
    writers = [n.connected() for n in nodes.at]
    readers = [n.connected() for n in nodes.at]
    for i in range(150):
        at, via, qos = i % 3, (i + 1 + i // 3 % 2) % 3, i // 6 % 3
        topic = f'{i % 7}/round/{i}'
        readers[at].subscribe(f'{i % 7}/+/{i}', qos=2)
        writers[via].publish(topic, b'at once', qos=qos, expect=(0,))
        readers[at].expect_message(topic, b'at once', qos=qos)


@test(only='dunlin', timeout=60)
def a_message_is_what_it_was(b):
    """Properties, RETAIN as published, the time that is left; once for overlapping filters; No Local is
    a matter of the publisher's own node."""
    nodes = Nodes(b, 2)
    reader, writer = nodes.at[0].connected(), nodes.at[1].connected()
    reader.subscribe('as/#', qos=2, retain_as_published=True, props={'subscription_identifier': 5})
    reader.subscribe('as/it/+', qos=1, retain_as_published=True, no_local=True,
                     props={'subscription_identifier': 6})
    props = {'content_type': 'a/b', 'response_topic': 'r', 'correlation_data': b'\x00c',
             'payload_format_indicator': 1, 'message_expiry_interval': 300,
             'user_property': ('k', 'v')}
    writer.publish('as/it/was', b'x' * 100000, qos=2, retain=True, props=props, expect=(0,))
    p = reader.expect_message('as/it/was', b'x' * 100000, qos=2, retain=True, content_type='a/b',
                              response_topic='r', correlation_data=b'\x00c', payload_format_indicator=1)
    equal(p.prop('message_expiry_interval') in (299, 300), True, 'the time that is left')
    reader.expect_nothing()


@test(only='dunlin', timeout=120)
def order_of_a_publisher_is_kept(b):
    nodes = Nodes(b, 2, shards=[2, 2])
    reader, writer = nodes.at[0].connected(), nodes.at[1].connected()
    reader.subscribe('order', qos=2)
    for qos in (0, 1, 2):
        payloads = [f'{qos}/{i}'.encode() for i in range(1000)]
        publish_many(writer, 'order', payloads, qos=qos)
        if qos == 0:
            writer.ping()
        for payload in payloads:
            reader.expect_message('order', payload)


@test(only='dunlin', timeout=120, each=[(1,), (2,)])
def nothing_is_lost_when_connections_are(b, qos):
    """The connections between two nodes are ended under load, again and again: what was acknowledged comes,
    in order, and once at QoS 2. At QoS 1 a link's frames come once as well."""
    needs_root()
    nodes = Nodes(b, 2, shards=[2, 2])
    reader, writer = nodes.at[0].connected(), nodes.at[1].connected()
    reader.subscribe('cut', qos=qos)
    payloads = [str(i).encode() for i in range(600)]
    before = nodes.at[1].counter('link_connections')
    for at in range(0, len(payloads), 50):
        ids = [writer.next_id() for _ in payloads[at:at + 50]]
        writer.send(*(wire.publish(V5, 'cut', body, qos, packet_id)
                      for body, packet_id in zip(payloads[at:at + 50], ids)))
        if at % 200 == 100:
            for address in nodes.addresses:
                host, port = address.split(':')
                subprocess.run(['ss', '-K', 'dst', host, 'dport', '=', port], check=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for packet_id in ids:
            writer.wait_for(PUBACK if qos == 1 else PUBREC, packet_id)
        if qos == 2:
            writer.send(*(wire.ack(PUBREL, packet_id) for packet_id in ids))
            for packet_id in ids:
                writer.wait_for(PUBCOMP, packet_id)
    for payload in payloads:
        reader.expect_message('cut', payload)
    reader.expect_nothing()
    equal(nodes.at[1].counter('link_connections') - before >= 3, True, 'that they were ended')
    equal(nodes.at[0].counter('gap_disconnected'), 0)


@test(only='dunlin', timeout=60)
def three_nodes_pass_nothing_on(b):
    """Each subscriber gets one copy; what went between nodes is what was published, once for each."""
    nodes = Nodes(b, 3)
    readers = [n.connected() for n in nodes.at]
    for r in readers:
        r.subscribe('loop/#', qos=1)
    before = sum(n.counter('forward_sent') for n in nodes.at)
    writer = nodes.at[0].connected()
    for i in range(20):
        writer.publish(f'loop/{i}', b'', qos=1, expect=(0,))
    for r in readers:
        for i in range(20):
            r.expect_message(f'loop/{i}')
        r.expect_nothing()
    pass_time(0.3)
    equal(sum(n.counter('forward_sent') for n in nodes.at) - before, 40)


@test(only='dunlin', timeout=60)
def unsubscribing_ends_it(b):
    nodes = Nodes(b, 2)
    reader, writer = nodes.at[0].connected(), nodes.at[1].connected()
    reader.subscribe('ended', qos=1)
    equal(writer.publish('ended', b'', qos=1).reason, 0)
    reader.unsubscribe('ended')
    wait_until(lambda: writer.publish('ended', b'', qos=1).reason == 0x10, SECONDS * Launch.slow,
               'the other node to hear of it')


@test(only='dunlin', timeout=60)
def wills_reach_other_nodes(b):
    nodes = Nodes(b, 2)
    reader = nodes.at[0].connected()
    reader.subscribe('will/+', qos=1)
    nodes.at[1].connected('with-a-will', will=Will('will/lost', b'gone', qos=1)).drop()
    reader.expect_message('will/lost', b'gone', qos=1)
    much = [('user_property', ('k', 'v' * 60000))] * 5  # more than other nodes are told of: it stays
    nodes.at[1].connected('with-much', will=Will('will/much', b'gone', qos=1, props=much)).drop()
    reader.expect_message('will/much', b'gone', qos=1)
    nodes.at[1].connected('told-to-go', will=Will('will/ended', b'ended', qos=1))
    nodes.at[1].signal(signal.SIGTERM)
    reader.expect_message('will/ended', b'ended', qos=1)
    equal(nodes.at[1].wait_end(), 0)


@test(only='dunlin', timeout=120)
def a_dead_node_is_not_waited_for_longer_than_it_is_unknown(b):
    """kill -9 of a destination: PUBACKs to others go on, those to it come when its death is known."""
    nodes = Nodes(b, 3)
    victim, other = nodes.at[1].connected(), nodes.at[2].connected()
    victim.subscribe('victim', qos=1)
    other.subscribe('other', qos=1)
    waiting, going = nodes.at[0].connected(), nodes.at[0].connected()
    equal(waiting.publish('victim', b'', qos=1).reason, 0)
    nodes.at[1].kill()
    waiting.send(wire.publish(V5, 'victim', b'', 1, 77))
    began, longest = time.monotonic(), 0.0
    while not (acks := [p for p in waiting.aside if p.type == PUBACK]):
        sent = time.monotonic()
        going.publish('other', b'', qos=1, expect=(0,))
        longest = max(longest, time.monotonic() - sent)
        waiting.ping()
        equal(time.monotonic() - began < 25 * Launch.slow, True, 'its death is known by then')
        pass_time(0.05)
    equal((acks[0].packet_id, acks[0].reason), (77, 0))
    equal(longest < 2 * Launch.slow, True, f'others wait for {longest:.3f} s')


@test(only='dunlin', timeout=90)
def suback_comes_although_a_node_hangs(b):
    """SIGSTOP: half a second, and a counter that says so. When it goes on it knows of the subscription."""
    nodes = Nodes(b, 2)
    reader = nodes.at[0].connected()
    reader.subscribe('before', qos=1)
    nodes.at[1].hold()
    began = time.monotonic()
    reader.subscribe('meanwhile', qos=1)
    took = time.monotonic() - began
    nodes.at[1].signal(signal.SIGCONT)
    equal(0.4 < took < 2 * Launch.slow, True, f'it took {took:.3f} s')
    equal(nodes.at[0].counter('subscribe_unheard') >= 1, True)
    writer = nodes.at[1].connected()
    wait_until(lambda: writer.publish('meanwhile', b'', qos=1).reason == 0, SECONDS * Launch.slow,
               'the subscription to be known there')


@test(only='dunlin', timeout=90)
def who_may_have_missed_something_is_disconnected(b):
    """A node that stood still is taken for dead, and what is published meanwhile is acknowledged. Its
    clients at QoS 1 hear of that; those at QoS 0 were promised nothing."""
    nodes = Nodes(b, 2)
    told, kept = nodes.at[1].connected(), nodes.at[1].connected()
    told.subscribe('gap', qos=1)
    kept.subscribe('gap', qos=0)
    writer = nodes.at[0].connected()
    nodes.at[1].hold()
    began = time.monotonic()
    while time.monotonic() - began < 40 * Launch.slow:
        packet_id = writer.next_id()
        writer.send(wire.publish(V5, 'gap', b'lost', 1, packet_id))
        if writer.wait_for(PUBACK, packet_id, timeout=30 * Launch.slow).reason == 0:
            break
    nodes.at[1].signal(signal.SIGCONT)
    got = told.recv(SECONDS * Launch.slow)
    while got is not None and got.type == PUBLISH:  # it lay in the socket of the node that stood still
        got = told.recv(SECONDS * Launch.slow)
    equal(got is not None and (got.type, got.reason), (DISCONNECT, 0x80))
    told.expect_end(SECONDS * Launch.slow)
    kept.ping()
    wait_until(lambda: any(int(e['disconnected']) for e in nodes.at[1].events('gap')),
               what='a line that says so')


@test(only='dunlin', timeout=90)
def a_restarted_node_is_told_all_again(b):
    nodes = Nodes(b, 2, data__dir='')
    reader = nodes.at[0].connected()
    reader.subscribe('again', qos=1)
    nodes.at[1].kill()
    nodes.at[1].start()
    writer = nodes.at[1].connected()
    wait_until(lambda: writer.publish('again', b'', qos=1).reason == 0, SECONDS * Launch.slow,
               'the new one to hear of it')
    reader.expect_message('again')


@test(only='dunlin', timeout=90)
def an_acknowledged_message_is_on_the_other_nodes_disk(b):
    """A kept session of another node: PUBACK waits until it is kept there, kill -9 or not."""
    nodes = Nodes(b, 2)
    nodes.at[1].kill()
    nodes.at[1].settings['data.dir'] = folder()
    nodes.at[1].start()
    nodes.wait_linked(nodes.at)
    keep = {'session_expiry_interval': 300}
    with nodes.at[1].client() as c:
        c.connect('kept', props=keep)
        c.subscribe('kept/#', qos=1)
        c.disconnect()
    writer = nodes.at[0].connected()
    for i in range(50):
        writer.publish(f'kept/{i}', b'', qos=1, expect=(0,))
    nodes.at[1].kill()
    nodes.at[1].start()
    with nodes.at[1].client() as c:
        equal(c.connect('kept', clean_start=False, props=keep).session_present, True)
        for i in range(50):
            c.expect_message(f'kept/{i}')


# ---- Groups

@test(only='dunlin', timeout=60)
def a_group_over_nodes_gets_each_message_once(b):
    nodes = Nodes(b, 3)
    readers = [n.connected() for n in nodes.at]
    for r in readers:
        r.subscribe('$share/g/shared/+', qos=1)
    writer = nodes.at[0].connected()
    for i in range(60):
        writer.publish(f'shared/{i}', b'', qos=1, expect=(0,))
    got = []
    for r in readers:
        r.ping()
        own = [p for p in r.aside if p.type == PUBLISH]
        equal(len(own) >= 10, True, f'{len(own)} of 60')
        got += [p.topic for p in own]
    equal(sorted(got), sorted(f'shared/{i}' for i in range(60)))


@test(only='dunlin', timeout=60)
def members_here_are_preferred_where_that_is_asked_for(b):
    nodes = Nodes(b, 2, shared_subscriptions__prefer_local='true')
    near, far = nodes.at[0].connected(), nodes.at[1].connected()
    near.subscribe('$share/g/near', qos=1)
    far.subscribe('$share/g/near', qos=1)
    writer = nodes.at[0].connected()
    for _ in range(10):
        writer.publish('near', b'', qos=1, expect=(0,))
    for _ in range(10):
        near.expect_message('near')
    far.expect_nothing()
    near.disconnect()
    writer.publish('near', b'', qos=1, expect=(0,))
    far.expect_message('near')


@test(only='dunlin', timeout=90)
def a_node_whose_generation_was_lost_is_linked_again(b):
    """As after a backup was restored, which has node.id and no generation: messages pass again, and what the
    others have kept of the former starts is not taken for this one's."""
    data = folder()
    addresses = [f'127.0.0.{i + 1}:{PORTS.take()}' for i in range(2)]

    def start(i, **more):
        return b.another({**QUICK, 'node.name': f'n{i}', 'cluster.listen': addresses[i], 'cluster.seeds': addresses[1 - i],
                          **{key.replace('__', '.'): value for key, value in more.items()}})

    one, two = start(0), start(1, data__dir=data)
    Nodes.wait_heard(None, one, two)
    for _ in range(2):
        two.stop()
        two.start()
    Nodes.wait_heard(None, one, two)
    two.stop()
    os.remove(os.path.join(data, 'node'))
    since = two.log_size()
    two.start()
    Nodes.wait_heard(None, one, two)
    Nodes.wait_heard(None, two, one)
    equal(two.events('node_conflict', since), [])


# ---- Client identifiers, and wills of nodes that die

@test(only='dunlin', timeout=60)
def one_connection_of_an_id_wherever_it_comes(b):
    nodes = Nodes(b, 3, shards=[2, 1, 2])
    for i in range(30):
        at, then = nodes.at[i % 3], nodes.at[(i + 1 + i // 3 % 2) % 3]
        first = at.client()
        first.connect(f'one-{i}')
        second = then.client()
        second.connect(f'one-{i}')
        first.expect_disconnect(0x8e, timeout=SECONDS * Launch.slow)
        second.ping()
        second.disconnect()
    equal(sum(n.counter('claims_kicked') for n in nodes.at), 30)
    equal([n.counter('claims_unanswered') for n in nodes.at], [0, 0, 0])


@test(only='dunlin', timeout=60)
def a_client_of_others_moves_between_nodes(b):
    """mosquitto_sub is told that it was taken over, comes back, and takes over in its turn."""
    nodes = Nodes(b, 2)
    b.run('mosquitto_sub', '-h', '127.0.0.1', '-p', str(nodes.at[0].port), '-i', 'moves', '-t', 'moves/#')
    writer = nodes.at[1].connected()
    wait_until(lambda: writer.publish('moves/x', b'', qos=1).reason == 0, SECONDS * Launch.slow,
               'it to subscribe')
    with nodes.at[1].client() as c:
        c.connect('moves')
        c.expect_disconnect(0x8e, timeout=SECONDS * Launch.slow)
    equal(nodes.at[0].counter('claims_kicked') >= 1, True)


@test(only='dunlin', timeout=120)
def wills_of_a_dead_node_come_once(b):
    """kill -9: each will, after its delay, once; also when the node is back. Who is back before, at
    another node, has left none; nor has who said goodbye."""
    nodes = Nodes(b, 3, data__dir='')
    reader = nodes.at[0].connected()
    reader.subscribe('dead/+', qos=1)
    for i in range(12):
        nodes.at[1].connected(f'dead-{i}', will=Will(f'dead/{i}', b'gone', qos=1,
                                                     props={'will_delay_interval': i % 2 * 2}),
                              props={'session_expiry_interval': 100})
    for i in range(6):
        back = {'will': Will(f'dead/back-{i}', b'gone', props={'will_delay_interval': 90}),
                'props': {'session_expiry_interval': 100}}
        nodes.at[1].connected(f'back-{i}', **back)
        nodes.at[1].connected(f'bye-{i}', will=Will(f'dead/bye-{i}', b'gone')).disconnect()
    wait_until(lambda: sum(n.counter('claims_owned') for n in nodes.at) >= 19, SECONDS * Launch.slow,
               'all to be told')
    nodes.at[1].kill()
    for i in range(6):
        nodes.at[2].connected(f'back-{i}', clean_start=False)
    for _ in range(12):
        reader.expect_message(qos=1, timeout=40 * Launch.slow)
    nodes.at[1].start()
    nodes.wait_linked(nodes.at)
    reader.ping()
    equal([p.topic for p in reader.aside if p.type == PUBLISH], [])
    equal(sum(n.counter('wills_published') for n in (nodes.at[0], nodes.at[2])), 12)
