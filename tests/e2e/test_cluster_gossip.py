# SPDX-License-Identifier: Apache-2.0
"""Nodes find each other, and know who lives (docs/cluster.md): real processes on loopback addresses; where
UDP is blocked, and where DNS is asked, in a network of their own."""
import base64
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from admin import Admin
from api import Api
from ctl import Ctl
from harness import PORTS, Launch, equal, needs_root, skip, test, wait_until
from namespaces import Hosts, ip

SECONDS = 20
CLONE_NEWNS, MS_BIND, MS_PRIVATE, MS_REC = 0x20000, 4096, 1 << 18, 16384
LIBC = ctypes.CDLL(None, use_errno=True)
QUICK = {'drain.wait_s': 0, 'log.level': 'debug'}


def folder():
    return tempfile.mkdtemp(prefix='cluster-', dir=os.path.abspath(Launch.folder))


def key_file(*keys):
    path = os.path.join(folder(), 'key')
    write_keys(path, *keys)
    return path


def write_keys(path, *keys):
    with open(path + '.new', 'w', encoding='ascii') as f:
        f.writelines(base64.b64encode(bytes([key]) * 32).decode() + '\n' for key in keys)
    os.rename(path + '.new', path)


class Member:
    """One node; `of` makes its broker: Admin or Api."""

    def __init__(self, b, number, seeds, of=Admin, **settings):
        self.name, self.address = f'n{number}', f'127.0.0.{number}:{PORTS.take()}'
        self.asked = of(b, {**QUICK, 'cluster.listen': self.address, 'node.name': self.name,
                            'cluster.seeds': ','.join(s if isinstance(s, str) else s.address for s in seeds),
                            **{key.replace('__', '.'): value for key, value in settings.items()}})
        self.broker = self.asked.broker

    def events(self, event, name=None, since=0):
        return [e for e in self.broker.events(event, since) if name in (None, e.get('name'))]

    def waits(self, event, name=None, since=0, timeout=SECONDS):
        return wait_until(lambda: self.events(event, name, since), timeout * Launch.slow,
                          f'{event} of {name} at {self.name}')[-1]

    def figure(self, name, **labels):
        return self.asked.value(f'dunlin_cluster_{name}', **labels)

    def kill(self):
        self.broker.kill()


def know_each_other(*members):
    for m in members:
        for other in members:
            if other is not m:
                m.waits('node_joined', other.name)


# ---- Who comes and who goes

@test(only='dunlin', timeout=60)
def three_find_each_other_and_see_who_goes(b):
    """By one seed. Who is killed is dead within 15 s, who is ended leaves at once, and who comes back is a
    later start of the same node."""
    one = Member(b, 1, [])
    two = Member(b, 2, [one])
    three = Member(b, 3, [one], data__dir=folder())
    know_each_other(one, two, three)
    equal([m.figure('members_alive') for m in (one, two, three)], [3.0] * 3)
    began, joined = time.monotonic(), one.events('node_joined', 'n3')[0]
    three.kill()
    for m in (one, two):
        equal(m.waits('node_died', 'n3')['node'], joined['node'])
    equal(time.monotonic() - began < 15 * Launch.slow, True, 'that was soon enough')
    equal((one.figure('members_alive'), one.figure('members_dead')), (2.0, 1.0))
    since = one.broker.log_size()
    three.broker.start()
    again = one.waits('node_joined', 'n3', since)
    equal((again['node'], int(again['generation'])), (joined['node'], int(joined['generation']) + 1))
    two.waits('node_joined', 'n1')
    began = time.monotonic()
    two.broker.signal(signal.SIGTERM)
    for m in (one, three):
        m.waits('node_left', 'n2')
    equal(two.broker.wait_end(), 0)
    equal(time.monotonic() - began < 5 * Launch.slow, True, 'that was at once')
    equal(one.events('node_died', 'n2'), [])
    equal((one.figure('members_dead'), one.figure('members_left')), (0.0, 1.0))


@test(only='dunlin')
def a_start_that_nobody_missed_is_told(b):
    one = Member(b, 1, [])
    two = Member(b, 2, [one], data__dir=folder())
    before = one.waits('node_joined', 'n2')
    two.kill()
    two.broker.start()
    after = one.waits('node_restarted', 'n2')
    equal((after['node'], int(after['generation'])), (before['node'], int(before['generation']) + 1))
    equal(one.events('node_died', 'n2'), [])


