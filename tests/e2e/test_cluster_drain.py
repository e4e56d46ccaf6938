# SPDX-License-Identifier: Apache-2.0
"""How nodes of a cluster come and go: load, drains, join, leave, forget, rebalancing (docs/cluster.md)."""
import re
import select
import signal
import socket
import time

from api import Api
from cluster import Member, know_each_other
from ctl import Ctl
from harness import PORTS, Launch, equal, test, wait_until
from raw import V311, Client

SECONDS = 20


def refused(address):
    try:
        with socket.create_connection(address, timeout=Client.timeout):
            return False
    except ConnectionRefusedError:
        return True


def members(of):
    return {m['name']: m for m in of.asked.get('/cluster')['members']}


def figure_of(api, name):
    text = api.raw('GET', '/metrics')[-1]
    return float(re.search(rf'^{name} (\S+)$', text if isinstance(text, str) else text.decode(), re.M)[1])


def figure(of, name):
    return figure_of(of.asked, name)


def waits(what, text, seconds=SECONDS):
    return wait_until(what, seconds * Launch.slow, text)


def pair(b, **settings):
    one = Member(b, 1, [], of=Api, **settings)
    two = Member(b, 2, [one], of=Api, **settings)
    know_each_other(one, two)
    return one, two


@test(only='dunlin', timeout=60)
def nodes_know_how_many_clients_others_have(b):
    one, two = pair(b, limits__connections_per_second=77)
    clients = [two.broker.connected(f'load-{i}') for i in range(5)]
    waits(lambda: members(one)['n2']['clients'] == 5, 'n1 to hear of five clients')
    equal(members(one)['n2']['admits_per_second'], 77)
    waits(lambda: figure(one, 'dunlin_cluster_clients') == 5.0, 'the figure')
    clients[0].disconnect()
    waits(lambda: members(one)['n2']['clients'] == 4, 'n1 to hear that one has gone')
    equal(two.asked.ask('/drain', 'POST', {'clients_per_second': 1})[0], 202)
    waits(lambda: members(one)['n2']['draining'], 'n1 to hear that n2 drains')
    equal(figure(one, 'dunlin_cluster_members_draining'), 1.0)
    equal(two.asked.ask('/drain', 'DELETE')[0], 202)
    waits(lambda: not members(one)['n2']['draining'], 'n1 to hear that it does not')


@test(only='dunlin', timeout=60)
def clients_are_sent_to_others_no_faster_than_those_take_them(b):
    """0x9C where there is another node; and by 3.1.1 the end of the connection."""
    one, two = pair(b, limits__connections_per_second=4)
    clients = [two.broker.connected(f'sent-{i}') for i in range(8)]
    old = two.broker.connected('sent-old', version=V311)
    waits(lambda: members(two)['n1']['admits_per_second'] == 4, 'n2 to hear what n1 takes')
    begun = time.monotonic()
    two.broker.signal(signal.SIGTERM)
    for c in clients:
        c.expect_disconnect(0x9C)
    old.expect_disconnect()
    equal(time.monotonic() - begun >= 1.7, True, 'nine of them, four a second')
    equal(two.broker.wait_end(), 0)
    waits(lambda: members(one)['n2']['state'] == 'left', 'n2 to have left')
    equal(members(one)['n2']['for_good'], False)
    two.broker.check_log()


@test(only='dunlin', timeout=60)
def nodes_that_drain_at_once_send_nobody_to_each_other(b):
    one, two = pair(b, drain__wait_s=4)
    clients = [n.broker.connected(f'nowhere-{n.name}') for n in (one, two)]
    for n in (one, two):
        n.broker.signal(signal.SIGTERM)
    for c in clients:
        c.expect_disconnect(0x8B)
    for n in (one, two):
        equal(n.broker.wait_end(), 0)


