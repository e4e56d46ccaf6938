# SPDX-License-Identifier: Apache-2.0
"""What Dunlin is to reach, as a table; judged from the results."""
import dataclasses

import scenarios
from contestants import MOSQUITTO, ONE, RELAY, TWO


@dataclasses.dataclass(frozen=True)
class Goal:
    number: int
    text: str
    limit: float
    metric: str
    above: tuple  # (scenario, contestant)
    below: tuple = ()  # the same, that it is divided by; none: the figure itself
    at_least: bool = False


@dataclasses.dataclass(frozen=True)
class Verdict:
    goal: Goal
    figure: float
    spread: tuple
    met: bool


def devices():
    rows = []
    for qos, limit in ((0, 1.15), (1, 1.25)):
        for connections, rates in ((100, scenarios.DEVICE_RATES),
                                   (1000, scenarios.DEVICE_RATES_1000)):
            for rate in rates:
                name = f'devices {connections} q{qos} {rate}'
                what = f'{connections} devices, QoS {qos}, {rate:,}/s: cost against'
                rows.append(Goal(1, f'{what} the relay', limit, 'cost_us', (name, ONE),
                                 (name, RELAY)))
                rows.append(Goal(1, f'{what} Mosquitto', 0.9, 'cost_us', (name, ONE),
                                 (name, MOSQUITTO)))
    return rows


def streams():
    rows = []
    for qos, relay, mosquitto in ((0, 2, 1 / 15), (1, 3, 1 / 20), (2, 5, 1 / 20)):
        name = f'pairs q{qos}'
        rows.append(Goal(2, f'saturating pairs, QoS {qos}: cost against the relay at QoS 0', relay,
                         'cost_us', (name, ONE), ('pairs q0', RELAY)))
        rows.append(Goal(2, f'saturating pairs, QoS {qos}: cost against Mosquitto', mosquitto,
                         'cost_us', (name, ONE), (name, MOSQUITTO)))
    return rows


def filters():
    rows = [Goal(2, f'beside {count:,} filters of others: cost against none', limit, 'cost_us',
                 (f'beside {count}', ONE), ('beside 0', ONE))
            for count, limit in ((100000, 1.1), (1000000, 1.2))]
    rows += [Goal(2, f'beside 1,000,000 below one first level ({kind}): cost against none', 1.2,
                  'cost_us', (f'below 1000000 {kind}', ONE), ('beside 0', ONE))
             for kind in scenarios.FOREIGN_KINDS]
    return rows + [Goal(2, '10,000 filters a second removed and added: p99 against none', 1.2,
                        'p99_us', ('churning', ONE), ('calm', ONE))]


GOALS = [
    *devices(), *streams(), *filters(),
    Goal(3, 'fan-out to 100, streaming: cost against the relay', 2, 'cost_us',
         ('fan-out stream', ONE), ('fan-out stream', RELAY)),
    Goal(3, 'fan-out to 100, streaming: cost against Mosquitto', 0.1, 'cost_us',
         ('fan-out stream', ONE), ('fan-out stream', MOSQUITTO)),
    Goal(3, 'fan-out to 1,000, one message at a time: cost against the relay', 1.1, 'cost_us',
         ('fan-out 1000', ONE), ('fan-out 1000', RELAY)),
    Goal(4, 'fan-in of 100, QoS 1: cost against Mosquitto', 1 / 12, 'cost_us',
         ('fan-in q1', ONE), ('fan-in q1', MOSQUITTO)),
    Goal(4, 'shared subscription, QoS 0: cost against pairs', 1.2, 'cost_us',
         ('shared q0', ONE), ('pairs q0', ONE)),
    Goal(4, 'shared subscription, QoS 1: cost against pairs', 1.2, 'cost_us',
         ('shared q1', ONE), ('pairs q1', ONE)),
    Goal(5, 'pairs, QoS 0, two shards against one: messages', 1.8, 'per_s', ('pairs q0', TWO),
         ('pairs q0', ONE), at_least=True),
    Goal(5, 'pairs, QoS 0, two shards against one: cost', 1.1, 'cost_us', ('pairs q0', TWO),
         ('pairs q0', ONE)),
    Goal(5, 'devices, 10,000/s, two shards against one: cost', 1.1, 'cost_us',
         ('devices 100 q0 10000', TWO), ('devices 100 q0 10000', ONE)),
    *[Goal(6, f'{what} at half load: {label} against the relay', limit, metric,
           (f'half {what}', ONE), (f'half {what}', RELAY))
      for what in ('streams', 'devices')
      for label, metric, limit in (('p50', 'p50_us', 1.3), ('p99', 'p99_us', 1.3),
                                   ('p99.9', 'p999_us', 3))],
    Goal(7, 'connect and disconnect: cost against Mosquitto', 0.8, 'churn_us', ('churn', ONE),
         ('churn', MOSQUITTO)),
    Goal(7, 'bytes of an idle connection', 1000, 'bytes_each', ('held', ONE)),
    Goal(7, 'bytes of an idle TLS connection', 8192, 'bytes_each', ('held by tls', ONE)),
    Goal(7, 'bytes of a subscription, different filters of 32 bytes', 132, 'bytes_each',
         ('subscriptions', ONE)),
    Goal(7, 'bytes of a subscription, the same filters', 24, 'bytes_each',
         ('same subscriptions', ONE)),
    *[Goal(8, f'payloads of {size}: messages a second against the relay', 0.9, 'per_s',
           (f'payload {size}', ONE), (f'payload {size}', RELAY), at_least=True)
      for size in scenarios.PAYLOADS],
]


def judge(results):
    """A Verdict for each goal that there are results for."""
    verdicts = []
    for goal in GOALS:
        if goal.below:
            found = results.ratio(goal.above, goal.below, goal.metric)
            if not found:
                continue
            figure, spread = found[0], found[1:]
        else:
            figure = results.median(*goal.above, goal.metric)
            spread = results.spread(*goal.above, goal.metric)
            if figure is None:
                continue
        met = figure >= goal.limit if goal.at_least else figure <= goal.limit
        verdicts.append(Verdict(goal, figure, spread, met))
    return verdicts
