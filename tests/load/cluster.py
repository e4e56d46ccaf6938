#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A cluster of real nodes under load, over a network with delay, loss and cuts.

    cluster.py --bin build/release/bin [--nodes 3] [--rounds 10000]
               [--only rounds|ids|streams|wills|death|partition|history|failover|join|rolling|cost]

  rounds    a subscription on one node, a message on another at once after SUBACK: each arrives
  ids       one client id connects at two nodes at the same instant: one stays (cluster_ids.py)
  streams   a thousand publishers and subscribers at QoS 1 and 2, each pair on two nodes, while ways
            between nodes are cut and healed every few seconds: nothing lost, repeated or out of order
  death     the same, and one node gets SIGKILL: how long publishers to the others wait
  partition ways between nodes are cut, in every shape, and healed: interest and retained messages are the
            same on all nodes afterwards (cluster_partition.py)
  wills     a node with a thousand clients that have wills is killed, and started again: each will once
  history   clients that come to any node, under kills, cuts, stops and more; all that they saw is judged
            (cluster_history.py, history.py): --nemesis, --promise, --seed, --previous
  failover  nodes with cluster.replicas are killed in turn: how long until clients whose sessions were there get messages at
            another one (cluster_failover.py): --kills
  join      a node comes to a cluster whose clients have a million filters (cluster_join.py)
  rolling   three nodes behind HAProxy, each drained and started again under a thousand clients that connect
            again (cluster_rolling.py)
  cost      processor time a message of the entry node and of the destination, beside that of one node

With --balanced all clients of `rounds` and `streams` come through HAProxy (cluster_balancer.py), which
gives them a node in turn. With --encrypted what nodes send each other is (cluster.tls).

