#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Everybody comes back at once, by TLS: what their handshakes cost, and what others notice of it.

    storm.py --bin build/release/bin [--clients 5000] [--at-a-time 1000] [--rsa]

Three storms of --clients each, of which --at-a-time are under way at any moment: with full
handshakes, with resumed ones, and with half of each at once. Meanwhile two who have been connected
by TLS all along pass on 200 messages a second at QoS 1. For each storm: connections (TCP, TLS and
CONNECT) a second, the broker's processor time for each, and the others' latency. The clients are
dunlin-bench's, which needs about as much processor time as the broker: on a machine of few
processors the rate is that of both together, the processor time is not.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from common import HERE, Broker, raise_descriptor_limit  # noqa: E402
import harness  # noqa: E402
from pki import pki  # noqa: E402

COLUMNS = (('storm', 10), ('clients', 9), ('resumed', 9), ('seconds', 9), ('a second', 10),
           ('broker us', 11), ('system us', 11), ('p50 ms', 8), ('p99 ms', 8), ('longest', 9))


class Others:
    """The two who are there already (tests/e2e/bystander.py)."""

    def __init__(self, b):
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, '..', 'e2e', 'bystander.py'),
             str(b.at['tls'][1]), pki().certificate('root')],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != 'ready\n':
            sys.exit('the bystander does not connect')

    def end(self):
        out, _ = self.process.communicate(timeout=120)
        if self.process.returncode:
            sys.exit(f'the bystander has missed messages:\n{out}')
        return json.loads(out)


def start(args, b, name, clients, resume, at_a_time):
    return subprocess.Popen(
        [os.path.join(args.bin, 'dunlin-bench'), 'storm', '--url',
         f'tls://localhost:{b.at["tls"][1]}', '--ca', pki().certificate('root'), '--idle',
         str(clients), '--connecting', str(at_a_time), '--client-id', name, '--duration', '0.1',
         '--quiet', '--json', '-', *(['--resume'] if resume else [])],
        stdout=subprocess.PIPE, text=True)


def finish(process):
    out, _ = process.communicate(timeout=600)
    if process.returncode:
        sys.exit(f'dunlin-bench ended with {process.returncode}:\n{out}')
    return json.loads(out)


def storm(args, b, name, kinds):
    """kinds: for each program, whether it resumes."""
    others = Others(b)
    user, system = b.processor_s()
    programs = [start(args, b, f'{name}-{i}', args.clients // len(kinds), resume,
                      args.at_a_time // len(kinds)) for i, resume in enumerate(kinds)]
    runs = [finish(program) for program in programs]
    used = [after - before for after, before in zip(b.processor_s(), (user, system))]
    seen = others.end()
    stages = [next(iter(run['stages'].values())) for run in runs]
    connected = sum(run['connected'] for run in runs)
    refused = sum(run['refused'] + run['broken_connections'] for run in runs)
    seconds = max(stage['seconds'] for stage in stages)
    row = (name, connected, sum(run['resumed'] for run in runs), f'{seconds:.2f}',
           f'{connected / seconds:.0f}', f'{sum(used) / connected * 1e6:.0f}',
           f'{used[1] / connected * 1e6:.0f}', seen['p50_ms'], seen['p99_ms'], seen['longest_ms'])
    print(''.join(f'{value:>{width}}' for value, (_, width) in zip(row, COLUMNS)))
    return refused == 0 and connected == args.clients // len(kinds) * len(kinds)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', required=True, help='folder of the programs')
    parser.add_argument('--clients', type=int, default=5000)
    parser.add_argument('--at-a-time', type=int, default=1000)
    parser.add_argument('--rsa', action='store_true', help='a key of RSA 2048, not of P-256')
    args = parser.parse_args()
    raise_descriptor_limit()
    with tempfile.TemporaryDirectory() as harness.Launch.folder:
        name = 'server-rsa' if args.rsa else 'server'
        listener = {'url': 'tls://{}', 'certificate': pki().chain(name), 'key': pki().key(name)}
        settings = {'limits.handshakes_max': 100000, 'limits.handshake_timeout_s': 60,
                    'limits.connect_timeout_s': 60}
        with Broker(args.bin, settings, {'tls': listener}) as b:
            print(''.join(f'{title:>{width}}' for title, width in COLUMNS))
            good = [storm(args, b, name, kinds) for name, kinds in
                    (('full', [False]), ('resumed', [True]), ('mixed', [False, True]))]
    if not all(good):
        sys.exit('some did not get in')


if __name__ == '__main__':
    main()
