# SPDX-License-Identifier: Apache-2.0
"""What is run, as tables: groups of scenarios that are compared with each other, and so alternate.

A scenario's name is what goals.py and plots.py call it by.
"""
import dataclasses

from contestants import ALL, BROKERS, MOSQUITTO, ONE, RELAY, SCHEMES, TWO


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    arguments: str  # of dunlin-bench
    who: tuple = ALL
    quick: bool = False  # also part of --quick
    seconds: float = 2.0
    rate_of: tuple = ()  # (scenario, part): --rate is that part of what ONE delivered there
    scheme: str = 'tcp'

DEVICE_RATES = (1000, 10000, 30000, 100000)
DEVICE_RATES_1000 = (10000, 50000)
FAN_OUTS = (10, 100, 1000, 10000)
FILTERS = (1000, 10000, 100000, 1000000)
IDLE = (100, 1000, 10000)
PAYLOADS = ('64k', '256k', '1M')
STREAM = '--window 50'
FOREIGN_KINDS = ('exact', 'plus', 'hash', 'mixed')


def devices():
    """50 and 500 pairs; one message in each write."""
    rows = []
    for qos in (0, 1):
        for pairs, rates in ((50, DEVICE_RATES), (500, DEVICE_RATES_1000)):
            for rate in rates:
                rows.append(Scenario(
                    f'devices {2 * pairs} q{qos} {rate}',
                    f'pair --publishers {pairs} --qos {qos} --rate {rate}',
                    quick=pairs == 50 and rate in (10000, 100000)))
    return rows


def streams():
    return [
        Scenario('pairs q0', f'pair {STREAM}', quick=True),
        Scenario('pairs q1', f'pair {STREAM} --qos 1', quick=True),
        Scenario('pairs q2', f'pair {STREAM} --qos 2', BROKERS, quick=True),
        Scenario('shared q0', f'shared {STREAM}', BROKERS),
        Scenario('shared q1', f'shared {STREAM} --qos 1', BROKERS),
        Scenario('fan-in q1', f'fan-in {STREAM} --qos 1', BROKERS, quick=True),
        Scenario('fan-out stream', f'fan-out {STREAM}', quick=True),
    ]


def filters():
    rows = [Scenario('beside 0', f'pair {STREAM}', (MOSQUITTO, ONE), quick=True)]
    for count in FILTERS:
        rows.append(Scenario(f'beside {count}', f'wildcard {STREAM} --foreign {count}',
                             (MOSQUITTO, ONE) if count <= 100000 else (ONE,),
                             quick=count == 100000))
    for kind in FOREIGN_KINDS:
        rows.append(Scenario(
            f'below 1000000 {kind}',
            f'wildcard {STREAM} --foreign 1000000 --foreign-kind {kind} --foreign-below', (ONE,)))
    return rows


def filter_churn():
    at = 'wildcard --publishers 50 --rate 20000 --foreign 100000'
    return [Scenario('calm', at, (ONE,), quick=True),
            Scenario('churning', f'{at} --foreign-churn 10000', (ONE,), quick=True)]


def fan_outs():
    """One message at a time, 20,000 deliveries a second."""
    return [Scenario(f'fan-out {n}',
                     f'fan-out --subscribers {n} --rate {max(20000 // n, 2)}',
                     quick=n == 1000) for n in FAN_OUTS]


def half_load():
    return [Scenario('half streams', 'pair --burst 50', (RELAY, ONE, TWO), quick=True,
                     rate_of=('pairs q0', 0.5), seconds=4),
            Scenario('half devices', 'pair --publishers 50 --rate 30000', (RELAY, ONE, TWO),
                     quick=True, seconds=4)]


def connections():
    rows = [Scenario('churn', 'churn --sources 8', BROKERS, quick=True),
            Scenario('storm', 'storm --idle 5000', BROKERS)]
    rows += [Scenario(f'idle {n}', f'idle --publishers 50 --idle {n} --rate 10000', BROKERS,
                      quick=n == 10000) for n in IDLE]
    rows += [Scenario('held', 'conn --idle 10000', BROKERS, quick=True, seconds=0.5),
             Scenario('subscriptions', 'wildcard --publishers 1 --rate 10 --foreign 200000 '
                      '--foreign-kind exact', (MOSQUITTO, ONE), quick=True, seconds=0.5),
             Scenario('same subscriptions', 'wildcard --publishers 1 --rate 10 --foreign 200000 '
                      '--foreign-per-client 1000 --foreign-same --foreign-kind exact',
                      (MOSQUITTO, ONE), quick=True, seconds=0.5)]
    return rows


def payloads():
    return [Scenario(f'payload {size}', f'pair --publishers 4 --window 4 --payload {size}',
                     (RELAY, MOSQUITTO, ONE), quick=size == '256k') for size in PAYLOADS]


def queues():
    return [Scenario('retained', 'retained --topics 1000', BROKERS),
            Scenario('offline', 'offline --count 500', BROKERS)]


def transports():
    """What TLS and WebSocket add, in one run with plain TCP; handshakes; a connection's memory."""
    who = (MOSQUITTO, ONE)
    return [
        *[Scenario(f'pairs by {scheme}', f'pair {STREAM}', who, quick=True, scheme=scheme)
          for scheme in SCHEMES],
        *[Scenario(f'devices by {scheme}', 'pair --publishers 50 --rate 10000', who,
                   scheme=scheme) for scheme in SCHEMES],
        Scenario('storm by tls', 'storm --idle 1000', who, quick=True, scheme='tls'),
        Scenario('storm by tls, resumed', 'storm --idle 1000 --resume', who, scheme='tls'),
        Scenario('held by tls', 'conn --idle 2000', who, quick=True, seconds=0.5, scheme='tls'),
    ]


GROUPS = {
    'devices': devices(),
    'streams': streams(),
    'filters': filters(),
    'filter churn': filter_churn(),
    'fan-out, one message at a time': fan_outs(),
    'half load': half_load(),
    'connections': connections(),
    'transports': transports(),
    'payloads': payloads(),
    'queues': queues(),
}
