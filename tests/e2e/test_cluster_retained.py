# SPDX-License-Identifier: Apache-2.0
"""Retained messages of a cluster (docs/cluster.md, "Retained messages on all nodes"): each node has them."""
import http.client
import json
import os
import shutil
import tempfile
import threading

from api import Keys
from harness import PORTS, Launch, equal, test, wait_until
from raw import V5, wire

SECONDS = 20


class Asked:
    """Nodes that are asked by the API what they have."""

    def __init__(self, b, count, **settings):
        from test_cluster import Nodes  # not above: its tests would be this module's, too
        self.keys, self.ports = Keys(), [PORTS.take() for _ in range(count)]
        self.nodes = Nodes(b, count, admin__keys_file=self.keys.path,
                           admin__listen=[f'127.0.0.1:{port}' for port in self.ports], **settings)
        self.at, self.addresses, self.wait_linked = self.nodes.at, self.nodes.addresses, self.nodes.wait_linked

    def cluster(self, i):
        c = http.client.HTTPConnection('127.0.0.1', self.ports[i], timeout=20)
        try:
            c.request('GET', '/api/v1/cluster', headers={'Authorization': f'Bearer {self.keys.looker}'})
            answer = c.getresponse()
            return json.loads(answer.read()) if answer.status == 200 else None
        finally:
            c.close()

    def own(self, i, what='retained_digest'):
        return self.cluster(i)['members'][0][what]

    def wait_same(self, seconds=SECONDS):
        """All have the same retained messages, and each says so of all."""
        def same():
            digests = {m['retained_digest'] for i in range(len(self.at)) for m in self.cluster(i)['members']
                       if m['state'] == 'alive'}
            return len(digests) == 1
        wait_until(same, seconds * Launch.slow, 'the same digests')


def expect_found(node, topic_filter, want):
    """What a new subscriber gets at once, by topic; and no more."""
    c = node.connected()
    c.subscribe(topic_filter, qos=0)
    got = [c.expect_message(retain=True) for _ in want]
    equal({p.topic: p.payload for p in got}, want, node.name)
    c.expect_nothing()
    c.disconnect()


@test(only='dunlin', timeout=90)
def what_is_retained_is_on_all_nodes(b):
    """When PUBACK has come: set, replaced and deleted at any node, with its properties."""
    nodes = Asked(b, 3, shards=[2, 1, 3])
    writers = [n.connected() for n in nodes.at]
    for i in range(30):
        writers[i % 3].publish(f'{i % 5}/all/{i}', b'first', qos=1 + i % 2, retain=True)
    for i in range(0, 30, 2):
        writers[(i + 1) % 3].publish(f'{i % 5}/all/{i}', b'second', qos=1, retain=True,
                                     props={'content_type': 'a/b'})
    for i in range(0, 30, 3):
        writers[(i + 2) % 3].publish(f'{i % 5}/all/{i}', b'', qos=1, retain=True)
    want = {f'{i % 5}/all/{i}': b'second' if i % 2 == 0 else b'first' for i in range(30) if i % 3}
    for n in nodes.at:
        expect_found(n, '+/all/+', want)
        c = n.connected()
        c.subscribe('2/all/2')
        equal(c.expect_message('2/all/2', b'second', retain=True).prop('content_type'), 'a/b')
    nodes.wait_same()


@test(only='dunlin', timeout=90)
def who_subscribes_meanwhile_misses_nothing(b):
    """A subscriber at one node, a retained PUBLISH at another at the same instant: it comes, as retained or as it is sent."""
    nodes = Asked(b, 2, shards=[2, 2])
    writer = nodes.at[0].connected()
    for i in range(100):
        reader = nodes.at[1].connected()
        publisher = threading.Thread(
            target=writer.publish, args=(f'{i % 7}/meanwhile/{i}', b'here'), kwargs={'qos': 1, 'retain': True})
        publisher.start()
        reader.subscribe(f'{i % 7}/meanwhile/{i}', qos=1)
        publisher.join()
        reader.expect_message(f'{i % 7}/meanwhile/{i}', b'here')
        reader.disconnect()


