# SPDX-License-Identifier: Apache-2.0
"""Checks that each test which docs/threats.md and docs/threat-model.md name exists: `threats.py`.

In a table whose last column is "test", each row names at least one, between backquotes, or says
"none:" and why. What a name means:

  module.test  of tests/e2e/test_module.py; `module.beginning…` is the only one that begins so
  module       all of tests/e2e/test_module.py
  test         of tests/e2e/test_hostile*.py
  unit `file`, `file.test`     of tests/unit/…/file_test.c, up to the next semicolon
  ./dev load NAME, ./dev fuzz NAME, ./dev fuzz
"""
import ast
import glob
import os
import re
import sys

DOCUMENTS = 'docs/threats.md', 'docs/threat-model.md'
UNIT_TEST = re.compile(r'^Test\(\w+, (\w+)', re.MULTILINE)


def text_of(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


def is_test(node):
    """Is it a function below @test or @test(…)?"""
    marks = getattr(node, 'decorator_list', ())
    names = [getattr(mark, 'func', mark) for mark in marks]
    return any(isinstance(name, ast.Name) and name.id == 'test' for name in names)


def end_to_end():
    """The names of the tests of each module."""
    found = {}
    for path in glob.glob('tests/e2e/test_*.py'):
        module = os.path.basename(path)[len('test_'):-len('.py')]
        found[module] = [node.name for node in ast.parse(text_of(path)).body if is_test(node)]
    return found


def units():
    found = {}
    for path in glob.glob('tests/unit/**/*_test.c', recursive=True):
        name = os.path.basename(path)[:-len('_test.c')]
        found.setdefault(name, []).extend(UNIT_TEST.findall(text_of(path)))
    return found


def is_in(test, tests):
    if test.endswith('…'):
        return sum(name.startswith(test[:-1]) for name in tests) == 1
    return test in tests


def is_of(name, modules):
    """Is it `module` or `module.test`?"""
    module, dot, test = name.partition('.')
    return module in modules and (not dot or is_in(test, modules[module]))


def is_verb(words):
    if words[1:] == ['fuzz']:
        return True
    if len(words) != 3:
        return False
    verb, name = words[1:]
    paths = {'load': f'tests/load/{name}.*', 'fuzz': f'tests/fuzz/{name}_fuzz.c'}
    return verb in paths and bool(glob.glob(paths[verb]))


def exists(name, is_unit, e2e, unit):
    if name.startswith('./dev '):
        return is_verb(name.split())
    if is_unit:
        return is_of(name, unit)
    hostile = [test for module in e2e if module.startswith('hostile') for test in e2e[module]]
    return is_of(name, e2e) or is_in(name, hostile)


def named(cell):
    """Each name, and whether it is a unit test's."""
    for part in cell.split(';'):
        is_unit = part.strip().startswith('unit ')
        for name in re.findall(r'`([^`]+)`', part):
            yield name, is_unit


def rows(text):
    """Number and last cell of each row of the tables in question."""
    last = None  # the heading of the last column of the table that we are in
    for number, line in enumerate(text.split('\n'), 1):
        if not line.startswith('|'):
            last = None
            continue
        cell = line.rstrip().removesuffix('|').rsplit('|', 1)[1].strip()
        if last is None:
            last = cell
        elif last == 'test' and not re.fullmatch('-+', cell):
            yield number, cell


def complaints(path, e2e, unit):
    count = 0
    for number, cell in rows(text_of(path)):
        count += 1
        names = list(named(cell))
        if not names and not cell.startswith('none: '):
            yield f'{path}:{number}: no test is named'
        for name, is_unit in names:
            if not exists(name, is_unit, e2e, unit):
                yield f'{path}:{number}: there is no test {"unit " if is_unit else ""}{name}'
    if count == 0:
        yield f'{path}: there is no table of tests'


def main():
    e2e, unit = end_to_end(), units()
    said = [line for path in DOCUMENTS for line in complaints(path, e2e, unit)]
    for line in said:
        print(line, file=sys.stderr)
    return 1 if said else 0


if __name__ == '__main__':
    sys.exit(main())
