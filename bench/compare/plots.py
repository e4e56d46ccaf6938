# SPDX-License-Identifier: Apache-2.0
"""Which charts there are: each a row of scenarios that differ in one number."""
import os

import scenarios
import svg
from contestants import ALL, BROKERS, MOSQUITTO, ONE

# file, title, x axis, y axis, {line: [(x, scenario, contestant, metric)]}
def table():
    rates = scenarios.DEVICE_RATES
    for metric, name in (('p50_us', 'p50'), ('p99_us', 'p99')):
        yield (f'latency-{name}', f'Latency {name}, 100 devices, QoS 0', 'messages a second', 'us',
               {who: [(r, f'devices 100 q0 {r}', who, metric) for r in rates] for who in ALL})
    yield ('cost-rate', 'Cost, 100 devices, QoS 0', 'messages a second', 'us a message',
           {who: [(r, f'devices 100 q0 {r}', who, 'cost_us') for r in rates] for who in ALL})
    yield ('cost-filters', 'Cost of saturating pairs beside filters of others', 'filters',
           'us a message',
           {who: [(n, f'beside {n}', who, 'cost_us') for n in scenarios.FILTERS]
            for who in (MOSQUITTO, ONE)})
    yield ('cost-subscribers', 'Cost of a fan-out, one message at a time', 'subscribers',
           'us a delivery',
           {who: [(n, f'fan-out {n}', who, 'cost_us') for n in scenarios.FAN_OUTS]
            for who in ALL})
    yield ('cost-connections', 'Cost of 10,000 messages a second beside idle connections',
           'idle connections', 'us a message',
           {who: [(n, f'idle {n}', who, 'cost_us') for n in scenarios.IDLE] for who in BROKERS})


def write(results, folder):
    """The names of the files that were written, with their titles."""
    os.makedirs(folder, exist_ok=True)
    written = []
    for name, title, x_title, y_title, lines in table():
        points = {}
        for line, row in lines.items():
            found = ((x, results.median(scenario, who, metric))
                     for x, scenario, who, metric in row)
            points[line] = [(x, y) for x, y in found if y]
        drawing = svg.chart(title, x_title, y_title, points)
        if drawing:
            with open(os.path.join(folder, f'{name}.svg'), 'w', encoding='utf-8') as f:
                f.write(drawing)
            written.append((f'{name}.svg', title))
    return written