The nodes are in namespaces of their own, joined by tests/e2e/network.py: 5 ms each way and 1 % loss in
`rounds` and `ids`, and in `streams` if they are balanced; else 1 ms and none. For `cost`, and for `join` without
--delay-ms, they are on this host's loopback. Needs root. Ends with 1 when anything was not as it should be.
"""
import argparse
import base64
import contextlib
import itertools
import json
import os
import queue
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from common import free_port, percentile, raise_descriptor_limit  # noqa: E402
from cluster_balancer import Balancer  # noqa: E402
import cluster_failover  # noqa: E402
import cluster_history  # noqa: E402
import cluster_ids  # noqa: E402
import cluster_join  # noqa: E402
import cluster_partition  # noqa: E402
import cluster_rolling  # noqa: E402
from network import Network  # noqa: E402
import raw  # noqa: E402

CLIENTS, GOSSIP, ADMIN, PROXIED = 1883, 4000, 9090, 1884
JOINED_S = 60
ENCRYPTED = {}  # settings of all nodes; of --encrypted


def encrypt(folder):
    """One certificate for all nodes, that they trust as it is."""
    certificate, key = os.path.join(folder, 'node.pem'), os.path.join(folder, 'node.key')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
                    '-subj', '/CN=nodes', '-keyout', key, '-out', certificate], check=True, stderr=subprocess.DEVNULL)
    ENCRYPTED.update({'cluster.tls': 'required', 'cluster.tls_certificate': certificate, 'cluster.tls_key': key,
                      'cluster.tls_ca': certificate})


class Nodes:
    """N brokers that are one cluster. net: where they run; None: here, on loopback. balancer: a host of the
    net, whose connections to PROXIED say who the client is. settings: more of them, of all nodes. disk_mib: each
    has a file system of its own, of that size, in memory. programs: by name, who has another than the others."""

    def __init__(self, program, count, net=None, balancer=None, settings=None, disk_mib=None):
        self.program, self.net, self.balancer, self.settings = program, net, balancer, {**ENCRYPTED, **(settings or {})}
        self.folder = tempfile.TemporaryDirectory(prefix='dunlin-cluster-')
        self.names = [f'n{i}' for i in range(count)]
        self.processes, self.programs, self.disk_mib, self.disks = {}, {}, disk_mib, []
        self.ports = {name: (CLIENTS, GOSSIP, ADMIN) if net else tuple(free_port() for _ in range(3))
                      for name in self.names}
        self.key = os.path.join(self.folder.name, 'key')
        with open(self.key, 'wb') as f:
            f.write(base64.b64encode(os.urandom(32)) + b'\n')
        self.admin_keys = os.path.join(self.folder.name, 'admin-keys')
        self.admin_key = subprocess.run(
            [program, 'admin-key', 'add', '--create', '--role', 'read-only', self.admin_keys, 'nobody'],
            check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()
        for name in self.names:
            self.start(name)
        self.wait_joined(self.names)

    def host(self, name):
        return self.net.address(name) if self.net else '127.0.0.1'

    def address(self, name):
        return self.host(name), self.ports[name][0]

    def url(self, name):
        return 'tcp://%s:%d' % self.address(name)

    def start(self, name):
        first = self.names[0]
        gossip = f'{self.host(name)}:{self.ports[name][1]}'
        settings = {
            'node.name': name, 'cluster.listen': gossip, 'cluster.key_file': self.key,
            'cluster.seeds': f'{self.host(first)}:{self.ports[first][1]}',
            'admin.listen': f'127.0.0.1:{self.ports[name][2]}', 'admin.keys_file': self.admin_keys,
            'data.dir': os.path.join(self.folder.name, name),
            'limits.connections_per_second_per_address': 0, 'allow_anonymous': 'true', **self.settings,
        }
        if self.balancer:  # it asks /readyz
            settings |= {'admin.listen': f'*:{self.ports[name][2]}',
                         'listeners.1.url': f'tcp://{self.host(name)}:{PROXIED}',
                         'listeners.1.proxy_protocol': 'required',
                         'listeners.1.proxy_from': self.net.address(self.balancer)}
        os.makedirs(settings['data.dir'], exist_ok=True)
        if self.disk_mib and settings['data.dir'] not in self.disks:
            subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={self.disk_mib}m', 'none', settings['data.dir']], check=True)
            self.disks.append(settings['data.dir'])
        command = [self.programs.get(name, self.program), '--listen', 'tcp://%s:%d' % self.address(name)]
        for key, value in settings.items():
            command += ['--set', f'{key}={value}']
        if self.net:
            command = self.net.command(name, *command)
        with open(self.log(name), 'ab') as log:
            self.processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)

    def log(self, name):
        return os.path.join(self.folder.name, f'{name}.log')

    def ask(self, name, path, key=None):
        """Its admin's answer, asked from within its host; None: there is none, or it is not 200."""
        request = urllib.request.Request(f'http://127.0.0.1:{self.ports[name][2]}{path}',
                                         headers={'Authorization': f'Bearer {key}'} if key else {})
        try:
            with self.net.inside(name) if self.net else contextlib.nullcontext():
                with urllib.request.urlopen(request, timeout=2) as answer:
                    return answer.read().decode()
        except OSError:
            return None

    def figure(self, name, metric):
        """Of its metrics; None: it does not answer, or has none of that name."""
        text = self.ask(name, '/metrics') or ''
        found = re.search(rf'^{metric} (\S+)$', text, re.MULTILINE)
        return found and float(found[1])

    def living(self, name):
        return self.figure(name, 'dunlin_cluster_members_alive')

    def wait_joined(self, names):
        end = time.monotonic() + JOINED_S
        while any(self.living(name) != len(names) for name in names):
            if time.monotonic() > end:
                sys.exit(f'the nodes do not find each other: {[self.living(n) for n in names]}\n' +
                         self.said())
            time.sleep(0.2)

    def said(self):
        text = ''
        for name in self.names:
            with open(self.log(name), encoding='utf-8', errors='replace') as f:
                text += f'---- {name}\n' + ''.join(f.readlines()[-15:])
        return text

    def pid(self, name):
        """Of the broker itself, which `ip netns exec` has become."""
        return self.processes[name].pid

    def processor_s(self, name):
        with open(f'/proc/{self.pid(name)}/stat', encoding='utf-8') as f:
            fields = f.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def memory(self, name):
        """Bytes resident."""
        with open(f'/proc/{self.pid(name)}/status', encoding='utf-8') as f:
            return int(re.search(r'^VmRSS:\s+(\d+)', f.read(), re.MULTILINE)[1]) * 1024

    def at_each(self, prefix):
        """A client that is connected to each node."""
        clients = {name: raw.Client(self.address(name)) for name in self.names}
        for name, client in clients.items():
            client.connect(client_id=f'{prefix}-{name}')
        return clients

    def end(self, name):
        self.processes[name].terminate()
        return self.processes[name].wait(30)

    def kill(self, name):
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self):
        for process in self.processes.values():
            process.terminate()
        bad = []
        for name, process in self.processes.items():
            try:
                status = process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                status = 'nothing: it had to be killed'
            if status not in (0, -9):
                bad.append(f'{name} ended with {status}')
        text = self.said() if bad else ''
        for disk in self.disks:
            subprocess.run(['umount', '-l', disk], check=True)
        self.folder.cleanup()
        return bad, text