@test(only='dunlin')
def without_a_data_dir_each_start_is_another_node(b):
    one = Member(b, 1, [])
    two = Member(b, 2, [one], data__dir='')
    before = one.waits('node_joined', 'n2')
    two.kill()
    since = one.broker.log_size()
    two.broker.start()
    equal(one.waits('node_joined', 'n2', since)['node'] != before['node'], True)


@test(only='dunlin')
def the_node_is_the_one_of_its_data_directory(b):
    """Also of one that an earlier version has made, which has node.id only; and a file of another node's is refused."""
    data, node = folder(), '01234567-89ab-4def-8edc-ba9876543210'
    with open(os.path.join(data, 'node.id'), 'w', encoding='ascii') as f:
        f.write(node + '\n')
    one = Member(b, 1, [], data__dir=data)
    equal(one.waits('cluster_started')['node'], node)
    one.broker.stop()
    with open(os.path.join(data, 'node'), encoding='ascii') as f:
        text = f.read()
    equal(f'node {node}\n' in text and 'generation 1\n' in text, True, text)
    with open(os.path.join(data, 'node'), 'w', encoding='ascii') as f:
        f.write(text.replace('node 0123', 'node 9123'))
    done = subprocess.run([Launch.program, '--listen', f'tcp://127.0.0.1:{PORTS.take()}', '--data', data, '--cluster', one.address],
                          capture_output=True, text=True, check=False, timeout=20 * Launch.slow)
    equal((done.returncode, 'msg=identity_refused' in done.stderr), (1, True), done.stderr)


# ---- Strangers, and keys

@test(only='dunlin')
def strangers_are_not_heard(b):
    """Another key, or another cluster's name: counted, and that is all."""
    key = key_file(1)
    one = Member(b, 1, [], cluster__key_file=key)
    strangers = [Member(b, 2, [one], cluster__key_file=key_file(2)),
                 Member(b, 3, [one], cluster__key_file=key, cluster__name='other')]
    wait_until(lambda: one.figure('messages_refused_total', reason='forged') >= 2.0, SECONDS)
    two = Member(b, 4, [one], cluster__key_file=key)
    know_each_other(one, two)
    equal([one.events('node_joined', s.name) for s in strangers], [[], []])
    equal([s.figure('members_alive') for s in strangers], [1.0, 1.0])


@test(only='dunlin')
def nonsense_is_counted(b):
    """Datagrams and connections of anybody; a bystander notices nothing."""
    one = Member(b, 1, [])
    host, port = one.address.split(':')
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for message in (b'', b'x', bytes(1200), bytes(1400), b'\1\0' + b'\7' * 100):
            s.sendto(message, (host, int(port)))
    for start in (b'GET / HTTP/1.1\r\n\r\n', b'DLGS\xff\xff', b'DLGS\0\4abcd', b'DLNK' + bytes(48), b'DLNK' + bytes([1] * 48)):
        with socket.create_connection((host, int(port)), timeout=SECONDS) as c:
            c.sendall(start)
            equal(c.recv(1) == b'' or start[4] == 1, True)
    wait_until(lambda: one.figure('messages_refused_total', reason='malformed') >= 6.0, SECONDS)
    two = Member(b, 2, [one])
    know_each_other(one, two)


@test(only='dunlin')
def who_says_nothing_makes_room(b):
    """Also who began to knock and left it at that; a node that comes then is heard."""
    one = Member(b, 1, [])
    host, port = one.address.split(':')
    for i in range(150):
        s = socket.create_connection((host, int(port)), timeout=SECONDS)
        b.open.append(s)
        s.sendall(b'' if i % 2 else b'DLGS')
    wait_until(lambda: one.figure('connections_displaced_total') >= 80.0, SECONDS)
    two = Member(b, 2, [one])
    know_each_other(one, two)
    wait_until(lambda: one.figure('connections_timed_out_total') >= 30.0, SECONDS)


