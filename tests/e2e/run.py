#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the end-to-end tests: every module test_*.py beside this file, each with a broker of its own.

    run.py --broker build/release/bin/dunlin [--only PATTERN,…] [--suite quick|full] [--jobs N]
    run.py --peer mosquitto           # those that hold for any broker, to test the tests

    run.py --broker … --results FILE  # also as JSON lines: name, ok, seconds (conformance.py)

PATTERN is part of `module.test`; --without PATTERN,… leaves those out. The last line is the count; the
exit status is 1 on any failure.

A test that fails while others run beside it is run once more, alone, at the end. If it passes then, it is
shown and counted as unsteady: with more than UNSTEADY_MAX of them, or when a broker has ended or
complained, the run has failed.
"""
import argparse
import concurrent.futures
import contextlib
import glob
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import harness  # noqa: E402

MODULE_TIMEOUT = 240  # seconds, times --slow
PRINTING = threading.Lock()
RESULTS = []  # of every test, for --results
UNSTEADY_MAX = 2


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--broker', help='the program to test')
    parser.add_argument('--peer', choices=['mosquitto'], help='test that one instead')
    parser.add_argument('--only', default='', metavar='PATTERN,…', help='these, and no others')
    parser.add_argument('--without', metavar='PATTERN,…', default='', help='leave these out')
    parser.add_argument('--suite', choices=['quick', 'full'], default='full')
    parser.add_argument('--jobs', type=int, default=4,
                        help='modules at a time; most of their time is waiting (default: 4)')
    parser.add_argument('--slow', type=float, default=1.0, metavar='FACTOR',
                        help='time-outs are that much longer (a broker under a sanitizer)')
    parser.add_argument('--keep', action='store_true',
                        help='brokers keep sessions and retained messages on disk')
    parser.add_argument('--io', choices=['io_uring', 'epoll'],
                        help='what brokers wait for the kernel with (default: theirs)')
    parser.add_argument('--previous', metavar='PROGRAM', help='the broker of an earlier commit, for the module adjacent')
    parser.add_argument('--results', metavar='FILE', help='write each result there, a line of JSON')
    parser.add_argument('--list', action='store_true', help='only print the names')
    # For the runner itself: one module, and the names of those of its tests that are run once more.
    parser.add_argument('--module', help=argparse.SUPPRESS)
    parser.add_argument('--again', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        args.broker = args.broker or '/usr/sbin/mosquitto'
    if not args.broker and not args.list:
        parser.error('--broker is missing')
    return args


# ---- One module, in a process of its own; says what happened in lines of JSON.

def asked_for(module, case, args):
    name = f'{module[5:]}.{case.name}'
    if args.again:
        return case.name in json.loads(args.again)
    return any(pattern in name for pattern in args.only.split(',')) and \
        not any(pattern in name for pattern in args.without.split(',') if pattern) and \
        not (case.full and args.suite == 'quick')


def chosen(module, args):
    """The cases to run, and the names of those that this broker has nothing to do with."""
    harness.CASES.clear()
    loaded = importlib.import_module(module)
    run, skip = [], []
    settings = getattr(loaded, 'SET', {})
    for case in harness.CASES:
        if case.module != module or not asked_for(module, case, args):
            continue
        foreign = args.peer and (case.ours_alone or
                                 set(settings) - set(harness.MOSQUITTO_SETTINGS))
        (skip if foreign else run).append(case)
    return settings, getattr(loaded, 'LISTENERS', dict), run, [case.name for case in skip]


class TooLong(harness.Unexpected):
    pass


@contextlib.contextmanager
def time_limit(seconds):
    def late(_signal, _frame):
        raise TooLong(f'the test took more than {seconds:g} s')
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def say(name, result, seconds=0.0, why='', is_test=True):
    print(json.dumps({'name': name, 'result': result, 'seconds': seconds, 'why': why,
                      'is_test': is_test}), flush=True)


def attempt(name, limit, *actions, is_test=True):
    """Runs all the actions, and says whether each went well."""
    begin, why, skipped = time.monotonic(), [], ''
    for action in actions:
        try:
            with time_limit(limit):
                action()
        except harness.Skipped as e:
            skipped = str(e)
        except Exception as e:  # whatever it is, it is this test's failure
            is_test = is_test and not isinstance(e, harness.Complained)
            where = ''.join(traceback.format_tb(e.__traceback__)[-3:])
            why.append(f'{where}{type(e).__name__}: {e}')
    say(name, 'FAIL' if why else 'skip' if skipped else 'ok', time.monotonic() - begin,
        '\n'.join(why) or skipped, is_test)
    return not why


def run_module(args):
    module = args.module
    harness.Launch.program = args.broker
    harness.Launch.kind = args.peer or 'dunlin'
    harness.Launch.slow = args.slow
    harness.Launch.keep = args.keep
    harness.Launch.io = args.io
    harness.Launch.previous = args.previous
    harness.Launch.folder = folder(args)
    harness.Client.timeout *= args.slow
    harness.Client.lenient = bool(args.peer)

    settings, listeners, cases, skipped = chosen(module, args)
    for name in skipped:
        say(name, 'skip')
    broker, ended_badly, unable = None, False, None
    for case in cases:
        try:
            if broker is None and unable is None:
                broker = harness.Broker(module, settings, listeners=listeners())
        except Exception as e:
            unable = f'the broker does not start: {e}'
        if broker is None:
            say(case.name, 'FAIL', 0, unable)
            unable = 'the broker does not start'
            continue
        attempt(case.name, case.timeout * args.slow, lambda: case.run(broker),
                broker.close_clients)
        if not broker.alive():
            status = broker.process.wait()
            say(f'broker lives on after {case.name}', 'FAIL', 0,
                f'it ended with {status}\n{broker.log_tail()}', is_test=False)
            broker, ended_badly = None, True
    if broker is not None and not ended_badly:
        attempt('broker ends well', 60 * args.slow, broker.stop, is_test=False)
    if broker is not None:
        broker.kill()


# ---- All modules

def folder(args):
    """For logs: beside the broker, if it is one of a build folder."""
    build = os.path.dirname(os.path.dirname(os.path.abspath(args.broker)))
    if args.peer or not os.path.exists(os.path.join(build, 'build.ninja')):
        build = os.path.join(HERE, '..', '..', 'build', 'e2e-' + os.path.basename(args.broker))
    path = os.path.join(build, 'e2e')
    os.makedirs(path, exist_ok=True)
    return path


class Outcome:
    """What the tests have said; of those that failed, what else may be tried."""

    def __init__(self):
        self.counts = {'ok': 0, 'FAIL': 0, 'skip': 0}
        self.failed = {}  # module: names of tests
        self.broken = False  # a broker has ended, or complained: that is not for a second try

    def show(self, module, said):
        with PRINTING:
            self.counts[said['result']] += 1
            if said['result'] == 'skip':  # without a reason: it is not about this broker at all
                if said['why']:
                    print(f'{module[5:]}.{said["name"]} ... skip: {said["why"]}', flush=True)
                return
            if said['result'] == 'FAIL' and said['is_test']:
                self.failed.setdefault(module, []).append(said['name'])
            self.broken |= said['result'] == 'FAIL' and not said['is_test']
            RESULTS.append({'name': f'{module[5:]}.{said["name"]}', 'ok': said['result'] == 'ok',
                            'seconds': round(said['seconds'], 3)})
            print(f'{module[5:]}.{said["name"]} ... {said["result"]} ({said["seconds"]:.2f} s)')
            for line in said['why'].splitlines():
                print(f'    {line}')
            sys.stdout.flush()


def supervise(module, args, outcome, again=()):
    """Runs a module in a process, and shows what it says."""
    only = ['--again', json.dumps(again)] if again else []
    process = subprocess.Popen(
        [sys.executable, os.path.abspath(__file__), *sys.argv[1:], '--module', module, *only],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(MODULE_TIMEOUT * args.slow, process.kill)
    watchdog.start()
    for line in process.stdout:
        try:
            outcome.show(module, json.loads(line))
        except ValueError:
            print(line, end='')
    watchdog.cancel()
    if process.wait() != 0:
        outcome.show(module, {'name': 'module', 'result': 'FAIL', 'seconds': 0, 'is_test': False,
                              'why': f'its process ended with {process.returncode}'})


def try_again(args, outcome):
    """The few that failed, alone. Returns the names of those that pass then."""
    failed = outcome.failed
    if outcome.broken or not 0 < sum(map(len, failed.values())) <= UNSTEADY_MAX:
        return []
    print('once more, alone:', flush=True)
    second = Outcome()
    for module, names in failed.items():
        supervise(module, args, second, names)
    if second.broken:
        return []
    steady = {(module, name) for module, names in second.failed.items() for name in names}
    unsteady = [(module, name) for module, names in failed.items() for name in names
                if (module, name) not in steady]
    for module, name in unsteady:
        outcome.counts['FAIL'] -= 1
        outcome.counts['ok'] += 1
    passed = {f'{module[5:]}.{name}' for module, name in unsteady}
    RESULTS[:] = [r for r in RESULTS if r['name'] not in passed or r['ok']]
    return sorted(passed)


def main():
    args = arguments()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if args.module:
        run_module(args)
        return 0
    modules = sorted(os.path.basename(path)[:-3]
                     for path in glob.glob(os.path.join(HERE, 'test_*.py')))
    # The longest first, so that they do not run alone at the end.
    modules.sort(key=lambda m: -getattr(importlib.import_module(m), 'SECONDS', 0))
    picked = [m for m in modules if chosen_names(m, args)]
    if args.list:
        for module in picked:
            for name in chosen_names(module, args):
                print(f'{module[5:]}.{name}')
        return 0

    for path in glob.glob(os.path.join(folder(args), '*.log')) + \
            glob.glob(os.path.join(folder(args), '*.jsonl')):
        os.unlink(path)
    shutil.rmtree(os.path.join(folder(args), 'pki'), ignore_errors=True)  # pki.py makes it anew
    outcome = Outcome()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for done in [pool.submit(supervise, m, args, outcome) for m in picked]:
            done.result()
    unsteady = try_again(args, outcome)
    counts = outcome.counts
    if args.results:
        with open(args.results, 'w', encoding='utf-8') as f:
            f.writelines(json.dumps(result) + '\n' for result in RESULTS)
    for name in unsteady:
        print(f'unsteady: {name}')
    skipped = f', {counts["skip"]} skipped' if counts['skip'] else ''
    print(f'{counts["ok"]} passed, {counts["FAIL"]} failed{skipped}')
    return 1 if counts['FAIL'] or not counts['ok'] else 0


def chosen_names(module, args):
    # A module fills harness.CASES when it is first imported only.
    if module not in CASES_OF:
        sys.modules.pop(module, None)
        harness.CASES.clear()
        importlib.import_module(module)
        CASES_OF[module] = [case for case in harness.CASES if case.module == module]
    return [case.name for case in CASES_OF[module] if asked_for(module, case, args)]


CASES_OF = {}


if __name__ == '__main__':
    sys.exit(main())