@test(only='dunlin', timeout=120)
def a_node_that_was_away_gets_what_it_missed(b):
    """What was set, replaced and deleted meanwhile is so there, too; it is on all disks; and nothing that was
    deleted comes back, from whichever of them."""
    at = tempfile.mkdtemp(prefix='cluster-', dir=os.path.abspath(Launch.folder))
    try:
        nodes = Asked(b, 3, shards=[2, 1, 2], data__dir=[f'{at}/{i}' for i in range(3)])
        kept = nodes.at[2]
        writer = kept.connected()
        for i in range(20):
            writer.publish(f'away/{i}', b'before', qos=1, retain=True)
        kept.stop()
        writer = nodes.at[1].connected()
        for i in range(10):
            writer.publish(f'away/{i}', b'' if i < 5 else b'after', qos=1, retain=True)
        writer.publish('away/new', b'after', qos=1, retain=True)
        kept.start()
        nodes.wait_linked(nodes.at)
        want = {f'away/{i}': b'after' if i < 10 else b'before' for i in range(5, 20)}
        want['away/new'] = b'after'
        nodes.wait_same()
        for n in nodes.at:
            expect_found(n, 'away/#', want)
        for one in (2, 0):
            nodes.at[one].kill()
            nodes.at[one].start()
            expect_found(nodes.at[one], 'away/#', want)
        nodes.wait_linked(nodes.at)
        for one in (0, 2):
            nodes.at[one].stop()
        # Deleted where nobody else is, and the process dies at once.
        nodes.at[1].connected().publish('away/new', b'', qos=1, retain=True)
        nodes.at[1].kill()
        for n in nodes.at:
            n.start()
        nodes.wait_linked(nodes.at)
        nodes.wait_same()
        del want['away/new']
        for n in nodes.at:
            expect_found(n, 'away/#', want)
    finally:
        shutil.rmtree(at, ignore_errors=True)  # the brokers are still there


@test(only='dunlin', timeout=90)
def a_node_without_anything_gets_all_of_it(b):
    """Some hundreds of messages, one of them of some megabytes."""
    nodes = Asked(b, 1, shards=[2], limits__packet_bytes_max=8 << 20)
    writer = nodes.at[0].connected()
    for i in range(300):
        writer.publish(f'{i % 11}/all/{i}', b'x' * (i * 10), qos=1, retain=True)
    writer.publish('0/all/large', b'x' * 3000000, qos=1, retain=True)
    late = b.another({**nodes.at[0].settings, 'node.name': 'late', 'node.shards': 3,
                      'admin.listen': f'127.0.0.1:{PORTS.take()}',
                      'cluster.listen': f'127.0.0.9:{PORTS.take()}', 'cluster.seeds': nodes.addresses[0]})
    nodes.wait_linked([nodes.at[0], late])
    nodes.wait_same()
    want = {f'{i % 11}/all/{i}': b'x' * (i * 10) for i in range(1, 300)}
    expect_found(late, '+/all/+', {**want, '0/all/large': b'x' * 3000000})


@test(only='dunlin', timeout=60)
def order_holds_for_what_is_retained_too(b):
    """One publisher, retained and not: another node's subscriber has all of it in order."""
    nodes = Asked(b, 2, shards=[2, 1])
    reader, writer = nodes.at[1].connected(), nodes.at[0].connected()
    reader.subscribe('order/+', qos=1)
    for i in range(200):
        writer.send(wire.publish(V5, f'order/{i % 3}', str(i).encode(), 1, i + 1, retain=i % 4 == 0))
    for i in range(200):
        reader.expect_message(None, str(i).encode())


@test(only='dunlin', timeout=60)
def what_expires_is_gone_everywhere(b):
    nodes = Asked(b, 2)
    nodes.at[0].connected().publish('soon/gone', b'x', qos=1, retain=True,
                                    props={'message_expiry_interval': 3})
    expect_found(nodes.at[1], 'soon/#', {'soon/gone': b'x'})
    for n in nodes.at:
        n.wait_counter('retained_expired', 1)
        expect_found(n, 'soon/#', {})
    nodes.wait_same()
