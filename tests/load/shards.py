#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a message costs the broker with one shard, and with more: the same scenario on each.

    shards.py --bin build/release/bin [--shards 1,2] [--other FOLDER]… [--rounds 3] [--seconds 4]

Pairs of clients, 64 bytes a message: devices (so many messages a second in all, each in a write of
its own) and streams (as many as will go), QoS 0 and 1. The brokers take turns, round by round, and
the table has medians of the rounds, with the least and the most: processor time of the broker, user
and system together, for each delivered message. --other: another build of the broker, in the same
rounds, with the largest number of shards.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from common import Broker, raise_descriptor_limit  # noqa: E402

RATES = (1000, 10000, 50000, 0)  # messages a second; 0: a stream


def measure(generator, folder, shards, rate, qos, args):
    """Nanoseconds for each delivered message, and messages a second."""
    with Broker(folder, {'node.shards': shards}) as broker:
        command = [generator, 'pair', '--url', f'tcp://127.0.0.1:{broker.port}',
                   '--publishers', str(args.pairs), '--subscribers', str(args.pairs),
                   '--payload', '64', '--qos', str(qos), '--duration', str(args.seconds),
                   '--pid', str(broker.process.pid), '--quiet', '--json', '-']
        if rate:
            command += ['--rate', str(rate)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f'dunlin-bench ended with {done.returncode}')
    flow = json.loads(done.stdout)['stages']['flow']
    return flow['ns_each'], flow['per_s']


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', required=True, help='folder of dunlin and dunlin-bench')
    parser.add_argument('--other', action='append', default=[], help='folder of another dunlin')
    parser.add_argument('--shards', default='1,2')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--seconds', type=int, default=4)
    parser.add_argument('--pairs', type=int, default=50)
    args = parser.parse_args()
    raise_descriptor_limit()
    counts = [int(n) for n in args.shards.split(',')]
    variants = [(f'{n} shard{"s" if n > 1 else ""}', args.bin, n) for n in counts]
    variants += [(f'{os.path.basename(folder)}, {max(counts)}', folder, max(counts))
                 for folder in args.other]
    generator = os.path.join(args.bin, 'dunlin-bench')

    print('us of the broker for each delivered message: median (least, most); messages a second')
    print(f'{"traffic":18}' + ''.join(f'{name:>36}' for name, _, _ in variants), flush=True)
    for rate in RATES:
        for qos in (0, 1):
            seen = {name: [] for name, _, _ in variants}
            for _ in range(args.rounds):
                for name, folder, shards in variants:
                    seen[name].append(measure(generator, folder, shards, rate, qos, args))
            line = f'{f"{rate}/s" if rate else "streams"}, QoS {qos}'
            line = f'{line:18}'
            for name, _, _ in variants:
                cost = [ns / 1000 for ns, _ in seen[name]]
                speed = statistics.median(speed for _, speed in seen[name])
                cell = f'{statistics.median(cost):.2f} ({min(cost):.2f}, {max(cost):.2f})'
                cell += f'; {speed:,.0f}'
                line += f'{cell:>36}'
            print(line, flush=True)


if __name__ == '__main__':
    main()
