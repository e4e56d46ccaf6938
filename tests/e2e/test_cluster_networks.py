# SPDX-License-Identifier: Apache-2.0
"""Nodes in networks where something is otherwise: UDP blocked, seeds by DNS, IPv6, no address of their own; and
what they say of all that."""
import ctypes
import os
import re
import shutil
import subprocess
import time

from admin import Admin
from api import Api
from cluster import SECONDS, Member, folder, key_file, know_each_other
from ctl import Ctl
from harness import PORTS, Launch, equal, needs_root, skip, test, wait_until
from namespaces import Hosts, ip

SECONDS = 31
DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'docs', 'cluster.md')
CLONE_NEWNS, MS_BIND, MS_PRIVATE, MS_REC = 0x20000, 4096, 1 << 18, 16384
LIBC = ctypes.CDLL(None, use_errno=True)


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


@test(only='dunlin', timeout=120)
def apart_and_together_again(b):
    """Three nodes of which none reaches another, while clients of all set, delete and subscribe: afterwards all have
    the same, nothing is lost, and nothing that was deleted is back."""
    needs_root()
    hosts = Hosts(b, {'lan': []}, [])
    name = hosts.names['lan']
    ip('-n', name, 'rule', 'add', 'pref', '100', 'lookup', 'local')
    ip('-n', name, 'rule', 'del', 'pref', '0')

    def rules(verb, nodes):
        for port in (m.address.split(':')[1] for m in nodes):
            for protocol in ('udp', 'tcp'):
                for side in ('sport', 'dport'):
                    ip('-n', name, 'rule', verb, 'pref', '10', 'ipproto', protocol, side, port, 'blackhole')

    def same(nodes):
        said = [{m['name']: m for m in n.asked.get('/cluster')['members'] if m['state'] == 'alive'} for n in nodes]
        retained = {m['retained_digest'] for members in said for m in members.values()}
        return all(len(members) == len(nodes) for members in said) and len(retained) == 1 and all(
            members[n.name]['interest_digest'] == own[n.name]['interest_digest']
            for n, own in zip(nodes, said) for members in said)

    with hosts.inside('lan'):
        one = Member(b, 1, [], of=Api)
        nodes = [one, Member(b, 2, [one], of=Api), Member(b, 3, [one], of=Api)]
        know_each_other(*nodes)
        clients = [n.broker.connected() for n in nodes]
        for i in range(12):
            clients[i % 3].publish(f'apart/{i}', b'before', qos=1, retain=True)
        wait_until(lambda: same(nodes), SECONDS * Launch.slow, 'the same at first')
        rules('add', nodes)
        for i in range(9):  # of three, one is deleted, one written anew, one as it was
            clients[i % 3].publish(f'apart/{i}', b'' if i < 3 else b'after', qos=0, retain=True)
        for i, c in enumerate(clients):
            c.publish(f'apart/new/{i}', b'after', qos=0, retain=True)
            c.subscribe(f'seen/{i}/#')
        for n in nodes:
            for other in nodes:
                if other is not n:
                    n.waits('node_died', other.name)
        rules('del', nodes)
        wait_until(lambda: same(nodes), 2 * SECONDS * Launch.slow, 'the same afterwards')
        want = {f'apart/{i}': b'after' if i < 9 else b'before' for i in range(3, 12)}
        want |= {f'apart/new/{i}': b'after' for i in range(3)}
        for n in nodes:
            c = n.broker.connected()
            c.subscribe('apart/#')
            equal({p.topic: p.payload for p in [c.expect_message(retain=True) for _ in want]}, want, n.name)
            c.expect_nothing()
        for n in nodes:
            n.broker.stop()


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


@test(only='dunlin')
def by_ipv6(b):
    port = PORTS.take()
    one = Member(b, 1, [], cluster__listen=f'[::1]:{port}')
    two = Member(b, 2, [f'[::1]:{port}'], cluster__listen=f'[::1]:{PORTS.take()}')
    know_each_other(one, two)
    equal(two.waits('node_joined', 'n1')['address'], f'[::1]:{port}')


@test(only='dunlin')
def all_addresses_are_none_to_tell(b):
    """The others are told the address by which the first seed is reached; or what cluster.advertise says."""
    key, ports = key_file(1), [PORTS.take() for _ in range(3)]
    one = Member(b, 1, [f'127.0.0.1:{ports[0]}'], cluster__listen=f'*:{ports[0]}', cluster__key_file=key)
    two = Member(b, 2, [f'127.0.0.1:{ports[0]}'], cluster__listen=f'*:{ports[1]}', cluster__key_file=key)
    three = Member(b, 3, [f'127.0.0.1:{ports[0]}'], cluster__listen=f'*:{ports[2]}', cluster__key_file=key,
                   cluster__advertise=f'127.0.0.3:{ports[2]}')
    know_each_other(one, two, three)
    equal([one.waits('node_joined', name)['address'] for name in ('n2', 'n3')],
          [f'127.0.0.1:{ports[1]}', f'127.0.0.3:{ports[2]}'])


# ---- What is told

@test(only='dunlin', timeout=60)
def it_is_ready_when_it_has_found_others(b):
    """Or after 10 s; at once where there is nobody to look for."""
    alone = Member(b, 1, [])
    wait_until(lambda: alone.asked.ask('/readyz')[::2] == (200, 'ready\n'), 5 * Launch.slow)
    nobody = f'127.0.0.9:{PORTS.take()}'
    begun = time.monotonic()
    waiting = Member(b, 2, [nobody])
    wait_until(lambda: waiting.asked.ask('/readyz')[::2] == (503, 'joining the cluster\n'))
    found = Member(b, 3, [nobody, alone])
    wait_until(lambda: found.asked.ask('/readyz')[0] == 200, 8 * Launch.slow)
    equal(found.waits('cluster_joined')['alone'], 'false')
    equal(waiting.waits('cluster_joined')['alone'], 'true')
    wait_until(lambda: waiting.asked.ask('/readyz')[0] == 200, 5 * Launch.slow)
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


@test(only='dunlin', timeout=60)
def the_tutorial_of_the_page(b):
    """The commands of docs/cluster.md for three terminals, as they stand there."""
    needs_root()
    with open(DOCS, encoding='utf-8') as f:
        page = f.read()
    starts = re.findall(r'^dunlin (--node-name .*)$', page, re.M)
    asks = re.findall(r'^(curl .*)$', page, re.M)
    equal((len(starts), len(asks)), (3, 2))
    hosts, home = Hosts(b, {'lan': []}, []), folder()
    for start in starts:
        b.run(*hosts.command('lan', os.path.abspath(Launch.program), *start.split()), cwd=home)

    def ask(command):
        return subprocess.run(hosts.command('lan', 'sh', '-c', command), capture_output=True, text=True, check=False).stdout

    wait_until(lambda: ask(asks[0]) == 'ready\n', SECONDS * Launch.slow, step=0.1)
    wait_until(lambda: 'dunlin_cluster_members_alive 3\n' in ask(asks[1]), SECONDS * Launch.slow, step=0.1)
