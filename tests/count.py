# SPDX-License-Identifier: Apache-2.0
"""Prints how many tests passed and failed, of a meson testlog.json: `count.py FILE`.

`count.py --failed FILE` prints the programs that did not pass, a line each, with the lines in which
Criterion names its tests that failed.

A Criterion program counts with each of its tests, as its last line ("Synthesis") says; any other
program counts as one test. A program that ended badly counts as at least one failure, whatever
it said; and so does one with a leak, which Criterion passes over: its tests are processes that have
told their result by then. No file: meson found no tests.
"""
import json
import re
import sys

SYNTHESIS = re.compile(r'Synthesis: Tested: .*?(\d+).*?Passing: .*?(\d+)', re.DOTALL)
FAILED = re.compile(r'^\[FAIL\] (\w+::\w+)', re.MULTILINE)
LEAK = 'ERROR: LeakSanitizer'
ANSI = re.compile(r'\x1b\[[0-9;]*m')


def text_of(run):
    return ANSI.sub('', run.get('stdout', '') + run.get('stderr', ''))


def count(run):
    ok = run['result'] in ('OK', 'EXPECTEDFAIL')
    if run['result'] == 'SKIP':
        return 0, 0
    text = text_of(run)
    ok = ok and LEAK not in text
    said = SYNTHESIS.search(text)
    if said is None:
        return int(ok), int(not ok)
    tested, passing = int(said[1]), int(said[2])
    return passing, max(tested - passing, int(not ok))


def runs(path):
    try:
        with open(path, encoding='utf-8') as log:
            yield from map(json.loads, log)
    except FileNotFoundError:
        pass


def why(run):
    """The tests that Criterion says failed; how the program ended, if it names none."""
    said = text_of(run)
    named = [found[1] for found in FAILED.finditer(said)]
    if LEAK in said:
        print(said[said.index(LEAK):], file=sys.stderr)
        named.append('a leak')
    return ', '.join(named) or f'{run["result"]}, status {run.get("returncode")}'


def main():
    if sys.argv[1] == '--failed':
        for run in runs(sys.argv[2]):
            if count(run)[1] > 0:
                print(f'{run["name"]}: {why(run)}')
        return
    sums = [count(run) for run in runs(sys.argv[1])]
    print(sum(passed for passed, _ in sums), sum(failed for _, failed in sums))


if __name__ == '__main__':
    main()
