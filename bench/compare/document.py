# SPDX-License-Identifier: Apache-2.0
"""docs/benchmarks.md, and the same tables on the terminal."""
import os
import platform
import subprocess

import goals
import scenarios
from contestants import MOSQUITTO, MOSQUITTO_CONF, ONE, RELAY, TWO

COLUMNS = (RELAY, MOSQUITTO, ONE, TWO)
# What stands in the table of a scenario, by the first word of its dunlin-bench command.
SHOWN = {
    'conn': (('connect_us', 'us a connection'), ('bytes_each', 'bytes of each')),
    'storm': (('connect_us', 'us a connection'), ('p99_us', 'p99 us to connect')),
    'churn': (('churn_us', 'us each'), ('p99_us', 'p99 us to connect')),
    'retained': (('store_us', 'us stored'), ('deliver_us', 'us replayed')),
    'offline': (('store_us', 'us queued'), ('deliver_us', 'us delivered')),
}
FLOW = (('cost_us', 'us a message'), ('per_s', 'messages a second'), ('p50_us', 'p50 us'),
        ('p99_us', 'p99 us'))


def number(value):
    if value is None:
        return '–'
    if abs(value) >= 1000:
        return f'{value:,.0f}'
    return f'{value:.3g}'


def cell(results, scenario, who, metric):
    median, spread = results.median(scenario, who, metric), results.spread(scenario, who, metric)
    if median is None:
        return '–'
    if spread[0] == spread[1]:
        return number(median)
    return f'{number(median)} ({number(spread[0])} … {number(spread[1])})'


def ratio_cell(results, scenario, other, metric):
    found = results.ratio((scenario, ONE), (scenario, other), metric)
    return f'{found[0]:.2f}' if found else '–'


def markdown_table(header, rows):
    lines = ['| ' + ' | '.join(header) + ' |', '|' + '---|' * len(header)]
    return '\n'.join([*lines, *('| ' + ' | '.join(row) + ' |' for row in rows)])


def group_table(results, group):
    rows = []
    for scenario in group:
        if not any((scenario.name, who) in results.runs for who in COLUMNS):
            continue
        for metric, unit in SHOWN.get(scenario.arguments.split()[0], FLOW):
            rows.append([f'{scenario.name}: {unit}',
                         *(cell(results, scenario.name, who, metric) for who in COLUMNS),
                         ratio_cell(results, scenario.name, RELAY, metric),
                         ratio_cell(results, scenario.name, MOSQUITTO, metric)])
    return rows and markdown_table(
        ['scenario', *COLUMNS, '1 shard / relay', '1 shard / mosquitto'], rows)


def goal_table(verdicts):
    rows = []
    for v in verdicts:
        bound = 'at least' if v.goal.at_least else 'at most'
        rows.append([str(v.goal.number), v.goal.text, f'{bound} {number(v.goal.limit)}',
                     f'{number(v.figure)} ({number(v.spread[0])} … {number(v.spread[1])})',
                     'met' if v.met else '**missed**'])
    return markdown_table(['goal', 'what', 'limit', 'figure', ''], rows)


def first_line(*command):
    try:
        out = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return '?'
    return ((out.stdout + out.stderr).strip().splitlines() or ['?'])[0]


def machine():
    model, memory = '?', '?'
    with open('/proc/cpuinfo', encoding='utf-8') as f:
        model = next((l.split(':')[1].strip() for l in f if l.startswith('model name')), '?')
    with open('/proc/meminfo', encoding='utf-8') as f:
        memory = f'{int(f.readline().split()[1]) / 1048576:.0f} GiB'
    return [('processor', f'{os.cpu_count()} × {model}'), ('memory', memory),
            ('kernel', platform.release())]


def versions(binaries):
    mosquitto = first_line('dpkg-query', '-W', '-f=${Version}', 'mosquitto')
    return [('Dunlin', first_line(os.path.join(binaries, 'dunlin'), '--version') + ', commit ' +
             first_line('git', 'rev-parse', '--short', 'HEAD')),
            ('Mosquitto', f"Debian's {mosquitto}"),
            ('compiler', first_line('gcc', '--version'))]


def how(command, rounds, seconds, binaries):
    """What the document says of the measuring; all of it can be saved as JSON."""
    return {'command': command, 'rounds': rounds, 'seconds': seconds,
            'where': machine() + versions(binaries)}


def write(path, results, plots):
    verdicts = goals.judge(results)
    met = sum(v.met for v in verdicts)
    parts = [
        '# Benchmarks', '',
        f'Measured by `{results.how["command"]}` in {results.how["seconds"] / 60:.0f} minutes; the '
        'same command repeats it. What '
        'is measured and how: [benchmarking.md](benchmarking.md).', '',
        'Absolute figures move with the machine and with what else runs on it; the ratios are of '
        'runs that followed one another, and are what counts. Of each figure the median of '
        f'{results.how["rounds"]} round(s), and in brackets the least and the most.', '',
        markdown_table(['', ''], [list(row) for row in results.how['where']]), '',
        'Mosquitto was given, besides what stands in every scenario:', '',
        '```', MOSQUITTO_CONF.rstrip(), '```', '',
        '## Goals', '',
        f'{met} of {len(verdicts)} met.', '',
        goal_table(verdicts), '',
    ]
    if plots:
        parts += ['## Plots', '']
        for name, title in plots:
            parts += [f'![{title}](benchmarks/{name})', '']
    for title, group in scenarios.GROUPS.items():
        table = group_table(results, group)
        if table:
            commands = sorted({s.arguments.split()[0] for s in group})
            parts += [f'## {title[0].upper()}{title[1:]}', '', table, '',
                      'dunlin-bench ' + ', '.join(commands) + ': ' +
                      '; '.join(f'`{s.arguments}`' for s in group
                                if any((s.name, who) in results.runs for who in COLUMNS)) + '.',
                      '']
    with open(path, 'w', encoding='utf-8') as f:
        f.write('\n'.join(parts))
    return verdicts
