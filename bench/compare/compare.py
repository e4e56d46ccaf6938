#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`./dev bench`: relay, Mosquitto and Dunlin in turn through the table of scenarios; the figures
to the terminal, and to docs/benchmarks.md with its plots."""
import argparse
import dataclasses
import os
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=wrong-import-position
import document
import plots
import scenarios
from contestants import raise_descriptor_limit
from results import Results, run_group

FULL_ROUNDS, QUICK_ROUNDS = 3, 2
QUICK_SECONDS = 1.2  # of each run


def parse():
    parser = argparse.ArgumentParser(prog='./dev bench', description=__doc__)
    parser.add_argument('--bin', required=True, help=argparse.SUPPRESS)
    parser.add_argument('--quick', action='store_true',
                        help='the scenarios that matter most: about 5 minutes')
    parser.add_argument('--rounds', type=int, help='how often each is run (3; with --quick 2)')
    parser.add_argument('--only', action='append', metavar='GROUP', choices=scenarios.GROUPS,
                        help='only that group: ' + ', '.join(scenarios.GROUPS))
    parser.add_argument('--from', dest='from_file', metavar='FILE',
                        help='measure nothing: write the document from these results')
    parser.add_argument('--out', default='docs', metavar='FOLDER',
                        help='where benchmarks.md and benchmarks/ go (docs)')
    return parser.parse_args()


def measure(options, results, folder):
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else FULL_ROUNDS)
    for title, group in scenarios.GROUPS.items():
        if options.only and title not in options.only:
            continue
        chosen = group
        if options.quick:
            chosen = [dataclasses.replace(s, seconds=min(s.seconds, QUICK_SECONDS))
                      for s in group if s.quick]
        if not chosen:
            continue
        print(f'== {title}', file=sys.stderr, flush=True)
        run_group(chosen, rounds, options.bin, folder, results)
        print(document.group_table(results, chosen), flush=True)
    return rounds


def command_of(options):
    """As it was typed, but for what only says where the results go."""
    words = ['./dev bench']
    words += ['--quick'] if options.quick else []
    words += [f'--rounds {options.rounds}'] if options.rounds else []
    words += [f"--only '{group}'" for group in options.only or []]
    return ' '.join(words)


def measured(options):
    results, begin = Results(), time.monotonic()
    folder = tempfile.mkdtemp(prefix='dunlin-bench-')
    os.chmod(folder, 0o755)  # mosquitto reads its certificate without root's rights
    try:
        rounds = measure(options, results, folder)
    finally:
        shutil.rmtree(folder)
    results.how = document.how(command_of(options), rounds, time.monotonic() - begin, options.bin)
    results.save(os.path.join(os.path.dirname(options.bin), 'benchmarks.json'))
    return results


def main():
    options = parse()
    raise_descriptor_limit()
    results = Results.load(options.from_file) if options.from_file else measured(options)
    os.makedirs(options.out, exist_ok=True)
    drawn = plots.write(results, os.path.join(options.out, 'benchmarks'))
    verdicts = document.write(os.path.join(options.out, 'benchmarks.md'), results, drawn)
    print('\n' + document.goal_table(verdicts))


if __name__ == '__main__':
    main()
