#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a message costs the broker on io_uring, and on epoll: the same scenario on each.

    io.py --bin build/release/bin [--shards 1,2] [--rounds 4] [--seconds 3] [--only TEXT]

Devices (pairs of clients, so many messages a second in all, each in a write of its own), streams (as
many as will go), large messages, a fan-out to a hundred, connections that come and go, and sessions
that are kept on disk. In each round io_uring and epoll follow one another, each with a fresh broker.
The table has medians of the rounds, with the least and the most: processor time of the broker's
process, user and system together, all its threads and the kernel's for it, for each delivered
message or connection; and the median of the ratios of runs that followed one another.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from common import Broker, raise_descriptor_limit  # noqa: E402

BACKENDS = ('io_uring', 'epoll')
PAIRS = 'pair --publishers 50 --subscribers 50'

# Name, arguments of dunlin-bench, the stage that counts, whether the broker keeps on disk.
SCENARIOS = [
    *((f'{rate}/s, QoS {qos}', f'{PAIRS} --rate {rate} --qos {qos}', 'flow', False)
      for rate in (1000, 10000, 50000) for qos in (0, 1)),
    *((f'streams, QoS {qos}', f'{PAIRS} --qos {qos}', 'flow', False) for qos in (0, 1)),
    ('64 KiB each, QoS 0', 'pair --publishers 10 --subscribers 10 --payload 64k --window 4', 'flow',
     False),
    ('fan-out to 100', 'fan-out --subscribers 100 --rate 200', 'flow', False),
    ('connections', 'churn --idle 50 --sources 8', 'churn', False),
    ('kept, 2000/s, QoS 1', f'{PAIRS} --rate 2000 --qos 1 --keep-sessions', 'flow', True),
    ('kept, stream, QoS 1', f'{PAIRS} --qos 1 --keep-sessions', 'flow', True),
]


def measure(args, arguments, stage, settings):
    """Nanoseconds of the broker for each, and how many of them a second."""
    with Broker(args.bin, settings) as broker:
        command = [os.path.join(args.bin, 'dunlin-bench'), *arguments.split(), '--url',
                   f'tcp://127.0.0.1:{broker.port}', '--duration', str(args.seconds), '--pid',
                   str(broker.process.pid), '--quiet', '--json', '-']
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f'dunlin-bench ended with {done.returncode}')
    figures = json.loads(done.stdout)['stages'][stage]
    return figures['ns_each'], figures['per_s']


def rounds(args, scenario, shards):
    """Of each backend, a list of what was measured in each round."""
    _, arguments, stage, kept = scenario
    seen = {backend: [] for backend in BACKENDS}
    for _ in range(args.rounds):
        for backend in BACKENDS:
            with tempfile.TemporaryDirectory(prefix='dunlin-io-', dir=args.data) as data:
                settings = {'node.shards': shards, 'process.io': backend}
                if kept:
                    settings['data.dir'] = data
                seen[backend].append(measure(args, arguments, stage, settings))
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', required=True, help='folder of dunlin and dunlin-bench')
    parser.add_argument('--shards', default='1,2')
    parser.add_argument('--rounds', type=int, default=4)
    parser.add_argument('--seconds', type=int, default=3)
    parser.add_argument('--only', default='', help='scenarios with that in their name')
    parser.add_argument('--data', help='where kept sessions are put (default: the temporary folder)')
    args = parser.parse_args()
    raise_descriptor_limit()

    print('us of the broker for each: median (least, most); how many a second; median of the ratios')
    print(f'{"traffic":22}{"shards":>7}' + ''.join(f'{name:>32}' for name in BACKENDS) +
          f'{"epoll / io_uring":>18}', flush=True)
    for scenario in SCENARIOS:
        if args.only not in scenario[0]:
            continue
        for shards in args.shards.split(','):
            seen = rounds(args, scenario, shards)
            line = f'{scenario[0]:22}{shards:>7}'
            for backend in BACKENDS:
                cost = [ns / 1000 for ns, _ in seen[backend]]
                speed = statistics.median(speed for _, speed in seen[backend])
                cell = f'{statistics.median(cost):.2f} ({min(cost):.2f}, {max(cost):.2f})'
                cell += f'; {speed:,.0f}'
                line += f'{cell:>32}'
            ratio = statistics.median(e[0] / u[0] for u, e in zip(*(seen[b] for b in BACKENDS)))
            print(f'{line}{ratio:>18.2f}', flush=True)


if __name__ == '__main__':
    main()