@test(only='dunlin', each=[('io_uring',), ('epoll',)])
def a_drain_can_be_stopped(b, io):
    """Nobody is let in while clients go; after that all is as before. One by a signal goes on."""
    api = Api(b, {'process.io': io, 'drain.clients_per_second': 1, 'drain.longest_s': 60, 'node.shards': 2})
    n = api.broker
    for i in range(6):
        n.connected(f'stop-{i}')
    equal(api.ask('/drain', 'POST', {'clients_per_second': 0})[0], 400)
    for _ in range(2):
        equal(api.ask('/drain', 'POST')[0], 202)
        wait_until(lambda: api.get('/drain')['phase'] == 'leaving')
        wait_until(lambda: refused(n.address), what='new clients to be refused')
        equal(api.get('/drain')['clients_per_second'], 1)
        equal(api.raw('GET', '/readyz')[0], 503)
        equal(api.ask('/drain', 'DELETE')[0], 202)
        wait_until(lambda: api.get('/drain')['phase'] == 'none')
        equal((api.raw('GET', '/readyz')[0], figure_of(api, 'dunlin_draining')), (200, 0.0))
        for i in range(8):
            n.connected(f'late-{i}').ping()
    left = api.get('/drain')['clients']
    equal(left >= 8, True, 'those who have come are there')
    time.sleep(1.5)
    equal(api.get('/drain')['clients'], left, 'nobody is sent away any more')
    equal(api.ask('/drain', 'DELETE')[0], 202, 'there is none')
    n.signal(signal.SIGTERM)
    wait_until(lambda: api.get('/drain')['phase'] == 'leaving')
    equal(api.ask('/drain', 'DELETE')[0], 409)
    n.signal(signal.SIGTERM)
    equal(n.wait_end(), 0)
    n.check_log()


@test(only='dunlin', timeout=60)
def a_node_that_runs_alone_joins(b):
    one = Member(b, 1, [], of=Api)
    two = Member(b, 2, [], of=Api)
    other = Member(b, 3, [], of=Api, cluster__name='another')
    equal(two.asked.ask('/cluster/join', 'POST', {'seeds': 'nonsense'})[0], 400)
    equal(two.asked.ask('/cluster/join', 'POST', {'seeds': ''})[0], 400)
    equal(two.asked.ask('/cluster/join', 'POST', {'seeds': f'{one.address},{other.address}'})[0], 200)
    know_each_other(one, two)
    equal(two.asked.ask('/cluster/join', 'POST', {'seeds': one.address})[0], 200, 'it is one already')
    many = ','.join(f'127.0.0.9:{4000 + i}' for i in range(16))
    equal(two.asked.ask('/cluster/join', 'POST', {'seeds': many})[0], 409)
    reader = one.broker.connected('joined')
    reader.subscribe('joined', qos=1)
    writer = two.broker.connected('joins')
    waits(lambda: writer.publish('joined', b'x', qos=1).reason == 0, 'n2 to hear of the subscription')
    reader.expect_message('joined')
    equal((set(members(two)), set(members(other))), ({'n1', 'n2'}, {'n3'}))


@test(only='dunlin', timeout=90)
def who_has_left_for_good_or_is_forgotten_is_gone(b):
    one, two = pair(b)
    three = Member(b, 3, [one])
    know_each_other(one, two, three)
    lives = members(one)['n2']['node']
    for named in ('n1', 'n2', lives):
        equal(one.asked.ask(f'/cluster/members/{named}', 'DELETE')[0], 409, named)
    equal(one.asked.ask('/cluster/members/nobody', 'DELETE')[0], 404)
    three.broker.kill()
    one.waits('node_died', 'n3')
    two.waits('node_died', 'n3')
    equal(one.asked.ask('/cluster/members/n3', 'DELETE')[0], 204)
    equal(one.asked.ask('/cluster/members/n3', 'DELETE')[0], 204, 'asked again')
    for of in (one, two):
        waits(lambda of=of: members(of)['n3']['for_good'], f'{of.name} to forget n3')
    equal(two.asked.ask('/cluster/leave', 'POST')[0], 202)
    equal(two.broker.wait_end(), 0)
    waits(lambda: members(one)['n2']['for_good'], 'n1 to forget n2')
    equal(members(one)['n2']['state'], 'left')


