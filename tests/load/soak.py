#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whether a broker that keeps takes ever more memory, or disk, with time.

    soak.py --bin build/release/bin [--minutes 30] [--clients 30]

All the time, at rates that are little for it: pairs at QoS 1 with kept sessions; clients that come,
subscribe, publish at QoS 1 and 2, and whose connections break at any moment, to come back to their
sessions or to begin anew; retained messages of a thousand topics that are replaced and deleted. Each minute a line. Memory
and disk of the last third are compared with those of the second: more than a tenth above is a failure
(status 1), as is a broken promise of dunlin-bench.
"""
import argparse
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from common import raise_descriptor_limit  # noqa: E402
from durable import Kept  # noqa: E402
from raw import V5, Client, Unexpected, wire  # noqa: E402

SLACK = 1.1
LEAST_MIB = 20  # smaller differences are no growth


def disk_mib(folder):
    done = subprocess.run(['du', '-s', '-k', folder], stdout=subprocess.PIPE, check=True)
    return int(done.stdout.split()[0]) / 1024


class Life(threading.Thread):
    """One after the other of a few clients, until it is over."""

    def __init__(self, port, number, over):
        super().__init__(daemon=True)
        self.port, self.number, self.over = port, number, over
        self.random, self.lives = random.Random(number), 0
        self.start()

    def run(self):
        while not self.over.is_set():
            try:
                self.live()
                self.lives += 1
            except (OSError, Unexpected, TimeoutError):
                if not self.over.is_set():
                    time.sleep(0.1)

    def live(self):
        r = self.random
        with Client(('127.0.0.1', self.port), V5) as c:
            c.connect(f'soak-{self.number}-{r.randrange(20)}', clean_start=r.random() < 0.2,
                      props={'session_expiry_interval': r.choice((60, 600, 3600)),
                             'receive_maximum': 20})
            for _ in range(r.randrange(3)):
                c.subscribe(f'soak/{r.randrange(50)}/#', qos=r.randrange(3))
            for _ in range(r.randrange(20)):
                topic = f'soak/{r.randrange(50)}/{r.randrange(20)}'
                c.publish(topic, bytes(r.randrange(500)), qos=r.randrange(3),
                          retain=r.random() < 0.2)
                while c.aside and r.random() < 0.7:
                    c.expect_message()
                time.sleep(r.random() * 0.2)
            if r.random() < 0.5:
                c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
            elif r.random() < 0.5:
                c.disconnect()


def retain(port, over):
    """Replaces and deletes."""
    r = random.Random(0)
    with Client(('127.0.0.1', port), V5) as c:
        c.connect('soak-retain')
        while not over.is_set():
            body = b'' if r.random() < 0.3 else bytes(r.randrange(1000))
            try:
                c.publish(f'soak-retained/{r.randrange(1000)}', body, qos=1, retain=True)
            except (OSError, Unexpected):
                if not over.is_set():
                    raise
            time.sleep(0.005)


def average(rows, field):
    return sum(row[field] for row in rows) / len(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', required=True)
    parser.add_argument('--minutes', type=int, default=30, help='3 at least')
    parser.add_argument('--clients', type=int, default=30)
    parser.add_argument('--rate', type=int, default=300, help='of the pairs, messages a second')
    args = parser.parse_args()
    raise_descriptor_limit()
    data = tempfile.mkdtemp(prefix='soak-', dir=os.path.dirname(args.bin))
    over, rows, failed = threading.Event(), [], False
    try:
        with Kept(args.bin, os.path.join(data, 'data'), {
                'data.checkpoint_interval_s': 10, 'limits.session_queue_messages_max': 300}) as broker:
            bench = subprocess.Popen(
                [os.path.join(args.bin, 'dunlin-bench'), 'pair', '--qos', '1', '--keep-sessions',
                 '--publishers', '50', '--rate', str(args.rate), '--duration',
                 str(args.minutes * 60 - 5), '--url', f'tcp://127.0.0.1:{broker.port}', '--quiet'],
                stdout=subprocess.DEVNULL)
            lives = [Life(broker.port, n, over) for n in range(args.clients)]
            threading.Thread(target=retain, args=(broker.port, over), daemon=True).start()
            for minute in range(1, args.minutes + 1):
                time.sleep(60)
                rows.append({'memory': broker.own(), 'disk': disk_mib(os.path.join(data, 'data')),
                             'sessions': broker.metric('sessions'),
                             'queued': broker.metric('deliveries_on_disk')})
                print('{:3} min: {memory:6.1f} MiB of memory, {disk:6.1f} on disk, {sessions:.0f} '
                      'sessions, {queued:.0f} deliveries on disk'.format(minute, **rows[-1]), flush=True)
            over.set()
            failed = bench.wait(120) != 0
        print(f'{sum(life.lives for life in lives):,} lives; dunlin-bench '
              f'{"complains" if failed else "has nothing to say"}')
        third = max(1, len(rows) // 3)
        for field in ('memory', 'disk'):
            before, after = average(rows[third:2 * third], field), average(rows[-third:], field)
            grown = after > max(before * SLACK, before + LEAST_MIB)
            print(f'{field}: {before:.1f} MiB in the second third, {after:.1f} in the last'
                  f'{": it grows" if grown else ""}')
            failed = failed or grown
    finally:
        shutil.rmtree(data, ignore_errors=True)
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
