# SPDX-License-Identifier: Apache-2.0
"""A pod's life without a cluster: the StatefulSet's command line, configuration, probes, user and grace
period, as a kubelet has them, behind HAProxy with deploy/haproxy's configuration; balancer, pod and
clients are hosts of their own. Start, ready, clients, drain, start again: nothing is lost that was
acknowledged. And the three pods of the overlay `cluster`, which find each other by the headless Service
as DNS has it. What is not rehearsed: the image (./dev check container), and Kubernetes' own parts."""
import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import yaml

from harness import Launch, Unexpected, equal, needs_root, skip, test, wait_until
from namespaces import Hosts
from network import Network
from raw import V5, Client, wire
from users import QUICK, QUICK_PASSWORD

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
BASE = os.path.join(ROOT, 'deploy', 'kubernetes', 'base')
OVERLAY = os.path.join(ROOT, 'deploy', 'kubernetes', 'overlays', 'cluster')
DOMAIN = 'dunlin.svc.cluster.local'
HAPROXY = '/usr/sbin/haproxy'
POD, BALANCER_IN, BALANCER_OUT, OUTSIDE = '10.77.0.2', '10.77.0.1', '10.78.0.1', '10.78.0.2'
EXPIRY = {'session_expiry_interval': 600}
WAIT_S = 4  # instead of the ConfigMap's; HAProxy takes two seconds to see it
SECONDS = 25

# A root file system with the programs of this machine, and the mounts of the pod.
MOUNTS = '''
set -e
mount -t tmpfs tmpfs "$1"
for d in /bin /lib /lib64 /sbin; do [ -d $d ] && ln -s "usr$d" "$1$d"; done
for d in /usr /proc /dev "$2"; do mkdir -p "$1$d"; mount --rbind $d "$1$d"; done
for d in /data /etc/dunlin /run/dunlin/secrets; do mkdir -p "$1$d"; mount --bind "$3$d" "$1$d"; done
cp "$3/resolv.conf" "$1/etc"
echo "$HOSTNAME" >/proc/sys/kernel/hostname
mount -o remount,ro "$1"
shift 3
exec chroot "$PODROOT" "$@"
'''


def manifest(kind):
    with open(os.path.join(BASE, f'{kind}.yaml'), encoding='utf-8') as f:
        return list(yaml.safe_load_all(f))


def patched(whole, patch):
    """What kustomize makes of it, of the operations that are in use here."""
    with open(os.path.join(OVERLAY, f'{patch}.yaml'), encoding='utf-8') as f:
        for step in yaml.safe_load(f):
            at, *path = whole, *step['path'].split('/')[1:]
            for word in path[:-1]:
                at = at[int(word) if isinstance(at, list) else word]
            if step['op'] == 'add' and path[-1] == '-':
                at.append(step['value'])
            else:
                at[path[-1]] = step['value']
    return whole


