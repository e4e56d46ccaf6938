#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes one fault at a time (faults.toml) in a copy of the tree, and says which test minds it.

    mutate.py [--list] [NAME…]

NAME is the beginning of a fault's name or of its file's path; without any, all. The copy is in
build/mutation/tree, and is built with the sanitizers in build/mutation/build, so that a fault costs
one compilation and the links of the tests that are run. Those of the fault's own folder come first, then all other unit
tests, then the end-to-end tests; the first that fails ends it. Exit status 1: a fault survived, or
a row of the table does not fit the source any longer, or a test fails without any fault.
"""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TREE = os.path.join(ROOT, 'build', 'mutation', 'tree')
BUILD = os.path.join(ROOT, 'build', 'mutation', 'build')
OPTIONS = ['-Dbuildtype=debug', '-Doptimization=1', '-Ddebug=false',
           '-Db_sanitize=address,undefined', '-Db_lundef=false']

# Which suites are the nearest to a folder; the order is that of trying.
NEAR = {'proto': ['proto', 'fuzz-replay'], 'broker/session': ['broker'], 'broker/conn': ['broker'],
        'broker/route': ['route', 'broker'], 'broker/shard': ['shard', 'broker'],
        'broker/dispatch': ['dispatch'], 'broker/peers': ['peers', 'broker'], 'broker/gossip': ['gossip'], 'broker/config': ['config'], 'broker/transport': ['transport', 'broker'],
        'broker/auth': ['auth'], 'broker/login': ['broker'], 'broker/guard': ['guard', 'broker'],
        'broker/http': ['http'], 'broker/admin': ['admin'], 'broker/store': ['store'],
        'cluster/journal': ['journal', 'fuzz-replay'], 'cluster/membership': ['membership', 'sim', 'fuzz-replay'],
        'cluster/claims': ['claims', 'sim'], 'cluster/consensus': ['consensus', 'sim'], 'cluster/dispatch': ['dispatch', 'sim'], 'cluster/interest': ['interest', 'sim'], 'cluster/link': ['link', 'sim'],
        'cluster/meta': ['meta', 'sim', 'fuzz-replay'],
        'cluster/replica': ['replica', 'sim'], 'cluster': ['cluster', 'sim']}
# These test nothing that a fault may be in: the kernel's interface, the log.
FAR = {'io', 'log'}
E2E_SECONDS_MAX = 400

ENVIRONMENT = dict(os.environ, ASAN_OPTIONS='detect_leaks=1:abort_on_error=0',
                   UBSAN_OPTIONS='print_stacktrace=1:halt_on_error=1')


class Rotten(Exception):
    """A row of the table that does not fit the source."""


def die(message):
    sys.exit(f'mutate: {message}')


# ---- the table

def read_faults():
    with open(os.path.join(HERE, 'faults.toml'), 'rb') as f:
        faults = tomllib.load(f)['fault']
    known = {'name', 'file', 'after', 'was', 'now', 'why', 'near'}
    names = set()
    for fault in faults:
        if set(fault) - known or {'name', 'file', 'was', 'now', 'why'} - set(fault):
            die(f'faults.toml: {fault.get("name")}: has {sorted(fault)}')
        if fault['name'] in names:
            die(f'faults.toml: two are called {fault["name"]}')
        names.add(fault['name'])
    return faults


def place(fault, lines):
    """The number of the line that is to be changed."""
    begin = 0
    stripped = [line.strip() for line in lines]
    if 'after' in fault:
        if stripped.count(fault['after']) != 1:
            raise Rotten(f'{fault["name"]}: {fault["file"]} has {stripped.count(fault["after"])} '
                         f'lines "{fault["after"]}", not one')
        begin = stripped.index(fault['after']) + 1
    found = [i for i in range(begin, len(lines)) if stripped[i] == fault['was']]
    if not found or (len(found) > 1 and 'after' not in fault):
        raise Rotten(f'{fault["name"]}: {fault["file"]} has {len(found)} lines "{fault["was"]}"'
                     + (f' after "{fault["after"]}"' if 'after' in fault else ', not one'))
    return found[0]


def faulty(fault, text):
    lines = text.split('\n')
    i = place(fault, lines)
    indent = lines[i][:len(lines[i]) - len(lines[i].lstrip())]
    lines[i] = indent + fault['now']
    return '\n'.join(lines)


def check_table(faults):
    """Every row, so that one look tells all that have to be mended."""
    bad = []
    for fault in faults:
        try:
            with open(os.path.join(ROOT, fault['file']), encoding='utf-8') as f:
                text = f.read()
            if faulty(fault, text) == text:
                bad.append(f'{fault["name"]}: changes nothing')
        except (OSError, Rotten) as e:
            bad.append(str(e))
    for line in bad:
        print(line, file=sys.stderr)
    if bad:
        die('faults.toml does not fit the source: bring those rows up to date')


# ---- the copy

def write(path, data):
    """Only what differs, so that ninja sees no more than has changed."""
    try:
        with open(path, 'rb') as f:
            if f.read() == data:
                return False
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as f:
        f.write(data)
    return True


def copy_tree():
    names = subprocess.run(['git', 'ls-files', '-coz', '--exclude-standard'], cwd=ROOT, check=True,
                           stdout=subprocess.PIPE).stdout.decode().split('\0')
    names = {name for name in names if name and os.path.isfile(os.path.join(ROOT, name))}
    changed = False
    for name in names:
        with open(os.path.join(ROOT, name), 'rb') as f:
            data = f.read()
        target = os.path.join(TREE, name)
        if write(target, data):
            os.chmod(target, os.stat(os.path.join(ROOT, name)).st_mode)
            changed = changed or os.path.basename(name).startswith('meson')
    for folder, _, files in os.walk(TREE):
        for name in files:
            path = os.path.join(folder, name)
            if os.path.relpath(path, TREE) not in names and '__pycache__' not in folder:
                os.unlink(path)
    return changed


def run(command, seconds, **more):
    """(0 if it ended well, what it said); with everything that it started, it ends in time."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True, **more)
    try:
        said = process.communicate(timeout=seconds)[0]
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said = process.communicate()[0]
        status = 'time'
    return status, said.decode(errors='replace')


