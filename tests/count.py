# SPDX-License-Identifier: Apache-2.0
"""Prints how many tests passed and failed, of a meson testlog.json: `count.py FILE`.

A Criterion program counts with each of its tests, as its last line ("Synthesis") says; any other
program counts as one test. A program that ended badly counts as at least one failure, whatever
it said. No file: meson found no tests.
"""
import json
import re
import sys

SYNTHESIS = re.compile(r'Synthesis: Tested: .*?(\d+).*?Passing: .*?(\d+)', re.DOTALL)
ANSI = re.compile(r'\x1b\[[0-9;]*m')


def count(run):
    ok = run['result'] in ('OK', 'EXPECTEDFAIL')
    if run['result'] == 'SKIP':
        return 0, 0
    said = SYNTHESIS.search(ANSI.sub('', run.get('stdout', '') + run.get('stderr', '')))
    if said is None:
        return int(ok), int(not ok)
    tested, passing = int(said[1]), int(said[2])
    return passing, max(tested - passing, int(not ok))


def main():
    passed = failed = 0
    try:
        with open(sys.argv[1], encoding='utf-8') as log:
            for line in log:
                p, f = count(json.loads(line))
                passed, failed = passed + p, failed + f
    except FileNotFoundError:
        pass
    print(passed, failed)


if __name__ == '__main__':
    main()