class Faults:
    def __init__(self):
        self.count = 0

    def add(self, text):
        self.count += 1
        if self.count <= 10:
            print(f'  WRONG: {text}', flush=True)


# ---- rounds

ROUNDS_AT_A_TIME = 8


def rounds(nodes, count, faults, at_each):
    """at_each: nodes', or the balancer's."""
    numbers, times, lock = queue.SimpleQueue(), [], threading.Lock()
    for number in range(count):
        numbers.put(number)

    def work(seed):
        chance = random.Random(seed)
        clients = at_each(f'w{seed}')
        while True:
            try:
                number = numbers.get_nowait()
            except queue.Empty:
                return
            at, from_ = chance.sample(nodes.names, 2)
            topic, qos = f'rounds/{seed}/{number}', chance.randrange(3)
            topic_filter = chance.choice([topic, f'rounds/{seed}/{number}/#', f'rounds/+/{number}'])
            try:
                clients[at].subscribe(topic_filter, qos=2)
                begun = time.monotonic()
                clients[from_].publish(topic, str(number).encode(), qos=qos)
                clients[at].expect_message(topic)
                with lock:
                    times.append(time.monotonic() - begun)
                clients[at].unsubscribe(topic_filter)
            except (OSError, AssertionError) as e:
                faults.add(f'round {number}, {at} subscribes to {topic_filter}, {from_} publishes at '
                           f'QoS {qos}: {(str(e) or repr(e)).splitlines()[0]}')
                for client in clients.values():
                    client.close()
                clients = at_each(f'w{seed}')

    begun = time.monotonic()
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(ROUNDS_AT_A_TIME)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = times or [0.0]
    print(f'rounds    {len(times)} of {count} arrived, {time.monotonic() - begun:.0f} s; from PUBLISH to '
          f'arrival p50 {percentile(times, 50) * 1000:.1f} ms, p99 {percentile(times, 99) * 1000:.1f} ms, '
          f'most {max(times) * 1000:.0f} ms')


# ---- streams

