#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How many instructions each part of bench_parts takes, against what is expected of it.

    instructions.py --bin build/release/bin             # compares with instructions.tsv
    instructions.py --bin build/release/bin --update    # writes that file anew

Times move with the machine and its neighbours; the instructions of the same program do not. callgrind
counts them. One that has grown by more than 5 % fails; one that has shrunk by more is said, so that the
file gets its new value. Of gcc 12's release build; another compiler has other figures.
"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
EXPECTED = os.path.join(HERE, 'instructions.tsv')
OPERATIONS = 16384
TOLERANCE = 0.05


def instructions(program, name):
    """Of one operation."""
    run = subprocess.run(['valgrind', '--tool=callgrind', '--callgrind-out-file=/dev/null',
                          '--toggle-collect=counted_run', '--toggle-collect=micro_aside',
                          program, '--count', str(OPERATIONS), name],
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    found = re.search(r'Collected : (\d+)', run.stderr)
    if run.returncode != 0 or found is None:
        sys.exit(f'{name} cannot be counted:\n{run.stderr[-2000:]}')
    return int(found[1]) / OPERATIONS


def read_expected():
    with open(EXPECTED, encoding='utf-8') as f:
        return {name: float(n) for name, n in
                (line.rstrip('\n').split('\t') for line in f.readlines()[1:])}


def judge(name, now, expected):
    """Says it in a line; false: it has grown."""
    was = expected.get(name)
    if was is None:
        print(f'{name:24} {now:10.1f}   not in instructions.tsv: FAIL')
        return False
    change = now / was - 1
    verdict = 'FAIL' if change > TOLERANCE else 'less: --update' if change < -TOLERANCE else 'ok'
    print(f'{name:24} {now:10.1f} of {was:10.1f} {change:+7.1%}   {verdict}')
    return change <= TOLERANCE


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', required=True, help='folder of the programs')
    parser.add_argument('--update', action='store_true')
    args = parser.parse_args()
    program = os.path.join(args.bin, 'bench_parts')
    names = subprocess.run([program, '--list'], stdout=subprocess.PIPE, text=True,
                           check=True).stdout.split()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(names, pool.map(lambda name: instructions(program, name), names)))
    if args.update:
        with open(EXPECTED, 'w', encoding='utf-8') as f:
            f.write('operation\tinstructions\n')
            f.writelines(f'{name}\t{n:.1f}\n' for name, n in found.items())
        return 0
    expected = read_expected()
    good = [judge(name, n, expected) for name, n in found.items()]
    gone = set(expected) - set(found)
    if gone:
        print('in instructions.tsv, but not measured any more: ' + ', '.join(sorted(gone)))
    print(f'{sum(good)} passed, {len(good) - sum(good) + len(gone)} failed')
    return 0 if all(good) and not gone else 1


if __name__ == '__main__':
    sys.exit(main())
