#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What keeping costs: messages to kept sessions, against the bare disk and against Mosquitto.

    durable.py --bin build/release/bin [--clients 1000] [--seconds 10] [--offline 100000]

  online    QoS 1 to --clients kept sessions that are there, as fast as it goes
  offline   the same to sessions that are away, who come back and drain their queues
  fan-out   one message to --offline sessions that are away: bytes written, time
  start     a start with all that is on disk by then

"raw" is the time that pwrite() and fdatasync() take for as many bytes in as many batches as the broker
wrote, in a file that was filled before, on the same disk. Mosquitto (if there is one) has its persistence
on, which writes nothing while messages flow: it is a peer in speed, not in what it promises.
"""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from common import Broker, free_port, raise_descriptor_limit  # noqa: E402
from raw import Client, CONNACK, PUBACK, SUBACK, V5, wire  # noqa: E402



def metric(port, name):
    with urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics') as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f'{name} '):
                return float(line.split()[1])
    sys.exit(f'there is no metric {name}')


class Kept(Broker):
    """A broker with a directory."""

    def __init__(self, folder, data):
        self.admin = free_port()
        super().__init__(folder, {'data.dir': data, 'admin.listen': f'127.0.0.1:{self.admin}',
                                  'limits.sessions_max': 2000000})

    def written(self):
        return (metric(self.admin, 'dunlin_journal_bytes_total'),
                metric(self.admin, 'dunlin_journal_syncs_total'))


def bench(folder, port, *arguments):
    """The figures of dunlin-bench."""
    done = subprocess.run([os.path.join(folder, 'dunlin-bench'), *arguments, '--url',
                           f'tcp://127.0.0.1:{port}', '--quiet', '--json', '-'],
                          stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit(f'dunlin-bench {" ".join(arguments)} failed')
    return json.loads(done.stdout)


def raw(data, size, syncs):
    """Seconds for that much in so many batches, one after the other."""
    batch = max(512, int(size / syncs))
    path = os.path.join(data, 'raw')
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    room = 64 << 20
    os.pwrite(fd, bytes(room), 0)
    os.fsync(fd)
    block, at, begin = os.urandom(batch), 0, time.monotonic()
    for _ in range(int(syncs)):
        at = at if at + batch <= room else 0
        os.pwrite(fd, block, at)
        os.fdatasync(fd)
        at += batch
    took = time.monotonic() - begin
    os.close(fd)
    os.unlink(path)
    return took


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


SCENARIOS = {
    'online': ['pair', '--qos', '1', '--keep-sessions'],
    'offline': ['offline', '--qos', '1', '--count', '500'],
}


def arguments_of(args, name):
    return [*SCENARIOS[name], '--publishers', str(args.clients), '--duration', str(args.seconds)]


def tell(what, figures):
    for stage in figures['stages']:
        broker = stage.get('broker')
        cost = f', {broker["ns_each"] / 1000:.2f} us of the broker each' if broker else ''
        print(f'  {what:10} {stage["operation"]:12} {stage["per_s"]:>12,.0f}/s{cost}')


def compare(args, data, name):
    """A load, and the time that the disk alone takes for what was written meanwhile."""
    print(f'{name}, {args.clients} sessions')
    with Kept(args.bin, os.path.join(data, name)) as broker:
        before, begin = broker.written(), time.monotonic()
        figures = bench(args.bin, broker.port, *arguments_of(args, name), '--pid',
                        str(broker.process.pid))
        took = time.monotonic() - begin
        size, syncs = (now - then for now, then in zip(broker.written(), before))
    tell('dunlin', figures)
    bare = raw(data, size, syncs)
    print(f'  {size / 1e6:,.0f} MB in {syncs:,.0f} batches, {took:.1f} s; raw {bare:.1f} s: '
          f'ratio {took / bare:.2f} (with connecting and the bench\'s own waits)')
    if os.path.exists('/usr/sbin/mosquitto'):
        peer = Mosquitto(data)
        tell('mosquitto', bench(args.bin, peer.port, *arguments_of(args, name), '--pid',
                                str(peer.process.pid)))
        peer.end()


def connect_away(port, number):
    """A kept session that subscribes, and goes."""
    with Client(('127.0.0.1', port), V5) as c:
        c.send(wire.connect(V5, f'away-{number}', props={'session_expiry_interval': 86400}) +
               wire.subscribe(V5, 1, [('fan/out', 1)]))
        c.expect(CONNACK)
        c.expect(SUBACK)
        c.disconnect()


def publish(port, topic, count=1):
    """Seconds until all are acknowledged."""
    with Client(('127.0.0.1', port), V5) as c:
        c.connect('publisher')
        begin = time.monotonic()
        for i in range(count):
            c.send(wire.publish(V5, topic, b'x' * 100, qos=1, packet_id=i + 1))
        for i in range(count):
            c.expect(PUBACK)
        return time.monotonic() - begin


def fan_out(args, data):
    home = os.path.join(data, 'fan-out')
    print(f'one message of 100 bytes to {args.offline:,} sessions that are away')
    with Kept(args.bin, home) as broker:
        begin = time.monotonic()
        for number in range(args.offline):
            connect_away(broker.port, number)
        print(f'  made in {time.monotonic() - begin:.0f} s; '
              f'{broker.memory() * 1024 / args.offline:,.0f} bytes of memory each, with all else')
        before = broker.written()
        took = publish(broker.port, 'fan/out')
        size, syncs = (now - then for now, then in zip(broker.written(), before))
        print(f'  {took * 1000:,.0f} ms until PUBACK; {size:,.0f} bytes in {syncs:.0f} batches')
    begin = time.monotonic()
    with Kept(args.bin, home) as broker:
        publish(broker.port, 'nobody')
        print(f'start      {time.monotonic() - begin:.2f} s until it serves; '
              f'{broker.memory() / 1024:,.0f} MiB; '
              + re.search(r'msg=revived (.*)', broker.said())[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', required=True)
    parser.add_argument('--clients', type=int, default=1000)
    parser.add_argument('--seconds', type=int, default=10)
    parser.add_argument('--offline', type=int, default=100000)
    parser.add_argument('--only', choices=['online', 'offline', 'fan-out'])
    parser.add_argument('--dir', help='on the disk that is meant (a temporary one in build)')
    args = parser.parse_args()
    raise_descriptor_limit()
    data = tempfile.mkdtemp(prefix='durable-', dir=args.dir or os.path.dirname(args.bin))
    try:
        for name in SCENARIOS:
            if args.only in (None, name):
                compare(args, data, name)
        if args.only in (None, 'fan-out'):
            fan_out(args, data)
    finally:
        shutil.rmtree(data, ignore_errors=True)


if __name__ == '__main__':
    main()
