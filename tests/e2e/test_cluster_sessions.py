# SPDX-License-Identifier: Apache-2.0
"""Sessions that several nodes have (docs/cluster.md, "Replicated sessions"): they outlive each of them."""
import subprocess
import tempfile

from cluster import SECONDS, folder
from harness import Launch, equal, test, wait_until
from raw import Unexpected, wire
from test_cluster_replicas import Replica, formed, wait_led

KEPT = {'session_expiry_interval': 3600}
CLIENTS = 12


def come(member, client_id, present=None, clean_start=False, seconds=SECONDS, **connect):
    """Connected, as soon as somebody leads its partition."""
    def attempt():
        try:
            c = member.broker.client()
            return c, c.connect(client_id, clean_start=clean_start, props=KEPT, **connect)
        except (OSError, Unexpected):
            return None  # nobody leads its partition yet, or no more
    c, p = wait_until(attempt, seconds * Launch.slow, f'{client_id} at {member.name}')
    if present is not None:
        equal(p.session_present, present, f'{client_id}: Session Present')
    return c


def received(client, count, seconds=SECONDS):
    """The payloads of so many messages, each acknowledged."""
    return [client.expect_message(timeout=seconds * Launch.slow).payload for _ in range(count)]


def publish(member, topic, payloads, qos=1):
    c = member.broker.connected()
    for payload in payloads:
        c.publish(topic, payload, qos=qos)
    c.disconnect()


def subscribers(members, topic, qos=2):
    """They have subscribed, at different nodes, and gone."""
    names = [f'kept-{i}' for i in range(CLIENTS)]
    for i, name in enumerate(names):
        c = come(members[i % len(members)], name, present=False, clean_start=True)
        c.subscribe(topic, qos=qos)
        c.drop()
    return names


@test(only='dunlin', timeout=180)
def a_session_is_the_same_at_each_node(b):
    """Its subscriptions and its queue; whichever node the client comes to, and the message."""
    members = formed(b)
    names = subscribers(members, 'same/#')
    sent = [b'%d' % i for i in range(9)]
    for i, payload in enumerate(sent):
        publish(members[i % 3], 'same/topic', [payload], qos=1 + i % 2)
    for i, name in enumerate(names):
        c = come(members[(i + 1) % 3], name, present=True)
        equal(received(c, len(sent)), sent, name)
        c.expect_nothing()
        c.disconnect()


@test(only='dunlin', timeout=240)
def a_session_outlives_its_node(b):
    """kill -9 of one of three, whose disk is never seen again: who comes back finds all that was acknowledged."""
    members = formed(b)
    names = subscribers(members, 'kept/#')
    before = [b'before %d' % i for i in range(10)]
    publish(members[1], 'kept/a', before)
    members[2].kill()
    after = [b'after %d' % i for i in range(10)]
    wait_led(members[:2], 30)
    publish(members[0], 'kept/a', after)
    for i, name in enumerate(names):
        c = come(members[i % 2], name, present=True)
        equal(received(c, 20), before + after, name)
        c.expect_nothing()
        c.disconnect()


@test(only='dunlin', timeout=240)
def what_is_published_while_a_node_dies_comes_once(b):
    """At QoS 2, by a client whose session is replicated, too: what it sends again is no second message."""
    members = formed(b)
    names = subscribers(members, 'once/#')
    sent = 0
    for round_ in range(3):
        publisher = come(members[0], f'publisher-{round_}', present=False, clean_start=True)
        for _ in range(10):
            publisher.publish('once/topic', b'%d' % sent, qos=2)
            sent += 1
        publisher.drop()
    members[2].kill()
    publisher = come(members[1], 'publisher-late', clean_start=True)
    for _ in range(10):
        publisher.publish('once/topic', b'%d' % sent, qos=2)
        sent += 1
    for i, name in enumerate(names):
        c = come(members[i % 2], name, present=True)
        equal(received(c, sent), [b'%d' % n for n in range(sent)], name)
        c.expect_nothing()
        c.disconnect()


@test(only='dunlin', timeout=240)
def all_of_them_are_killed_and_come_back(b):
    members = formed(b)
    names = subscribers(members, 'all/#')
    sent = [b'%d' % i for i in range(10)]
    publish(members[0], 'all/topic', sent)
    for m in members:
        m.kill()
    again = []
    for i, m in enumerate(members):
        again.append(Replica(b, i + 4, again[:1], data_dir=m.data_dir))
    wait_led(again, 30)
    for i, name in enumerate(names):
        c = come(again[i % 3], name, present=True)
        equal(received(c, len(sent)), sent, name)
        c.disconnect()


@test(only='dunlin', timeout=180)
def a_clean_start_anywhere_ends_it(b):
    """Also that of a client whose session is not kept, at a node that does not lead its partition."""
    members = formed(b)
    names = subscribers(members, 'ended/#')
    for i, name in enumerate(names):
        c = members[i % 3].broker.client()
        c.connect(name, clean_start=True)
        c.disconnect()
    publish(members[0], 'ended/topic', [b'x'])
    for i, name in enumerate(names):
        c = come(members[(i + 2) % 3], name, present=False)
        c.expect_nothing()
        c.disconnect()


@test(only='dunlin', timeout=240)
def the_will_of_a_lost_client_is_published_by_who_leads_then(b):
    """Its connection is at the node that leads its session, and both are killed together."""
    members = formed(b)
    watcher = members[0].broker.connected()
    watcher.subscribe('will/#', qos=1)
    names = [f'mortal-{i}' for i in range(CLIENTS)]
    for name in names:
        come(members[2], name, clean_start=True,
             will=wire.Will(f'will/{name}', b'gone', qos=1, props={'will_delay_interval': 0}))
    members[2].kill()
    topics = [watcher.expect_message(timeout=60 * Launch.slow).topic for _ in names]
    equal(sorted(topics), sorted(f'will/{name}' for name in names), 'wills')


@test(only='dunlin', timeout=60)
def sessions_of_before_are_not_taken_over(b):
    """Nor forgotten: it does not start, and says so."""
    data_dir = tempfile.mkdtemp(prefix='data-', dir=folder())
    alone = b.another({'data.dir': data_dir})
    c = alone.client()
    c.connect('of-before', props=KEPT)
    c.disconnect()
    alone.stop()
    done = subprocess.run(
        [Launch.program, '--listen', 'tcp://127.0.0.1:0', '--set', f'data.dir={data_dir}', '--set', 'cluster.listen=127.0.0.1:0',
         '--set', 'cluster.replicas=1'], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, stderr=subprocess.STDOUT,
        timeout=20 * Launch.slow, check=False)
    equal((done.returncode, 'msg=sessions_without_replicas' in done.stdout), (1, True), done.stdout)
    again = b.another({'data.dir': data_dir})
    c = again.client()
    equal(c.connect('of-before', clean_start=False, props=KEPT).session_present, True, 'without replicas it is there')
    c.disconnect()


@test(only='dunlin', timeout=240)
def one_node_has_them_for_itself(b):
    """cluster.replicas: 1 is a cluster of one, with all that several have."""
    only = Replica(b, 1, [], replicas=1)
    wait_led([only])
    names = subscribers([only], 'alone/#')
    sent = [b'%d' % i for i in range(5)]
    publish(only, 'alone/topic', sent, qos=2)
    only.kill()
    again = Replica(b, 2, [], data_dir=only.data_dir, replicas=1)
    wait_led([again])
    for name in names:
        c = come(again, name, present=True)
        equal(received(c, len(sent)), sent, name)
        c.disconnect()
