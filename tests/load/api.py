#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The admin port at many connections: what it takes, and what others notice of it.

    api.py --bin build/release/bin [--count 15000] [--seconds 10] [--shards 0] [--every 0.5]

Connects --count clients, each with a subscription of its own. A publisher sends a message each
millisecond to one subscriber, and the time until it arrives is measured: --seconds long while
nobody asks anything, then while /metrics is scraped every half a second, then while all clients are
listed, in pages of 1,000, and while all subscriptions to one topic are (--every 0: over and over).
Counted are the messages that were sent while an answer was awaited. To tell the noise, nobody asks at
the end of the run either, and "beside" is the same while the asker reads the same pages over and over
without asking for them: what its processor time alone does to others on this machine.
"""
import argparse
import http.client
import json
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from common import Broker, free_port, percentile, raise_descriptor_limit  # noqa: E402
from idle import Clients  # noqa: E402
from raw import Client, V5, wire  # noqa: E402

SENT_PER_S = 1000


class Pulse:
    """A publisher and a subscriber, each a thread; the times from one to the other in milliseconds.
    Ahead of the asker for the processor, so that it is the broker's waiting that is measured."""

    def __init__(self, address):
        os.nice(-10)
        self.times, self.ending = [], False
        self.subscriber = Client(address, V5)
        self.subscriber.connect('pulse-subscriber')
        self.subscriber.subscribe('pulse')
        self.publisher = Client(address, V5)
        self.publisher.connect('pulse-publisher')
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self.send, self.receive)]
        for thread in self.threads:
            thread.start()

    def send(self):
        due = time.monotonic()
        while not self.ending:
            self.publisher.send(wire.publish(V5, 'pulse', b'%.9f' % time.monotonic()))  # one clock for all processes
            due += 1 / SENT_PER_S
            time.sleep(max(0.0, due - time.monotonic()))

    def receive(self):
        while not self.ending:
            p = self.subscriber.recv(5)
            if p is not None and p.type == wire.PUBLISH:
                self.times.append((float(p.payload), 1000 * (time.monotonic() - float(p.payload))))

    def taken(self, spans=None):
        """Of those that were sent in one of the spans (begin, end); None: all."""
        times, self.times = self.times, []
        return [took for sent, took in times if spans is None or any(b <= sent < e for b, e in spans)]


class Asker:
    """Who asks over and over, as fast as answers come, in a process of its own."""

    def __init__(self, port, key):
        self.http = http.client.HTTPConnection('127.0.0.1', port, timeout=20)
        self.headers = {'Authorization': f'Bearer {key}'}
        self.page = None

    def get(self, path):
        self.http.request('GET', path, headers=self.headers)
        answer = self.http.getresponse()
        body = answer.read()
        if answer.status != 200:
            sys.exit(f'{path}: {answer.status} {body[:200]}')
        return body

    def metrics(self):
        return len(self.get('/metrics'))

    def listing(self, path):
        found, more = 0, ''
        while True:
            page = json.loads(self.get(f'{path}{more}'))
            found += len(page['items'])
            if 'cursor' not in page:
                return found
            more = f'&cursor={page["cursor"]}'

    def clients(self):
        return self.listing('/api/v1/clients?limit=1000')

    def beside(self):
        """Reads the pages of a listing of all clients without asking for them, but for the first."""
        if self.page is None:
            self.page = self.get('/api/v1/clients?limit=1000')
        return sum(len(json.loads(self.page)['items']) for _ in range(15))

    def topic(self):
        return self.listing('/api/v1/subscriptions?limit=1000&topic=all/of/them')


def ask_over_and_over(what, port, key, seconds, every):
    """Prints a line of JSON: when each began and ended, and what came."""
    os.nice(10)  # as a process usually is; the pulse is ahead of it
    asker, spans, found = Asker(port, key), [], 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.monotonic()
        found = getattr(asker, what)()
        spans.append((begin, time.monotonic()))
        time.sleep(max(0.0, begin + every - time.monotonic()))
    print(json.dumps({'spans': spans, 'found': found}))


def measure(pulse, broker, what, port, key, seconds, every):
    pulse.taken()
    before = sum(broker.processor_s())
    if what == 'nobody':
        time.sleep(seconds)
        asked, spans = '', None
    else:
        done = subprocess.run([sys.executable, __file__, '--ask', what, str(port), key, str(seconds), str(every)],
                              stdout=subprocess.PIPE, text=True, check=True)
        answer = json.loads(done.stdout)
        spans = answer['spans']
        took = [1000 * (e - b) for b, e in spans]
        asked = (f'{len(took)} times, {answer["found"]} found, median {percentile(took, 50):.1f} ms, most {max(took):.1f} ms')
    processor = sum(broker.processor_s()) - before
    times = pulse.taken(spans)
    print(f'{what:<8}  pulse p50 {percentile(times, 50):.2f}, p99 {percentile(times, 99):.2f}, most {max(times):.2f} ms'
          f' of {len(times)}; processor {processor:.1f} s; {asked}', flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', required=True, help='folder of the programs')
    parser.add_argument('--count', type=int, default=15000)
    parser.add_argument('--seconds', type=float, default=10)
    parser.add_argument('--shards', type=int, default=0)
    parser.add_argument('--every', type=float, default=0.5, help='seconds from one request to the next')
    args = parser.parse_args()
    if raise_descriptor_limit() < args.count + 100:
        sys.exit('the limit of open files is too low (ulimit -n)')
    port, keys = free_port(), f'/tmp/dunlin-keys-{os.getpid()}'
    key = subprocess.run([os.path.join(args.bin, 'dunlin'), 'admin-key', 'add', '--create', '--role', 'read-only', keys,
                          'load'], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    settings = {'admin.listen': f'127.0.0.1:{port}', 'admin.keys_file': keys, 'node.shards': args.shards}
    try:
        with Broker(args.bin, settings) as broker:
            clients = Clients(broker.address, args.count, V5, False)
            clients.connect()
            for s in clients.socks.values():
                s.send(wire.subscribe(V5, 1, [('all/of/them', 0)]))
            clients.answers(args.count, wire.SUBACK)
            print(f'{args.count} clients are connected, and subscribe to one filter')
            pulse = Pulse(broker.address)
            time.sleep(1)
            for what in ('nobody', 'metrics', 'clients', 'topic', 'beside', 'nobody'):
                measure(pulse, broker, what, port, key, args.seconds, args.every)
            pulse.ending = True
            clients.close()
    finally:
        os.remove(keys)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--ask']:
        ask_over_and_over(sys.argv[2], int(sys.argv[3]), sys.argv[4], float(sys.argv[5]), float(sys.argv[6]))
    else:
        main()
