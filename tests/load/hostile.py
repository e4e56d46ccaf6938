#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The hostile clients of the end-to-end tests (tests/e2e/test_hostile*.py), with their figures.

    hostile.py --bin build/release/bin [--slow FACTOR]

For each attack: how long it took, the broker's memory above what it was before (at its highest), the
highest in all, processor time, and the latency of a bystander who publishes 200 messages a second at
QoS 1 meanwhile. --slow as in tests/e2e/run.py, for a broker under a sanitizer.
"""
import argparse
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
RUN = os.path.join(HERE, '..', 'e2e', 'run.py')
COLUMNS = (('attack', 50, 'attack'), ('seconds', 8, 's'), ('grown_kib', 9, 'KiB more'),
           ('highest_kib', 9, 'highest'), ('processor_s', 9, 'cpu s'), ('p50_ms', 8, 'p50 ms'),
           ('p99_ms', 8, 'p99 ms'), ('longest_ms', 8, 'longest'))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', required=True, help='folder of the programs')
    parser.add_argument('--slow', type=float, default=1.0, metavar='FACTOR')
    args = parser.parse_args()
    run = subprocess.run([sys.executable, RUN, '--broker', os.path.join(args.bin, 'dunlin'),
                          '--slow', str(args.slow), '--only', 'hostile', '--jobs', '1'],
                         stdout=subprocess.PIPE, text=True, check=False)
    folder = os.path.join(os.path.dirname(os.path.abspath(args.bin)), 'e2e')
    print(''.join(f'{title:{"<" if key == "attack" else ">"}{width}}'
                  for key, width, title in COLUMNS))
    with open(os.path.join(folder, 'hostile.jsonl'), encoding='utf-8') as f:
        for figures in map(json.loads, f):
            print(''.join(f'{figures[key]:{"<" if key == "attack" else ">"}{width}}'
                          for key, width, _ in COLUMNS))
    if run.returncode:
        print(run.stdout)
    print(run.stdout.splitlines()[-1])
    return run.returncode


if __name__ == '__main__':
    sys.exit(main())