@test(only='dunlin', timeout=60)
def a_key_is_changed_without_a_death(b):
    key = key_file(1)
    one = Member(b, 1, [], cluster__key_file=key)
    two = Member(b, 2, [one], cluster__key_file=key)
    know_each_other(one, two)
    for step in ((1, 2), (2, 1), (2,)):
        write_keys(key, *step)
        for m in (one, two):
            since = m.broker.log_size()
            m.broker.signal(signal.SIGHUP)
            equal(m.waits('cluster_key_read', since=since)['keys'], str(len(step)))
        probes = one.figure('probes_total')
        wait_until(lambda: one.figure('probes_total') > probes + 1, SECONDS)
    equal([m.events(event) for m in (one, two) for event in ('node_died', 'node_suspected')], [[]] * 4)
    late = Member(b, 3, [one], cluster__key_file=key_file(1))
    wait_until(lambda: one.figure('messages_refused_total', reason='forged') >= 1.0, SECONDS)
    equal(late.figure('members_alive'), 1.0)
    with open(key, 'w', encoding='ascii') as f:
        f.write('no key\n')
    one.broker.signal(signal.SIGHUP)
    equal(one.waits('cluster_key_refused')['in_force'], 'what was read before')
    probes = one.figure('probes_total')
    wait_until(lambda: one.figure('probes_total') > probes + 1, SECONDS)
    equal(one.figure('members_alive'), 2.0)


@test(only='dunlin')
def a_copied_data_directory_is_told(b):
    """Both would be the same node. One of them at least says so, and starts over; the others know of one node."""
    data, copy = folder(), folder()
    one = Member(b, 1, [])
    two = Member(b, 2, [one], data__dir=data)
    node = one.waits('node_joined', 'n2')['node']
    shutil.copy(os.path.join(data, 'node.id'), copy)  # it begins with generation 1, as the first one did
    twin = Member(b, 3, [one], data__dir=copy)
    conflict = wait_until(lambda: twin.events('node_conflict') or two.events('node_conflict'), SECONDS * Launch.slow, 'a conflict')[0]
    equal((conflict['node'], conflict['level']), (node, 'error'))
    wait_until(lambda: twin.events('node_renewed') or two.events('node_renewed'), SECONDS * Launch.slow, 'a new start')
    equal(one.figure('members_alive'), 2.0)


# ---- Networks

@test(only='dunlin', timeout=60)
def tcp_alone_keeps_them_alive(b):
    """Datagrams go nowhere: streams find that nobody is dead."""
    needs_root()
    hosts = Hosts(b, {'lan': []}, [])
    name = hosts.names['lan']
    ip('-n', name, 'rule', 'add', 'pref', '10', 'ipproto', 'udp', 'blackhole')
    ip('-n', name, 'rule', 'add', 'pref', '100', 'lookup', 'local')
    ip('-n', name, 'rule', 'del', 'pref', '0')
    with hosts.inside('lan'):
        one = Member(b, 1, [])
        two = Member(b, 2, [one])
        know_each_other(one, two)
        wait_until(lambda: min(m.figure('probes_by_stream_total') for m in (one, two)) >= 6.0, 3 * SECONDS)
        equal([m.figure('members_alive') for m in (one, two)], [2.0, 2.0])
        equal([m.events('node_died') for m in (one, two)], [[], []])
        equal(one.figure('datagrams_dropped_total') > 0, True)
        for m in (one, two):
            m.broker.stop()


class Dns:
    """dnsmasq at 127.0.0.53 of the host `lan`, which programs that are prepared by prepare() ask."""

    def __init__(self, b, hosts):
        self.folder, self.b, self.hosts, self.program = folder(), b, hosts, None
        self.resolv = os.path.join(self.folder, 'resolv.conf')
        with open(self.resolv, 'w', encoding='ascii') as f:
            f.write('nameserver 127.0.0.53\noptions timeout:1 attempts:1\n')

    def says(self, *records):
        """Those records from now on."""
        if self.program is not None:
            self.program.terminate()
            self.program.wait()
        self.program = self.b.run(*self.hosts.command(
            'lan', 'dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--user=root', '--pid-file=',
            '--listen-address=127.0.0.53', '--bind-interfaces', '--local=/test/', *records))

    def prepare(self):
        if LIBC.unshare(CLONE_NEWNS) != 0 or LIBC.mount(None, b'/', None, MS_REC | MS_PRIVATE, None) != 0 or \
                LIBC.mount(self.resolv.encode(), b'/etc/resolv.conf', None, MS_BIND, None) != 0:
            raise OSError(ctypes.get_errno(), 'resolv.conf')


