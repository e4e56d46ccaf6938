#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Certificates replaced again and again while many clients publish: nobody may notice.

    rotation.py --bin build/release/bin [--clients 1000] [--rate 5000] [--seconds 60] [--how symlink]

--clients by TLS, half of them publishing at QoS 1, --rate messages a second together, while the
certificate and its key are replaced for --seconds: each as soon as new connections get the one
before. --how: symlink (as Kubernetes does), rename, or in place. Tells how long it takes until a new
certificate is in force, and what those who were connected had of it: messages lost, repeated or out
of order, connections ended (there may be none), and their latency.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from common import Broker, percentile, raise_descriptor_limit  # noqa: E402
import harness  # noqa: E402
from pki import pki  # noqa: E402
from test_tls_rotation import Files  # noqa: E402
from tls import serial_at  # noqa: E402

def start(args, b):
    pairs = args.clients // 2
    return subprocess.Popen(
        [os.path.join(args.bin, 'dunlin-bench'), 'pair', '--url',
         f'tls://localhost:{b.at["tls"][1]}', '--ca', pki().certificate('root'), '--publishers',
         str(pairs), '--qos', '1', '--rate', str(args.rate), '--duration', str(args.seconds),
         '--pid', str(b.process.pid), '--quiet', '--json', '-'], stdout=subprocess.PIPE, text=True)


def swap(b, files, load):
    """Seconds until new connections get the new certificate; None: the load is over."""
    files.put(*files.new())
    begin = time.monotonic()
    while serial_at(b.at['tls']) != files.serial:
        if load.poll() is not None:
            return None  # and nobody is left to notice
        if time.monotonic() > begin + 30:
            sys.exit(f'the new certificate is not in force after 30 s:\n{b.said()[-2000:]}')
        time.sleep(0.005)
    return time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', required=True, help='folder of the programs')
    parser.add_argument('--clients', type=int, default=1000)
    parser.add_argument('--rate', type=int, default=5000)
    parser.add_argument('--seconds', type=int, default=60)
    parser.add_argument('--how', choices=['symlink', 'rename', 'in place'], default='symlink')
    args = parser.parse_args()
    raise_descriptor_limit()
    with tempfile.TemporaryDirectory() as harness.Launch.folder:
        files = Files(args.how, 'load')
        with Broker(args.bin, {}, {'tls': files.listener()}) as b:
            load = start(args, b)
            wait_for_clients(b, args.clients)
            taken = list(iter(lambda: swap(b, files, load), None))
            out, _ = load.communicate(timeout=args.seconds + 60)
            run = json.loads(out)
    if not taken:
        sys.exit('no certificate has come into force meanwhile')
    print(f'{len(taken)} certificates, in force after: p50 {percentile(taken, 50) * 1e3:.0f} ms, '
          f'p99 {percentile(taken, 99) * 1e3:.0f} ms, most {max(taken) * 1e3:.0f} ms')
    faults = {key: run[key] for key in ('lost', 'duplicates', 'disordered', 'broken_connections',
                                        'refused')}
    print(f'{run["received"]} messages of {args.clients // 2} publishers; '
          f'latency p50 {run["latency_ns"]["p50"] / 1e6:.2f} ms, '
          f'p99 {run["latency_ns"]["p99"] / 1e6:.2f} ms, '
          f'most {run["latency_ns"]["most"] / 1e6:.2f} ms; {faults}')
    if any(faults.values()) or run['received'] == 0:
        sys.exit('somebody noticed')


def wait_for_clients(b, count):
    end = time.monotonic() + 60
    while b.counters().get('connect_accepted', 0) < count:
        if time.monotonic() > end:
            sys.exit('the clients do not connect')
        time.sleep(0.3)


if __name__ == '__main__':
    main()