class Pod:
    """What a kubelet does with the StatefulSet's template: its files, its process, its probes."""

    def __init__(self, b, hosts, name='pod', address=POD, folder=BASE, stateful=None, resolv=''):
        self.b, self.hosts, self.name, self.host, self.address = b, hosts, name, name, address
        self.folder, self.resolv = folder, resolv
        self.spec = (stateful or manifest('statefulset')[0])['spec']['template']['spec']
        self.container, = self.spec['containers']
        self.ports = {p['name']: p['containerPort'] for p in self.container['ports']}
        self.files = tempfile.mkdtemp(prefix='pod-', dir=os.path.abspath(Launch.folder))
        self.process, self.ready, self.watch = None, False, None
        self.log_path = os.path.join(self.files, 'log')
        b.open.append(self)
        self._volumes()

    def _volumes(self):
        security = self.spec['securityContext']
        mounts = {m['name']: m['mountPath'] for m in self.container['volumeMounts']}
        equal(mounts, {'data': '/data', 'config': '/etc/dunlin', 'secrets': '/run/dunlin/secrets'})
        for place in mounts.values():
            os.makedirs(self.files + place)
        shutil.copy(os.path.join(self.folder, 'dunlin.yaml'), self.files + mounts['config'])
        with open(os.path.join(self.files, 'resolv.conf'), 'w', encoding='ascii') as f:
            f.write(self.resolv)
        with open(self.files + mounts['secrets'] + '/cluster-key', 'wb') as f:  # as secrets.sh makes it
            f.write(base64.b64encode(bytes(range(32))) + b'\n')
        with open(self.files + mounts['secrets'] + '/users', 'w', encoding='utf-8') as f:
            f.write(f'device:{QUICK}\n')
        keys = self.files + mounts['secrets'] + '/admin-keys'
        subprocess.run([Launch.program, 'admin-key', 'add', '--create', '--role', 'admin', keys, 'operator'], check=True,
                       capture_output=True)
        secret, = (v['secret'] for v in self.spec['volumes'] if v['name'] == 'secrets')
        for folder, _, names in os.walk(self.files):
            os.chmod(folder, 0o755)
            for path in [folder, *(os.path.join(folder, name) for name in names)]:
                os.chown(path, 0, security['fsGroup'])
                if path.startswith(self.files + mounts['secrets'] + '/'):
                    os.chmod(path, secret['defaultMode'])
        os.chmod(self.files + mounts['data'], 0o2775)

    def start(self):
        root = os.path.join(self.files, 'root')
        os.makedirs(root, exist_ok=True)
        security = self.spec['securityContext']
        program = os.path.abspath(Launch.program)
        tree = os.path.abspath(ROOT)  # also for files that a sanitizer's options name
        tree = tree if program.startswith(f'{tree}/') else os.path.dirname(program)
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(
                self.hosts.command(self.host, 'unshare', '--mount', '--uts', '--', 'sh', '-c', MOUNTS, 'sh', root, tree, self.files,
                                   'setpriv', '--reuid', str(security['runAsUser']), '--regid', str(security['runAsGroup']),
                                   '--groups', str(security['fsGroup']), '--bounding-set=-all', '--inh-caps=-all',
                                   '--no-new-privs', '--', program, *self.container['args']),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={'PATH': os.environ['PATH'], 'PODROOT': root, 'HOSTNAME': self.name, 'DUNLIN_DRAIN__WAIT_S': str(WAIT_S), 'DUNLIN_LOG__LEVEL': 'debug',
                     **{k: v for k, v in os.environ.items() if k.endswith('SAN_OPTIONS')}})

    def wait_started(self):
        startup = self.container['startupProbe']
        wait_until(lambda: self.probe('startupProbe'), startup['periodSeconds'] * startup['failureThreshold'], 'the startup probe')
        self.watch = threading.Thread(target=self._watch, args=(self.process,), daemon=True)
        self.watch.start()

    def probe(self, name):
        if self.process.poll() is not None:
            raise Unexpected(f'the pod ended:\n{self.log()[-3000:]}')
        probe = self.container[name]
        try:
            with self.hosts.inside(self.host):
                c = http.client.HTTPConnection(self.address, self.ports[probe['httpGet']['port']], timeout=probe.get('timeoutSeconds', 1))
                c.connect()
            c.request('GET', probe['httpGet']['path'])
            return 200 <= c.getresponse().status < 400
        except OSError:
            return False

    def _watch(self, process):
        """Readiness, as often as the kubelet asks and with its thresholds; and that it lives."""
        probe, failures = self.container['readinessProbe'], 0
        while process.poll() is None:
            try:
                failures = 0 if self.probe('readinessProbe') else failures + 1
            except Unexpected:
                break
            self.ready = failures < probe['failureThreshold'] and (self.ready or failures == 0)
            time.sleep(probe['periodSeconds'] / 4)  # four times as often, to be done sooner
        self.ready = False

    def log(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as f:
            return f.read()

    def events(self, name):
        whole = (line for line in self.log().splitlines() if line.startswith('{') and line.endswith('}'))
        return [e for e in map(json.loads, whole) if e['msg'] == name]

    def move(self, host, address):
        """It is to be started there next; its name stays."""
        self.host, self.address = host, address

    def terminate(self):
        """SIGTERM, and no SIGKILL: it has to be enough. The status."""
        self.process.send_signal(signal.SIGTERM)

    def wait_end(self):
        try:
            return self.process.wait(self.spec['terminationGracePeriodSeconds'])
        except subprocess.TimeoutExpired:
            raise Unexpected(f'the grace period was too short\n{self.log()[-3000:]}') from None

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.watch is not None:
            self.watch.join()
        shutil.rmtree(self.files)


class Device(threading.Thread):
    """A client outside, by the balancer: publishes numbers at QoS 1, one after the other, and comes back
    when it is sent away; what was not acknowledged it says again."""

    def __init__(self, hosts, number):
        super().__init__(daemon=True)
        self.hosts, self.id = hosts, f'device-{number}'
        self.acknowledged, self.told, self.resumed = 0, [], 0
        self.enough = threading.Event()

    def connect(self):
        c = by_balancer(self.hosts, self.id)
        self.resumed += c.connack.session_present
        return c

    def run(self):
        c = None
        while not self.enough.is_set():
            try:
                if c is None:
                    c = self.connect()
                number = self.acknowledged + 1
                c.send(wire.publish(V5, f'from/{self.id}', b'%d' % number, 1, number % 65535 + 1))
                p = c.recv()
                if p.type == wire.DISCONNECT:
                    self.told.append(p.reason)
                    raise ConnectionError
                self.acknowledged = number
                self.enough.wait(0.02)
            except (OSError, Unexpected):  # also: nobody behind the balancer
                if c is not None:
                    c.close()
                c = None
                self.enough.wait(0.05)
        if c is not None:
            c.close()


def by_balancer(hosts, client_id, clean_start=False):
    with hosts.inside('clients'):
        c = Client((BALANCER_OUT, 1883), V5)
    try:
        c.connack = c.connect(client_id, clean_start=clean_start, username='device', password=QUICK_PASSWORD.encode(), props=EXPIRY)
    except BaseException:
        c.close()
        raise
    return c


def gets_in(hosts, client_id):
    with contextlib.suppress(OSError, Unexpected):
        by_balancer(hosts, client_id, clean_start=True).close()
        return True
    return False


def rehearse(b):
    hosts = Hosts(b, {'pod': [POD], 'balancer': [BALANCER_IN, BALANCER_OUT], 'clients': [OUTSIDE]},
                  [('pod', 'balancer'), ('balancer', 'clients')])
    pod = Pod(b, hosts)
    pod.start()
    pod.wait_started()
    b.run(*hosts.command('balancer', 'env', f'DUNLIN={POD}', HAPROXY, '-db', '-f', os.path.join(ROOT, 'deploy', 'haproxy', 'haproxy.cfg')))
    wait_until(lambda: pod.ready, 20 * Launch.slow, 'the pod to be ready')
    wait_until(lambda: gets_in(hosts, 'first'), 20 * Launch.slow, 'a client to get in by the balancer', step=0.1)
    return hosts, pod


@test(only='dunlin', timeout=120)
def a_pod_is_drained_and_started_again(b):
    needs_root()
    for program in (HAPROXY, 'ip', 'setpriv', 'unshare'):
        if shutil.which(program) is None:
            skip(f'there is no {program}')
    hosts, pod = rehearse(b)
    peers = wait_until(lambda: {e['peer'].rsplit(':', 1)[0] for e in pod.events('client_connected') if e['client_id'] == 'first'},
                       what='a line about the client in the log')
    equal(peers, {OUTSIDE}, 'who the client is, by the PROXY protocol')

    away = by_balancer(hosts, 'away')
    away.subscribe('from/#', qos=1)
    away.disconnect()
    away.close()
    devices = [Device(hosts, i) for i in range(8)]
    for d in devices:
        d.start()
    wait_until(lambda: all(d.acknowledged > 20 for d in devices), 20 * Launch.slow, 'messages to be acknowledged')

    begin = time.monotonic()
    pod.terminate()
    wait_until(lambda: not pod.ready, what='the kubelet to see that it is not ready')
    before = [d.acknowledged for d in devices]
    wait_until(lambda: all(d.acknowledged > n for d, n in zip(devices, before)), what='clients that are served meanwhile')
    equal(time.monotonic() - begin < WAIT_S, True, 'all that was while it waited')
    wait_until(lambda: not gets_in(hosts, 'late'), what='the balancer to send nobody any more', step=0.1)
    equal(pod.process.poll(), None, 'it is there still when nobody is sent')
    equal(pod.wait_end(), 0)
    wait_until(lambda: all(d.told for d in devices), what='all to be told')
    equal({reason for d in devices for reason in d.told}, {0x8B})
    equal([e['clients'] for e in pod.events('clients_leaving')], [8])

    pod.start()
    pod.wait_started()
    wait_until(lambda: all(d.resumed == 1 for d in devices), 30 * Launch.slow, 'all to be back in their sessions')
    back = [d.acknowledged for d in devices]
    wait_until(lambda: all(d.acknowledged > n + 5 for d, n in zip(devices, back)), 20 * Launch.slow)
    for d in devices:
        d.enough.set()
    for d in devices:
        d.join()
    lost_nothing(hosts, devices)
    pod.terminate()
    equal(pod.wait_end(), 0)
    equal(re.search(r'ERROR: \w+Sanitizer|runtime error:|Assertion .* failed', pod.log()), None)


# ---- A cluster

class Dns:
    """The headless Service: the addresses of all pods that there are, ready or not."""

    def __init__(self, b, net):
        self.b, self.net, self.program = b, net, None
        self.resolv = f'nameserver {net.address("dns")}\nsearch {DOMAIN} svc.cluster.local cluster.local\noptions ndots:5\n'

    def says(self, *pods):
        if self.program is not None:
            self.program.terminate()
            self.program.wait()
        service = manifest('services')[0]['metadata']['name']
        self.program = self.b.run(*self.net.command(
            'dns', 'dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--user=root', '--pid-file=',
            f'--listen-address={self.net.address("dns")}', '--bind-interfaces', '--local=/cluster.local/',
            *(f'--host-record={service}.{DOMAIN},{self.net.address(pod)}' for pod in pods)))


def client_of(pod, client_id):
    with pod.hosts.inside(pod.host):
        c = Client((pod.address, pod.ports['mqtt']), V5)
    pod.b.open.append(c)
    c.connect(client_id, username='device', password=QUICK_PASSWORD.encode())
    return c


def passes(at, via, topic):
    """At once after SUBACK."""
    reader, writer = client_of(at, f'reader-{topic}'), client_of(via, f'writer-{topic}')
    reader.subscribe(topic, qos=1)
    writer.publish(topic, b'x', qos=1, expect=(0,))
    reader.expect_message(topic, b'x', qos=1)
    reader.disconnect()
    writer.disconnect()


@test(only='dunlin', timeout=180)
def three_pods_are_a_cluster(b):
    """From the overlay's files alone: all at once, ready when they have found each other; messages pass; one is
    ended as the kubelet does, and comes back at another address, as pods do."""
    needs_root()
    for program in ('ip', 'setpriv', 'unshare', 'dnsmasq'):
        if shutil.which(program) is None:
            skip(f'there is no {program}')
    stateful = patched(manifest('statefulset')[0], 'statefulset')
    names = [f'{stateful["metadata"]["name"]}-{i}' for i in range(stateful['spec']['replicas'])]
    equal((len(names), stateful['spec']['podManagementPolicy']), (3, 'Parallel'))
    net = Network([*names, 'again', 'dns'])
    b.open.append(net)
    dns = Dns(b, net)
    pods = [Pod(b, net, name, net.address(name), OVERLAY, stateful, dns.resolv) for name in names]
    equal({'cluster', 'cluster-udp'} <= {*pods[0].ports}, True)
    dns.says(*names)
    for pod in pods:
        pod.start()
    for pod in pods:
        pod.wait_started()
    wait_until(lambda: all(pod.ready for pod in pods), 40 * Launch.slow, 'all to be ready')
    for pod in pods:
        equal({e['name'] for e in pod.events('node_joined')}, {*names} - {pod.name})
    passes(pods[0], pods[1], 'a')
    passes(pods[2], pods[0], 'b')
    passes(pods[1], pods[2], 'c')

    pods[1].terminate()
    equal(pods[1].wait_end(), 0)
    wait_until(lambda: all(pods[i].events('node_left') for i in (0, 2)), 20 * Launch.slow, 'the others to know')
    pods[1].watch.join()
    pods[1].move('again', net.address('again'))
    dns.says(names[0], 'again', names[2])
    pods[1].start()
    pods[1].wait_started()
    wait_until(lambda: pods[1].ready, 40 * Launch.slow, 'it to be ready again')
    passes(pods[1], pods[2], 'd')
    passes(pods[0], pods[1], 'e')
    for pod in pods:
        pod.terminate()
    equal([pod.wait_end() for pod in pods], [0, 0, 0])
    for pod in pods:
        equal(pod.events('node_died'), [])
        equal(re.search(r'ERROR: \w+Sanitizer|runtime error:|Assertion .* failed', pod.log()), None)


def lost_nothing(hosts, devices):
    """Who was away gets each number, of each device in their order; the last of each perhaps twice."""
    owed = {f'from/{d.id}': d.acknowledged for d in devices}
    heard = dict.fromkeys(owed, 0)
    away = by_balancer(hosts, 'away')
    equal(away.connack.session_present, True)
    while any(heard[topic] < owed[topic] for topic in owed):
        p = away.expect_message()
        number = int(p.payload)
        equal(number in (heard[p.topic], heard[p.topic] + 1), True, f'{p.topic}: {number} after {heard[p.topic]}')
        heard[p.topic] = number
    away.close()