@test(only='dunlin', full=True, timeout=60)
def dunlinctl_does_all_of_it(b):
    other = Member(b, 2, [])
    ctl = Ctl(b, {'cluster.listen': f'127.0.0.1:{PORTS.take()}', 'node.name': 'n1', 'drain.wait_s': 6})
    equal('nobody of this cluster' in ctl(f'cluster join 127.0.0.9:{PORTS.take()}', 1), True)
    equal(ctl(f'cluster join {other.address}'), 'joined: 2 nodes are alive\n')
    equal('it lives' in ctl('cluster forget n2', 1), True)
    other.kill()
    waits(lambda: ctl.json('cluster')['members'][1]['state'] == 'dead', 'n2 to be called dead')
    equal(ctl('cluster forget n2'), 'n2 is forgotten\n')
    equal(ctl.json('cluster')['members'][1]['for_good'], True)
    equal(ctl.json('cluster drain --rate 5')['wanted'], True)
    waits(lambda: ctl.json('drain')['phase'] == 'waiting', 'the drain to begin')
    equal('--stop' in ctl('cluster drain --stop --wait', 2), True)
    ctl('cluster drain --stop')
    waits(lambda: ctl.json('drain')['phase'] == 'none', 'the drain to stop')
    equal(ctl.json('cluster leave')['for_good'], True)
    ctl('drain stop')
    waits(lambda: ctl.json('drain') == {'wanted': False, 'phase': 'none', 'clients': 0,
                                        'clients_per_second': None, 'for_good': False}, 'that to stop')


@test(only='dunlin', timeout=60)
def a_node_forgotten_by_mistake_comes_back(b):
    """It stood still, and an operator took it for dead."""
    one, two = pair(b)
    two.broker.signal(signal.SIGSTOP)
    one.waits('node_died', 'n2')
    equal(one.asked.ask('/cluster/members/n2', 'DELETE')[0], 204)
    two.broker.signal(signal.SIGCONT)
    waits(lambda: members(one)['n2']['state'] == 'alive', 'n2 to come back', 40)
    reader = one.broker.connected('again')
    reader.subscribe('again', qos=1)
    writer = two.broker.connected('writes')
    # 0x80: what goes by the link that n1 has given up.
    waits(lambda: writer.publish('again', b'x', qos=1, expect=(0, 0x10, 0x80)).reason == 0, 'n2 to hear of the subscription')
    reader.expect_message('again')


@test(only='dunlin', full=True, timeout=90)
def a_node_with_too_many_sheds_them(b):
    """Whose sessions last stay; the others are asked to use another server, until it has its share."""
    settings = {'cluster__rebalance_after_s': 1, 'cluster__rebalance_clients_per_second': 50}
    one, two = pair(b, **settings)
    lasting = [one.broker.connected(f'lasting-{i}', props={'session_expiry_interval': 100}) for i in range(2)]
    there = [one.broker.connected(f'there-{i}') for i in range(30)]
    waits(lambda: one.asked.get('/drain')['clients'] == 16, 'half of them to go', 40)
    equal(figure(one, 'dunlin_clients_shed_total'), 16.0)
    gone = select.select([c.sock for c in there], [], [], 0)[0]
    equal(len(gone), 16)
    for c in there:
        if c.sock in gone:
            c.expect_disconnect(0x9C)
        else:
            c.ping()
    for c in lasting:
        c.ping()
    equal(one.broker.one_event('rebalancing')['goal'], '16')
    time.sleep(3)
    equal(one.asked.get('/drain')['clients'], 16, 'and no more')