def ninja(targets):
    status, said = run(['ninja', '-C', BUILD, '--quiet', *targets], 600)
    return None if status == 0 else said


def setup(changed):
    if not os.path.exists(os.path.join(BUILD, 'build.ninja')):
        command = ['meson', 'setup', BUILD, TREE, *OPTIONS]
    elif changed:
        command = ['meson', 'setup', '--reconfigure', BUILD, TREE, *OPTIONS]
    else:
        return
    status, said = run(command, 300)
    if status != 0:
        die(f'meson setup failed\n{said}')


# ---- the tests

class Unit:
    def __init__(self, info, files):
        self.suite = info['suite'][0].split(':')[-1]
        self.name = f'{self.suite}/{info["name"]}'
        self.command = info['cmd']
        self.environment = dict(ENVIRONMENT, **info['env'])
        self.targets = [os.path.relpath(files[d], BUILD) for d in info['depends']]
        self.threads = any(s.endswith(':threads') for s in info['suite'])
        self.seconds = None  # without a fault

    def fails(self, limit):
        """None, or what failed in it."""
        command = self.command
        if self.suite not in ('threads', 'fuzz-replay') and len(command) == 1:
            command = [*command, '--fail-fast']  # Criterion's
        status, said = run(command, limit, env=self.environment)
        if status == 0:  # Criterion passes over leaks
            return f'{self.name}: a leak' if 'ERROR: LeakSanitizer' in said else None
        named = re.findall(r'\[FAIL\]\s*(?:\x1b\[[0-9;]*m)*\s*([\w]+::[\w]+)', said)
        if status == 'time':
            return f'{self.name}: does not end'
        return f'{self.name}: {", ".join(sorted(set(named)))}' if named else self.name


class EndToEnd:
    def __init__(self, only):
        self.name = f'e2e/{only}' if only else 'e2e'
        # Not the copy's: the clients that npm has installed are here.
        self.command = [sys.executable, os.path.join(ROOT, 'tests', 'e2e', 'run.py'), '--broker',
                        os.path.join(BUILD, 'broker', 'dunlin'), '--slow', '3',
                        # The load generator's own tests: it is not built here.
                        *(['--only', only] if only else ['--suite', 'quick', '--without', 'bench.'])]
        self.targets = ['broker/dunlin']
        self.seconds = None

    def fails(self, limit):
        status, said = run(self.command, limit, env=ENVIRONMENT)
        if status == 0:
            return None
        named = re.findall(r'^(\S.*) \.\.\. FAIL', said, re.MULTILINE)
        return f'e2e: {", ".join(named[:3])}' if named else f'{self.name}: does not end'