def generator(folder, url, subscribe_url, qos, clients, rate, seconds, out):
    return subprocess.Popen(
        [os.path.join(folder, 'dunlin-bench'), 'pair', '--publishers', str(clients), '--qos', str(qos),
         '--rate', str(rate), '--url', url, '--subscribe-url', subscribe_url, '--version', '5',
         '--duration', str(seconds), '--drain', '30', '--quiet', '--json', out],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def streams(folder, nodes, net, seconds, faults, death=None, balancer=None):
    """Cuts, or the death of a node. Balanced: who is on which node is HAProxy's to say."""
    pairs = [(a, b, qos) for a, b in itertools.permutations(nodes.names, 2) for qos in (1, 2)
             if death not in (a, b)]
    if death is not None:  # and those that have to wait for it
        pairs += [(a, death, 1) for a in nodes.names if a != death]
    clients = max(1, 500 // len(pairs))
    running = []
    for number, (a, b, qos) in enumerate(pairs):
        out = os.path.join(nodes.folder.name, f'{number}.json')
        from_, to = (balancer.url,) * 2 if balancer else (nodes.url(a), nodes.url(b))
        running.append((a, b, qos, out, generator(folder, from_, to, qos, clients, 2 * clients, seconds, out)))
    if balancer:
        time.sleep(5)
        connected = [int(nodes.figure(name, 'dunlin_connections') or 0) for name in nodes.names]
        print(f'          connected to the nodes: {", ".join(map(str, connected))}', flush=True)
    end, cuts, chance = time.monotonic() + seconds, 0, random.Random(7)
    if death is not None:
        time.sleep(seconds / 3)
        nodes.kill(death)
    while death is None and time.monotonic() < end - 5:
        time.sleep(chance.uniform(1, 3))
        a, b = chance.sample(nodes.names, 2)
        kind = chance.randrange(3)
        net.cut([(a, b), (b, a)] if kind == 0 else [(a, b)] if kind == 1 else
                [(x, y) for x in nodes.names for y in nodes.names if (x == a) != (y == a)])
        cuts += 1
        time.sleep(chance.uniform(0.5, 3))
        net.cut([])
    sums = {'sent': 0, 'received': 0, 'lost': 0, 'duplicates': 0, 'disordered': 0}
    most = 0.0
    for a, b, qos, out, process in running:
        process.wait()
        if death == b:
            continue  # its subscribers have gone with it
        try:
            with open(out, encoding='utf-8') as f:
                said = json.load(f)
        except (OSError, ValueError):
            faults.add(f'{a} to {b}, QoS {qos}: the generator has said nothing')
            continue
        for key in sums:
            sums[key] += said[key]
        most = max(most, said['latency_ns'].get('most', 0) / 1e9)
        if said['lost'] or said['duplicates'] or said['disordered'] or said['broken_connections']:
            faults.add(f'{a} to {b}, QoS {qos}: ' + ', '.join(
                f'{said[key]} {key}' for key in ('lost', 'duplicates', 'disordered', 'broken_connections')))
    what = f'{cuts} cuts' if death is None else f'{death} killed'
    print(f'{"streams" if death is None else "death":9} {len(pairs) * clients * 2} clients, {what}: '
          f'{sums["sent"]} sent, {sums["received"]} received, {sums["lost"]} lost, {sums["duplicates"]} '
          f'repeated, {sums["disordered"]} out of order; the longest way {most:.1f} s')


# ---- cost

def cost(program, folder, seconds):
    """Of one node, and of entry and destination, at the same load: us a message of each."""
    print('cost      us of processor time a message: one node; entry and destination; of them together')
    nodes = Nodes(program, 3)
    out = os.path.join(nodes.folder.name, 'cost.json')
    a, b = nodes.names[0], nodes.names[1]
    for what in (['--window', '50'], ['--window', '50', '--qos', '1'], ['--rate', '5000'],
                 ['--rate', '5000', '--qos', '1']):
        figures = []
        for to in (a, b):
            before = {name: nodes.processor_s(name) for name in nodes.names}
            subprocess.run([os.path.join(folder, 'dunlin-bench'), 'pair', '--publishers', '10', *what,
                            '--url', nodes.url(a), '--subscribe-url', nodes.url(to), '--quiet', '--warmup',
                            '0', '--duration', str(seconds), '--json', out], check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            with open(out, encoding='utf-8') as f:
                said = json.load(f)
            each = {name: (nodes.processor_s(name) - before[name]) / max(1, said['received']) * 1e6
                    for name in nodes.names}
            figures.append((each, said['received'] / seconds))
        (one, one_rate), (two, two_rate) = figures
        print(f'          {" ".join(what):22} {one[a]:.2f} ({one_rate:,.0f}/s); {two[a]:.2f} and {two[b]:.2f}'
              f' ({two_rate:,.0f}/s); {(two[a] + two[b]) / one[a]:.2f} times')
    return nodes.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', required=True)
    parser.add_argument('--nodes', type=int, default=3)
    parser.add_argument('--only', choices=['rounds', 'ids', 'streams', 'wills', 'death', 'partition', 'history', 'join',
                                            'failover', 'rolling', 'cost'])
    parser.add_argument('--balanced', action='store_true', help='rounds and streams, through HAProxy')
    parser.add_argument('--encrypted', action='store_true', help='cluster.tls')
    parser.add_argument('--filters', type=int, default=1000000, help='of join')
    parser.add_argument('--rounds', type=int, help='10000; of history 6')
    parser.add_argument('--nemesis', default='kill,partition,cut,stop,drain', metavar='LIST',
                        help=f'of history: some of {",".join(cluster_history.NEMESES)}')
    parser.add_argument('--promise', choices=['today', 'replicated'], default='today', help='of history: what is expected')
    parser.add_argument('--seed', type=int, default=int(time.time()) % 100000, help='of history')
    parser.add_argument('--long', action='store_true', help='of history: cuts and stops until nodes are called dead')
    parser.add_argument('--previous', metavar='BIN', help='of history: the broker that nemesis previous starts')
    parser.add_argument('--pairs', type=int, default=8, help='of history: publishers, and subscribers')
    parser.add_argument('--rate', type=float, default=10, help='of history: messages a second of each publisher')
    parser.add_argument('--keep', metavar='FILE', help='of history: all events, as lines; and the logs, beside it')
    parser.add_argument('--delay-ms', type=int, default=0, help='of join, each way; 0: on loopback')
    parser.add_argument('--kills', type=int, default=100, help='of failover')
    parser.add_argument('--clients', type=int, default=1000, help='of rolling')
    parser.add_argument('--cuts-s', type=int, nargs='+', default=[3, 15],
                        help='of partition: for so long, each shape; a node is called dead after 5 to 7')
    parser.add_argument('--seconds', type=int, default=60, help='of streams')
    args = parser.parse_args()
    nemeses = args.nemesis.split(',')
    if set(nemeses) - set(cluster_history.NEMESES) or ('previous' in nemeses) != (args.previous is not None):
        parser.error(f'--nemesis: of {cluster_history.NEMESES}; previous with --previous')
    history_rounds, args.rounds = args.rounds or 6, args.rounds or 10000
    raise_descriptor_limit()
    program = os.path.join(args.bin, 'dunlin')
    certificates = tempfile.TemporaryDirectory(prefix='dunlin-certificates-')
    if args.encrypted:
        encrypt(certificates.name)
    faults = Faults()

    def wanted(what):
        return args.only in (None, what)

    def over(nodes):
        bad, text = nodes.stop()
        for line in bad:
            faults.add(f'{line}\n{text}')

    if args.balanced:
        with Network([*(f'n{i}' for i in range(args.nodes)), 'balancer']) as net:
            nodes = Nodes(program, args.nodes, net, 'balancer')
            try:
                with Balancer(net, 'balancer', nodes.folder.name,
                              {name: (nodes.host(name), PROXIED, ADMIN) for name in nodes.names}) as balancer:
                    net.shape(delay_ms=5, loss=0.01)
                    if wanted('rounds'):
                        rounds(nodes, args.rounds, faults, balancer.at_each)
                    if wanted('streams'):
                        streams(args.bin, nodes, net, args.seconds, faults, balancer=balancer)
            finally:
                over(nodes)
    elif any(wanted(what) for what in ('rounds', 'ids', 'streams', 'wills', 'death', 'partition')):
        with Network([f'n{i}' for i in range(args.nodes)]) as net:
            nodes = Nodes(program, args.nodes, net)
            try:
                if wanted('rounds'):
                    net.shape(delay_ms=5, loss=0.01)
                    rounds(nodes, args.rounds, faults, nodes.at_each)
                if wanted('ids'):
                    net.shape(delay_ms=5, loss=0.01)
                    cluster_ids.ids(nodes, args.rounds, faults)
                net.shape(delay_ms=1)
                if wanted('streams'):
                    streams(args.bin, nodes, net, args.seconds, faults)
                if wanted('partition'):
                    cluster_partition.partition(nodes, net, faults, raw, args.cuts_s)
                if wanted('wills'):
                    cluster_ids.wills(nodes, 1000, nodes.names[-1], faults)
                if wanted('death'):
                    streams(args.bin, nodes, net, args.seconds, faults, death=nodes.names[-1])
            finally:
                over(nodes)
    if wanted('history') and not args.balanced:
        with Network([*(f'n{i}' for i in range(args.nodes)), 'balancer']) as net:
            net.shape(delay_ms=1)
            replicas = {'cluster.replicas': 3, 'cluster.initial_size': args.nodes} if args.promise == 'replicated' else {}
            nodes = Nodes(program, args.nodes, net, 'balancer', disk_mib=cluster_history.DISK_MIB if 'full' in nemeses else None,
                          settings={'drain.wait_s': 1, 'data.journal_segment_bytes': 1 << 20, **replicas})
            try:
                with Balancer(net, 'balancer', nodes.folder.name,
                              {name: (nodes.host(name), PROXIED, ADMIN) for name in nodes.names}) as balancer:
                    cluster_history.run(nodes, net, balancer, faults, args.promise, nemeses, args.seed, history_rounds,
                                        args.pairs, args.rate, args.long, args.previous, args.keep)
            finally:
                over(nodes)
    if wanted('failover') and not args.balanced:
        with Network([f'n{i}' for i in range(args.nodes)]) as net:
            net.shape(delay_ms=1)
            nodes = Nodes(program, args.nodes, net, settings={'cluster.replicas': 3, 'cluster.initial_size': args.nodes})
            try:
                cluster_failover.failover(nodes, args.kills, 15, faults)
            finally:
                over(nodes)
    if wanted('join') and not args.balanced:
        with Network([f'n{i}' for i in range(args.nodes)]) if args.delay_ms else contextlib.nullcontext() as net:
            nodes = Nodes(program, args.nodes, net, settings=cluster_join.settings(args.filters))
            if net:
                net.shape(delay_ms=args.delay_ms)
            try:
                cluster_join.join(args.bin, nodes, args.filters, faults)
            finally:
                over(nodes)
    if wanted('rolling') and not args.balanced:
        bad, text = cluster_rolling.rolling(lambda settings: Nodes(program, 3, settings=settings), args.clients, faults)
        for line in bad:
            faults.add(f'{line}\n{text}')
    if wanted('cost') and not args.balanced:
        bad, text = cost(program, args.bin, 5)
        for line in bad:
            faults.add(f'{line}\n{text}')
    print(f'{faults.count} faults')
    return 1 if faults.count else 0


if __name__ == '__main__':
    sys.exit(main())
