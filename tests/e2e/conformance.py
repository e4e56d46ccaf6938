#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the statements of the standards with the tests that bear their names.

    conformance.py                          # does each statement have a test, or a reason?
    run.py --broker build/release/bin/dunlin --results FILE
    conformance.py --results FILE --write docs/conformance.md

statements_VERSION.tsv holds id and demand, unobservable_VERSION.tsv id and why no test can be; the
tests of [MQTT-3.1.2-24] are VERSION_mqtt_3_1_2_24, and those that go on with _more or [row].
choices_VERSION.tsv holds id and what we do where the statement says "may" or "should", and why. The
exit status is 1 if a statement has no test and no reason, or a test but leaves a choice that is not
explained, or something names a statement that there is not, or, with results, if a test of a
statement has failed or has not run.
"""
import argparse
import collections
import glob
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
LEAVES_A_CHOICE = re.compile(r'\b(may|should)\b', re.IGNORECASE)
TITLES = {'v5': 'MQTT 5.0', 'v311': 'MQTT 3.1.1'}


def table(path):
    """{id: text} of a file with a header line, in its order."""
    if not os.path.exists(path):
        return {}
    with open(path, encoding='utf-8') as f:
        lines = f.read().splitlines()[1:]
    return dict(line.split('\t', 1) for line in lines if line.strip())


class Version:
    def __init__(self, name, tests):
        """tests: the names of all cases, without their modules."""
        self.name = name
        self.statements = table(os.path.join(HERE, f'statements_{name}.tsv'))
        self.unobservable = table(os.path.join(HERE, f'unobservable_{name}.tsv'))
        self.choices = table(os.path.join(HERE, f'choices_{name}.tsv'))
        self.tests = {statement: [] for statement in self.statements}
        self.strangers = [i for i in {**self.unobservable, **self.choices}
                          if i not in self.statements]
        of_name = {self.test_name(statement): statement for statement in self.statements}
        for test in tests:
            statement = self.statement_of(test, of_name)
            if statement is not None:
                self.tests[statement].append(test)
            elif re.match(rf'{name}_(mqtt|u\d+)_\d', test):
                self.strangers.append(test)

    def test_name(self, statement):
        return f'{self.name}_' + re.sub(r'[-.]', '_', statement.lower())

    @staticmethod
    def statement_of(test, of_name):
        """The statement with the longest name that the test's begins with."""
        words = test.split('[')[0].split('_')
        for n in range(len(words), 0, -1):
            if '_'.join(words[:n]) in of_name:
                return of_name['_'.join(words[:n])]
        return None

    def missing(self):
        return [i for i, tests in self.tests.items() if not tests and i not in self.unobservable]

    def both(self):
        return [i for i, tests in self.tests.items() if tests and i in self.unobservable]

    def unexplained(self):
        return [i for i, demand in self.statements.items()
                if LEAVES_A_CHOICE.search(demand) and i not in {**self.choices, **self.unobservable}]


def all_tests():
    listed = subprocess.run([sys.executable, os.path.join(HERE, 'run.py'), '--list'], check=True,
                            stdout=subprocess.PIPE, text=True).stdout
    return [line.split('.', 1)[1] for line in listed.splitlines()]


def versions():
    tests = all_tests()
    found = sorted(os.path.basename(path)[len('statements_'):-len('.tsv')]
                   for path in glob.glob(os.path.join(HERE, 'statements_*.tsv')))
    return [Version(name, tests) for name in sorted(found, key=lambda n: n != 'v5')]


def check(version):
    """Prints what is wrong; true: nothing."""
    wrong = [(version.missing(), 'have neither a test nor a reason why there is none'),
             (version.both(), 'have a test, and a reason why there is none'),
             (version.unexplained(), 'leave a choice, and it is not said what we do and why'),
             (version.strangers, 'name a statement that there is not')]
    for names, what in wrong:
        if names:
            print(f'{version.name}: {len(names)} {what}:\n    ' + '\n    '.join(names))
    return not any(names for names, _ in wrong)


# ---- What a run has shown

def read_results(path):
    """{case: passed}"""
    with open(path, encoding='utf-8') as f:
        results = [json.loads(line) for line in f]
    return {result['name'].split('.', 1)[1]: result['ok'] for result in results}


def judge(version, statement, results):
    """What to say of a statement: passed, FAILED, not run, or not observable."""
    tests = version.tests[statement]
    if not tests:
        return 'not observable' if statement in version.unobservable else 'MISSING'
    if not all(results.get(test, True) for test in tests):
        return 'FAILED'
    return 'passed' if all(test in results for test in tests) else 'not run'


def cell(text):
    return text.replace('|', '\\|').replace('<', '&lt;').replace('*', '\\*')


def shown_tests(version, statement):
    """The functions, each with its number of cases."""
    functions = collections.Counter(test.split('[')[0] for test in version.tests[statement])
    return '<br>'.join(f'`{name}`' + (f' ({n})' if n > 1 else '') for name, n in functions.items())


def section(version, results):
    lines = [f'## {TITLES.get(version.name, version.name)}', '',
             '| statement | what it demands | tests | result |', '|---|---|---|---|']
    for statement, demand in version.statements.items():
        result = judge(version, statement, results)
        if result == 'not observable':
            result += ': ' + version.unobservable[statement]
        said = cell(demand)
        if statement in version.choices:
            said += '<br>*Ours:* ' + cell(version.choices[statement])
        lines.append(f'| {statement} | {said} | {shown_tests(version, statement)} '
                     f'| {cell(result)} |')
    return lines


def document(found, results):
    lines = ['# Conformance', '',
             'Written by tests/e2e/conformance.py from the results of a run of the end-to-end '
             'tests; not to be edited.', '',
             'Each statement of the standards, in our own words, and the tests that bear its name. '
             'They are', 'written against the standard, on raw bytes, and look at the broker from '
             'outside. A number in brackets', 'is that of a test\'s cases. Ids that begin with U '
             'are ours, for rules that the standard gives no number. Where a statement leaves the '
             'choice to the server,', '*Ours* says what this one does, and why.', '',
             '| | statements | passed | failed | not run | not observable | test cases |',
             '|---|---|---|---|---|---|---|']
    for version in found:
        count = collections.Counter(judge(version, i, results) for i in version.statements)
        cases = sum(map(len, version.tests.values()))
        lines.append(f'| {TITLES.get(version.name, version.name)} | {len(version.statements)} '
                     f'| {count["passed"]} | {count["FAILED"]} | {count["not run"]} '
                     f'| {count["not observable"]} | {cases} |')
    for version in found:
        lines += ['', *section(version, results)]
    return '\n'.join(lines) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--results', metavar='FILE', help='what run.py --results has written')
    parser.add_argument('--write', metavar='FILE', help='the table of all statements')
    args = parser.parse_args()
    if args.write and not args.results:
        parser.error('--write needs --results')

    found = versions()
    good = all([check(version) for version in found])
    results = read_results(args.results) if args.results else {}
    if args.write:
        with open(args.write, 'w', encoding='utf-8') as f:
            f.write(document(found, results))
    for version in found:
        count = collections.Counter(judge(version, i, results) for i in version.statements)
        said = ', '.join(f'{n} {what}' for what, n in sorted(count.items())
                         if args.results or what not in ('not run', 'passed'))
        print(f'{version.name}: {len(version.statements)} statements, '
              f'{sum(map(len, version.tests.values()))} test cases, {said}')
        good = good and not (args.results and (count['FAILED'] or count['not run']))
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