def introspect(what):
    return json.loads(subprocess.run(['meson', 'introspect', f'--{what}', BUILD], check=True,
                                     stdout=subprocess.PIPE).stdout)


def all_units():
    files = {target['id']: target['filename'][0] for target in introspect('targets')}
    units = [Unit(info, files) for info in introspect('tests')]
    return [unit for unit in units if unit.suite not in FAR]


class Suite:
    """The tests, cheapest first, each known to pass where there is no fault."""

    def __init__(self):
        self.units = all_units()
        self.ends = {}

    def calibrate(self, test):
        """Without a fault; ends the program if it fails."""
        said = ninja(test.targets)
        if said is not None:
            die(f'the tree does not build\n{said}')
        begin = time.monotonic()
        why = test.fails(E2E_SECONDS_MAX)
        test.seconds = time.monotonic() - begin
        if why is not None:
            die(f'fails without any fault: {why}')

    def calibrate_units(self):
        for unit in self.units:
            self.calibrate(unit)
        self.units.sort(key=lambda unit: unit.seconds)

    def end(self, only):
        if only not in self.ends:
            self.ends[only] = EndToEnd(only)
        return self.ends[only]

    def order(self, fault):
        """The groups of tests to be tried, one after the other."""
        hints = fault.get('near', [])
        near = [unit for unit in self.units if unit.name in hints]
        ends = [self.end(hint[4:]) for hint in hints if hint.startswith('e2e/')]
        unknown = set(hints) - {test.name for test in near + ends}
        if unknown:
            raise Rotten(f'{fault["name"]}: there is no test {sorted(unknown)}')
        yield from ([test] for test in near + ends)
        seen = set(hints)
        folder = os.path.dirname(fault['file'])
        for suite in NEAR.get(folder, []):
            units = [u for u in self.units if u.suite == suite and u.name not in seen]
            seen |= {unit.name for unit in units}
            yield units
        yield [unit for unit in self.units if unit.name not in seen]
        yield [self.end('')]


def catch(fault, suite):
    """What failed under the fault; None: nothing did."""
    for group in suite.order(fault):
        for test in group:
            if test.seconds is None:  # an end-to-end test: without the fault first
                restored(fault, lambda test=test: suite.calibrate(test))
        said = ninja([target for test in group for target in test.targets])
        if said is not None:
            raise Rotten(f'{fault["name"]} does not compile\n{said}')
        for test in group:
            why = test.fails(20 + 4 * test.seconds)
            if why is not None:
                return why
    return None


def source_of(fault):
    with open(os.path.join(ROOT, fault['file']), encoding='utf-8') as f:
        return f.read()


def put(fault, text):
    write(os.path.join(TREE, fault['file']), text.encode())


def restored(fault, action):
    put(fault, source_of(fault))
    action()
    put(fault, faulty(fault, source_of(fault)))


def attempt(fault, suite):
    put(fault, faulty(fault, source_of(fault)))
    try:
        return catch(fault, suite)
    finally:
        put(fault, source_of(fault))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='NAME')
    parser.add_argument('--list', action='store_true', help='print the table, and change nothing')
    args = parser.parse_args()

    faults = read_faults()
    check_table(faults)
    chosen = [fault for fault in faults if not args.names or
              any((fault['name'] + '\0').startswith(n) or fault['file'].startswith(n)
                  for n in args.names)]
    if not chosen:
        die('there is no such fault')
    if args.list:
        for fault in chosen:
            print(f'{fault["name"]:28} {fault["file"]:30} {fault["why"]}')
        return 0

    setup(copy_tree())
    suite = Suite()
    print('all tests without a fault, first', file=sys.stderr)
    suite.calibrate_units()
    survived = []
    for fault in chosen:
        begin = time.monotonic()
        why = attempt(fault, suite)
        if why is None:
            survived.append(fault)
        print(f'{fault["name"]:28} {why or "SURVIVED"}  ({time.monotonic() - begin:.0f} s)',
              flush=True)
    for fault in survived:
        print(f'\nsurvived: {fault["name"]} in {fault["file"]}: {fault["why"]}\n'
              f'  - {fault["was"]}\n  + {fault["now"]}')
    print(f'{len(chosen) - len(survived)} caught, {len(survived)} survived')
    return 1 if survived else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except Rotten as e:
        die(str(e))
