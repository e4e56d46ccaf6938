# SPDX-License-Identifier: Apache-2.0
"""Running the table, and looking up what came of it."""
import json
import os
import statistics
import subprocess
import sys

from contestants import Contestant, DoesNotStart, ONE, RELAY

# How a figure is read off the JSON of one run.
METRICS = {
    'cost_us': lambda j: j['stages']['flow']['ns_each'] / 1e3,
    'per_s': lambda j: j['stages']['flow']['per_s'],
    'p50_us': lambda j: j['latency_ns']['p50'] / 1e3,
    'p99_us': lambda j: j['latency_ns']['p99'] / 1e3,
    'p999_us': lambda j: j['latency_ns']['p99.9'] / 1e3,
    'churn_us': lambda j: j['stages']['churn']['ns_each'] / 1e3,
    'connect_us': lambda j: j['stages']['connect']['ns_each'] / 1e3,
    'bytes_each': lambda j: j['stages']['connect']['rss_bytes_each'],
    'store_us': lambda j: j['stages']['store']['ns_each'] / 1e3,
    'deliver_us': lambda j: j['stages']['deliver']['ns_each'] / 1e3,
}


class Results:
    """By scenario, contestant and round: the JSON of dunlin-bench."""

    def __init__(self):
        self.runs = {}  # (scenario, contestant): [JSON of round 0, 1, …], None where it failed
        self.how = {}   # command, rounds, seconds, versions: of the measuring, for the document

    def values(self, scenario, who, metric):
        """One for each round; None where there is none."""
        read = METRICS[metric]
        out = []
        for run in self.runs.get((scenario, who), []):
            try:
                out.append(read(run))
            except (KeyError, TypeError):
                out.append(None)
        return out

    def median(self, scenario, who, metric):
        values = [v for v in self.values(scenario, who, metric) if v is not None]
        return statistics.median(values) if values else None

    def spread(self, scenario, who, metric):
        """(least, most), or None."""
        values = [v for v in self.values(scenario, who, metric) if v is not None]
        return (min(values), max(values)) if values else None

    def ratio(self, above, below, metric):
        """The median of the ratios round by round, and the least and the most of them."""
        pairs = zip(self.values(*above, metric), self.values(*below, metric))
        ratios = [a / b for a, b in pairs if a is not None and b]
        return (statistics.median(ratios), min(ratios), max(ratios)) if ratios else None

    def save(self, path):
        rows = [{'scenario': s, 'who': w, 'rounds': r} for (s, w), r in self.runs.items()]
        with open(path, 'w', encoding='utf-8') as f:
            json.dump({'how': self.how, 'runs': rows}, f, indent=1)

    @staticmethod
    def load(path):
        results = Results()
        with open(path, encoding='utf-8') as f:
            saved = json.load(f)
        results.how = saved['how']
        for row in saved['runs']:
            results.runs[row['scenario'], row['who']] = row['rounds']
        return results


def command(scenario, contestant, binaries, results, json_path):
    arguments = scenario.arguments.split()
    if scenario.rate_of:
        other, part = scenario.rate_of
        rate = results.median(other, ONE, 'per_s')
        if not rate:
            print(f'   {scenario.name} needs the results of {other}', file=sys.stderr)
            return None
        arguments += ['--rate', str(round(rate * part))]
    arguments += ['--url', contestant.url(scenario.scheme), '--quiet', '--warmup', '0.5',
                  '--pid', str(contestant.process.pid), '--duration', str(scenario.seconds),
                  '--json', json_path]
    if contestant.name == RELAY:
        arguments.append('--relay')
    return [os.path.join(binaries, 'dunlin-bench'), *arguments]


def run_one(scenario, who, binaries, folder, results):
    """The JSON of one run, or None when it could not be done."""
    json_path = os.path.join(folder, 'run.json')
    if os.path.exists(json_path):
        os.remove(json_path)
    with Contestant(who, binaries, folder) as contestant:
        line = command(scenario, contestant, binaries, results, json_path)
        if line is None:
            return None
        try:
            done = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, timeout=180, text=True, check=False)
        except subprocess.TimeoutExpired:
            print(f'   {who}: it did not end', file=sys.stderr)
            return None
    if done.returncode not in (0, 1):
        print(f'   {who}: {done.stderr.strip()}', file=sys.stderr)
        return None
    with open(json_path, encoding='utf-8') as f:
        run = json.load(f)
    if run['broken_promise']:
        print(f'   {who}: lost {run["lost"]}, repeated {run["duplicates"]}, out of order '
              f'{run["disordered"]} of {run["expected"]}', file=sys.stderr)
    return run


def run_group(scenarios, rounds, binaries, folder, results):
    """Round by round, all of the group in turn, so that what the machine does meanwhile hits all."""
    for turn in range(rounds):
        for scenario in scenarios:
            print(f'   {turn + 1}/{rounds} {scenario.name}', file=sys.stderr, flush=True)
            for who in scenario.who:
                try:
                    run = run_one(scenario, who, binaries, folder, results)
                except DoesNotStart as e:  # a run less is better than no table after half an hour
                    print(f'   {e}', file=sys.stderr)
                    run = None
                results.runs.setdefault((scenario.name, who), []).append(run)
