#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Lets a broker that counts its own branches (gcc's -fprofile-generate) do what brokers mostly do.

    train.py --broker build/trained/broker/dunlin --generator build/release/bin/dunlin-bench

What it counted lies beside its object files when this is done; the build that uses it is
`./dev build trained`. The traffic is that of bench/compare in small, and not all of it in streams,
so that the compiler takes neither for the only one. With two shards, so that mail counts, too.
"""
import argparse
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'tests', 'load'))

from common import Broker  # noqa: E402

SECONDS = 2
TRAFFIC = (
    *(f'pair --publishers 8 --subscribers 8 --qos {qos}' for qos in (0, 1, 2)),
    *(f'pair --publishers 8 --subscribers 8 --qos {qos} --version 5' for qos in (0, 1, 2)),
    *(f'pair --publishers 50 --subscribers 50 --rate 10000 --qos {qos}' for qos in (0, 1, 2)),
    'fan-out --subscribers 100',
    'fan-in --publishers 100 --qos 1',
    'shared --publishers 8 --subscribers 8 --qos 1',
    'wildcard --publishers 8 --foreign 10000',
    'churn --idle 100',
)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--broker', required=True)
    parser.add_argument('--generator', required=True)
    args = parser.parse_args()
    with Broker(os.path.dirname(args.broker), {'node.shards': 2}) as broker:
        for traffic in TRAFFIC:
            with tempfile.NamedTemporaryFile() as said:
                done = subprocess.run(
                    [args.generator, *traffic.split(), '--url', f'tcp://127.0.0.1:{broker.port}',
                     '--payload', '64', '--duration', str(SECONDS), '--quiet'],
                    stdout=said, stderr=said, check=False)
                if done.returncode:
                    said.seek(0)
                    sys.exit(f'{traffic}: {said.read().decode()}')


if __name__ == '__main__':
    main()