@test(only='dunlin', timeout=60)
def seeds_are_found_by_name(b):
    """Addresses of a name, and SRV records, as DNS has them at the moment; who has joined stays."""
    needs_root()
    if shutil.which('dnsmasq') is None:
        skip('there is no dnsmasq')
    hosts = Hosts(b, {'lan': []}, [])
    dns = Dns(b, hosts)

    class Prepared(Admin):
        def __init__(self, at, settings):
            self.port = PORTS.take()
            self.broker = at.another({'admin.listen': f'127.0.0.1:{self.port}', **settings}, prepare=dns.prepare)

    with hosts.inside('lan'):
        one = Member(b, 1, [])
        port = one.address.split(':')[1]
        dns.says('--address=/other.test/127.0.0.9')
        two = Member(b, 2, [f'nodes.test:{port}'], of=Prepared)
        equal(two.waits('seed_not_found')['seed'], 'nodes.test')
        dns.says('--host-record=nodes.test,127.0.0.1')
        know_each_other(one, two)
        two.waits('seeds_found')
        dns.says('--host-record=a.test,127.0.0.9', '--host-record=b.test,127.0.0.1',
                 '--srv-host=_dunlin._tcp.nodes.test,a.test,9', f'--srv-host=_dunlin._tcp.nodes.test,b.test,{port}')
        three = Member(b, 3, ['srv:_dunlin._tcp.nodes.test'], of=Prepared)
        know_each_other(one, two, three)
        equal([m.events('node_died') + m.events('node_left') for m in (one, two, three)], [[]] * 3)
        for m in (one, two, three):
            m.broker.stop()


# ---- What is told

@test(only='dunlin', timeout=60)
def it_is_ready_when_it_has_found_others(b):
    """Or after 10 s; at once where there is nobody to look for."""
    alone = Member(b, 1, [])
    equal(alone.asked.ask('/readyz')[::2], (200, 'ready\n'))
    nobody = f'127.0.0.9:{PORTS.take()}'
    begun = time.monotonic()
    waiting = Member(b, 2, [nobody])
    equal(waiting.asked.ask('/readyz')[::2], (503, 'joining the cluster\n'))
    found = Member(b, 3, [nobody, alone])
    wait_until(lambda: found.asked.ask('/readyz')[0] == 200, 8 * Launch.slow)
    equal(found.waits('cluster_joined')['alone'], 'false')
    equal(waiting.waits('cluster_joined')['alone'], 'true')
    equal(waiting.asked.ask('/readyz')[0], 200)
    equal(time.monotonic() - begun > 9.5, True, 'it has waited')


@test(only='dunlin')
def the_api_and_dunlinctl_show_the_nodes(b):
    one = Member(b, 1, [], of=Api)
    two = Member(b, 2, [one])
    know_each_other(one, two)
    status, said = one.asked.ask('/cluster', key='looker')
    equal((status, said['joining']), (200, False))
    equal([(m['name'], m['state'], m['self'], m['address']) for m in said['members']],
          [('n1', 'alive', True, one.address), ('n2', 'alive', False, two.address)])
    two.broker.kill()
    wait_until(lambda: one.asked.ask('/cluster')[1]['members'][1]['state'] == 'dead', SECONDS * Launch.slow)


@test(only='dunlin')
def dunlinctl_shows_the_nodes(b):
    at = f'127.0.0.1:{PORTS.take()}'
    ctl = Ctl(b, {'cluster.listen': at, 'node.name': 'solo'})
    said = ctl('cluster')
    equal(said.startswith('1 of 1 alive\n') and 'solo *' in said and at in said, True, said)
    equal(ctl.json('cluster status')['members'][0]['name'], 'solo')


@test(only='dunlin')
def a_node_without_a_cluster_says_so(b):
    api = Api(b)
    status, said = api.ask('/cluster')
    equal((status, 'cluster.listen' in said['detail']), (409, True))


@test(only='dunlin')
def what_strangers_could_reach_wants_a_key(b):
    for arguments, said in ((('--cluster', '0.0.0.0:4000'), 'cluster.key_file'), (('--cluster', '127.0.0.1:x'), 'HOST:PORT'),
                            (('--cluster', '127.0.0.1:4000', '--seed', 'nowhere'), 'cluster.seeds'),
                            (('--seed', 'a:1'), 'cluster.listen'), (('--node-name', 'a b'), 'node.name')):
        done = subprocess.run([Launch.program, '--check-config', *arguments], capture_output=True, text=True, check=False)
        equal((done.returncode, said in done.stderr), (1, True), done.stderr)
