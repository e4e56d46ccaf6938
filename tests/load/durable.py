#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What keeping costs: messages to kept sessions, against the bare disk and against Mosquitto.

    durable.py --bin build/release/bin [--only online] [--clients 1000] [--seconds 10]

  online    QoS 1 to --clients kept sessions that are there, as fast as it goes
  offline   the same to sessions that are away, who come back and take what is queued
  fan-out   one message to --offline sessions that are away: bytes written, time
  drain     --queued messages that wait for one client who comes back: messages a second, memory
  start     a start with --sessions, --sessions retained messages and ten times as many queued ones:
            time, memory, and a checkpoint of much of it while others are at work

"raw" is what pwrite() and fdatasync() do with batches as large as the broker's, in a file that was
filled before, on the same disk, right after. Mosquitto (if there is one) has its persistence on, which
writes nothing while messages flow: it is a peer in speed, not in what it promises.
"""
import argparse
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from common import Broker, free_port, raise_descriptor_limit  # noqa: E402
from raw import Client, CONNACK, PUBACK, V5, wire  # noqa: E402

MAKERS = 2  # processes that make sessions
LASTS = {'session_expiry_interval': 86400}


class Kept(Broker):
    """A broker with a directory."""

    def __init__(self, folder, data, settings=None):
        self.admin = free_port()
        super().__init__(folder, {'data.dir': data, 'admin.listen': f'127.0.0.1:{self.admin}',
                                  'limits.sessions_max': 4000000,
                                  'limits.retained_messages_max': 4000000,
                                  'limits.session_queue_messages_max': 4000000,
                                  'limits.session_queue_bytes_max': 1 << 32, **(settings or {})})

    def metric(self, name):
        with urllib.request.urlopen(f'http://127.0.0.1:{self.admin}/metrics') as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(f'dunlin_{name} '):
                    return float(line.split()[1])
        sys.exit(f'there is no metric {name}')

    def is_ready(self):
        try:
            with urllib.request.urlopen(f'http://127.0.0.1:{self.admin}/readyz') as answer:
                return answer.status == 200
        except OSError:
            return False

    def written(self):
        return (time.monotonic(), self.metric('journal_bytes_total'),
                self.metric('journal_syncs_total'))

    def own(self):
        """MiB of its own: without the checkpoint's pages, which are the page cache's."""
        return self.memory('RssAnon') / 1024

    def wait(self, what, seconds=600):
        end = time.monotonic() + seconds
        while not what():
            if time.monotonic() > end:
                sys.exit('what was waited for did not come about')
            time.sleep(0.1)


class Watch(threading.Thread):
    """How much is written, and what memory it has, again and again."""

    def __init__(self, broker):
        super().__init__(daemon=True)
        self.broker, self.seen, self.most, self.over = broker, [], 0, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.25):
            self.seen.append(self.broker.written())
            self.most = max(self.most, self.broker.own())

    def end(self):
        """MiB at most."""
        self.over.set()
        self.join()
        return self.most

    def rate(self):
        """Bytes a second, and bytes in a batch, in the busiest half of the time."""
        self.end()
        steps = sorted((((b[1] - a[1]) / (b[0] - a[0]), b[1] - a[1], b[2] - a[2], b[0] - a[0])
                        for a, b in zip(self.seen, self.seen[1:])), reverse=True)
        busiest = steps[:max(1, len(steps) // 2)]
        size, syncs, took = (sum(step[i] for step in busiest) for i in (1, 2, 3))
        return size / took, size / max(1, syncs)


def bench(folder, port, *arguments):
    """The figures of dunlin-bench."""
    done = subprocess.run([os.path.join(folder, 'dunlin-bench'), *arguments, '--url',
                           f'tcp://127.0.0.1:{port}', '--quiet', '--json', '-'],
                          stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit(f'dunlin-bench {" ".join(arguments)} failed')
    return json.loads(done.stdout)


def raw(data, batch, seconds=3):
    """Bytes a second in batches of so many, one after the other."""
    batch = max(512, int(batch))
    path, room = os.path.join(data, 'raw'), 64 << 20
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(fd, bytes(room), 0)
    os.fsync(fd)
    block, at, count, begin = os.urandom(batch), 0, 0, time.monotonic()
    while time.monotonic() < begin + seconds:
        at = at if at + batch <= room else 0
        os.pwrite(fd, block, at)
        os.fdatasync(fd)
        at += batch
        count += 1
    took = time.monotonic() - begin
    os.close(fd)
    os.unlink(path)
    return batch * count / took


class Mosquitto:
    def __init__(self, data):
        self.port = free_port()
        path = os.path.join(data, 'mosquitto.conf')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(f'listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\n'
                    f'persistence true\npersistence_location {data}/\nmax_queued_messages 0\n'
                    'max_inflight_messages 0\nset_tcp_nodelay true\n')
        self.process = subprocess.Popen(['/usr/sbin/mosquitto', '-c', path],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)

    def end(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def tell(who, figures):
    for name, stage in figures['stages'].items():
        if name != 'connect':
            print(f'  {who:10} {name:8} {stage["per_s"]:>12,.0f}/s, {stage["ns_each"] / 1000:.2f} us of '
                  'the broker each')


SCENARIOS = {
    'online': lambda args: ['pair', '--qos', '1', '--keep-sessions', '--publishers',
                            str(args.clients), '--duration', str(args.seconds)],
    'offline': lambda args: ['offline', '--qos', '1', '--keep-sessions', '--count', '4000',
                             '--publishers', str(args.clients)],
}


def compare(args, data, name):
    """A load, and what the disk alone does with batches like those that were written."""
    arguments = SCENARIOS[name](args)
    print(f'{name}, {args.clients} sessions')
    with Kept(args.bin, os.path.join(data, name)) as broker:
        watch = Watch(broker)
        figures = bench(args.bin, broker.port, *arguments, '--pid', str(broker.process.pid))
        rate, batch = watch.rate()
    tell('dunlin', figures)
    bare = raw(data, batch)
    print(f'  {rate / 1e6:,.1f} MB/s of journal in batches of {batch:,.0f} bytes; raw '
          f'{bare / 1e6:,.1f} MB/s: ratio {bare / rate:.2f}')
    if os.path.exists('/usr/sbin/mosquitto'):
        peer = Mosquitto(data)
        tell('mosquitto', bench(args.bin, peer.port, *arguments, '--pid', str(peer.process.pid)))
        peer.end()


# ---- many sessions

def make_sessions(port, first, count, filters_of):
    """Sessions `away-N` that subscribe and go, a hundred at a time."""
    for at in range(first, first + count, 100):
        there = []
        for n in range(at, min(at + 100, first + count)):
            c = socket.create_connection(('127.0.0.1', port))
            c.sendall(wire.connect(V5, f'away-{n}', props=LASTS) +
                      wire.subscribe(V5, 1, [(name, 1) for name in filters_of(n)]))
            there.append(c)
        for c in there:
            got = b''
            while got.count(b'\x90') < 1 or len(got) < 10:  # until SUBACK
                part = c.recv(4096)
                if not part:
                    sys.exit('the broker has closed a connection')
                got += part
            c.sendall(wire.disconnect(V5))
            c.close()


def make_many(port, count, filters_of):
    makers = [multiprocessing.Process(target=make_sessions,
                                      args=(port, i * count // MAKERS, count // MAKERS, filters_of))
              for i in range(MAKERS)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
        if maker.exitcode != 0:
            sys.exit('sessions could not be made')


def fan_filter(_n):
    return ('fan/out',)


def start_filters(n):
    return f'group/{n // 1000}/#', f'own/{n}', f'alarm/{n % 100}'


def publish(port, topics, size=100, retain=False, window=1000):
    """Seconds until all are acknowledged."""
    with Client(('127.0.0.1', port), V5) as c:
        c.connect(f'publisher-{os.getpid()}')
        c.sock.settimeout(600)
        begin = time.monotonic()
        for at in range(0, len(topics), window):
            part = topics[at:at + window]
            c.send(*(wire.publish(V5, topic, b'x' * size, 1, i + 1, retain=retain)
                     for i, topic in enumerate(part)))
            for _ in part:
                c.expect(PUBACK)
        return time.monotonic() - begin


def fan_out(args, data):
    print(f'one message of 100 bytes to {args.offline:,} sessions that are away')
    with Kept(args.bin, os.path.join(data, 'fan-out')) as broker:
        begin, empty = time.monotonic(), broker.own()
        make_many(broker.port, args.offline, fan_filter)
        print(f'  made in {time.monotonic() - begin:.0f} s; '
              f'{(broker.own() - empty) * 2**20 / args.offline:,.0f} bytes of memory each')
        _, size, syncs = broker.written()
        took = publish(broker.port, ['fan/out'])
        _, size_now, syncs_now = broker.written()
        print(f'  {took * 1000:,.0f} ms until PUBACK; {size_now - size:,.0f} bytes in '
              f'{syncs_now - syncs:.0f} batches')


def drain(args, data):
    print(f'{args.queued:,} messages of 100 bytes wait for one client')
    with Kept(args.bin, os.path.join(data, 'drain'), {'data.checkpoint_interval_s': 2}) as broker:
        with Client(('127.0.0.1', broker.port), V5) as c:
            c.send(wire.connect(V5, 'drain', props=LASTS), wire.subscribe(V5, 1, [('drain', 1)]))
            c.expect(CONNACK)
            c.ping()
            c.disconnect()
        watch, empty = Watch(broker), broker.own()
        took = publish(broker.port, ['drain'] * args.queued)
        broker.wait(lambda: broker.metric('deliveries_on_disk') == args.queued)
        print(f'  queued at {args.queued / took:,.0f}/s; memory {empty:,.0f} MiB before, '
              f'{watch.end():,.0f} at most, {broker.own():,.0f} when all is on disk')
        watch, begin = Watch(broker), time.monotonic()
        count = take_all(broker.port, 'drain', args.queued)
        took = time.monotonic() - begin
        print(f'  {count:,} taken at {count / took:,.0f}/s; memory {watch.end():,.0f} MiB at most')


def take_all(port, client_id, count):
    """QoS 1, acknowledged in blocks, without looking at what is in them."""
    c = socket.create_connection(('127.0.0.1', port))
    c.sendall(wire.connect(V5, client_id, clean_start=False, props=LASTS))
    c.settimeout(60)
    rest, taken = b'', 0
    while taken < count:
        rest += c.recv(1 << 20)
        at, acks = 0, []
        while at + 2 <= len(rest):
            length, head = rest[at + 1], 2
            if length & 0x80:
                if at + 3 > len(rest):
                    break
                length, head = (length & 0x7F) | rest[at + 2] << 7, 3
            if at + head + length > len(rest):
                break
            if rest[at] >> 4 == 3:
                topic = int.from_bytes(rest[at + head:at + head + 2], 'big')
                acks.append(b'\x40\x02' + rest[at + head + 2 + topic:at + head + 4 + topic])
                taken += 1
            at += head + length
        rest = rest[at:]
        c.sendall(b''.join(acks))
    c.sendall(wire.disconnect(V5))
    c.close()
    return taken


def latency(args, broker, seconds):
    """p50 and p99, in ms, of others at a rate that is little for it."""
    figures = bench(args.bin, broker.port, 'pair', '--qos', '0', '--publishers', '50', '--rate',
                    '5000', '--duration', str(seconds))
    return tuple(figures['latency_ns'][name] / 1e6 for name in ('p50', 'p99'))


def start(args, data):
    print(f'{args.sessions:,} sessions with three subscriptions, as many retained messages, ten times as '
          'many queued ones')
    home = os.path.join(data, 'start')
    with Kept(args.bin, home) as broker:
        begin, empty = time.monotonic(), broker.own()
        make_many(broker.port, args.sessions, start_filters)
        print(f'  sessions made in {time.monotonic() - begin:.0f} s; '
              f'{(broker.own() - empty) * 2**20 / args.sessions:,.0f} bytes of memory each, with '
              'subscriptions')
        empty = broker.own()
        took = publish(broker.port, [f'group/{g}/x' for g in range(max(1, args.sessions // 1000))
                                     for _ in range(10)], window=20)
        broker.wait(lambda: broker.metric('deliveries_on_disk') >= args.sessions * 10)
        print(f'  queued in {took:.0f} s; {broker.own() - empty:,.0f} MiB more when all is on disk')
        begin, count = time.monotonic(), broker.metric('checkpoints_total')
        retain_many(broker.port, args.sessions)
        took = time.monotonic() - begin
        p50, p99 = latency(args, broker, 5)
        print(f'  retained in {took:.0f} s, and {broker.metric("checkpoints_total") - count:.0f} '
              f'checkpoints; others meanwhile: p50 {p50:.2f} ms, p99 {p99:.2f} ms')
    begin = time.monotonic()
    with Kept(args.bin, home) as broker:
        broker.wait(broker.is_ready)
        took = time.monotonic() - begin
        print(f'  ready {took:.1f} s after its start; memory {broker.own():,.0f} MiB; '
              + re.search(r'msg=revived (.*)', broker.said())[1])
        quiet = latency(args, broker, 5)
        broker.process.send_signal(signal.SIGTERM)
        broker.process.wait()
        print(f'  others afterwards: p50 {quiet[0]:.2f} ms, p99 {quiet[1]:.2f} ms')


def retain_some(port, first, count):
    """A window on each of some connections: each waits for its message to be on disk."""
    clients = [Client(('127.0.0.1', port), V5) for _ in range(50)]
    for i, c in enumerate(clients):
        c.connect(f'retain-{first}-{i}')
    for at in range(first, first + count, 50):
        for n, c in zip(range(at, min(at + 50, first + count)), clients):
            c.send(wire.publish(V5, f'retained/{n}', b'x' * 100, 1, 1, retain=True))
        for _n, c in zip(range(at, min(at + 50, first + count)), clients):
            c.expect(PUBACK)
    for c in clients:
        c.close()


def retain_many(port, count):
    makers = [multiprocessing.Process(target=retain_some,
                                      args=(port, i * count // MAKERS, count // MAKERS))
              for i in range(MAKERS)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', required=True)
    parser.add_argument('--clients', type=int, default=1000)
    parser.add_argument('--seconds', type=int, default=10)
    parser.add_argument('--offline', type=int, default=100000)
    parser.add_argument('--queued', type=int, default=1000000)
    parser.add_argument('--sessions', type=int, default=1000000)
    parser.add_argument('--only', action='append',
                        choices=['online', 'offline', 'fan-out', 'drain', 'start'])
    parser.add_argument('--dir', help='on the disk that is meant (a temporary one in build)')
    args = parser.parse_args()
    raise_descriptor_limit()
    data = tempfile.mkdtemp(prefix='durable-', dir=args.dir or os.path.dirname(args.bin))
    others = {'fan-out': fan_out, 'drain': drain, 'start': start}
    try:
        for name in [*SCENARIOS, *others]:
            if args.only and name not in args.only:
                continue
            if name in SCENARIOS:
                compare(args, data, name)
            else:
                others[name](args, data)
            sys.stdout.flush()
    finally:
        shutil.rmtree(data, ignore_errors=True)


if __name__ == '__main__':
    main()
