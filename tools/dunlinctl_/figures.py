# SPDX-License-Identifier: Apache-2.0
"""/metrics, read twice: figures, and how fast they grow."""
import re
import time

from .asking import Unreachable

LINE = re.compile(r'(\w+)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
ESCAPED = {'n': '\n'}

NOW = {'clients': 'dunlin_clients', 'connections': 'dunlin_connections', 'sessions': 'dunlin_sessions',
       'filters': 'dunlin_filters', 'retained': 'dunlin_retained', 'draining': 'dunlin_draining'}
QUEUES = {'messages': 'dunlin_messages', 'message_memory_bytes': 'dunlin_message_memory_bytes',
          'message_memory_max_bytes': 'dunlin_message_memory_max_bytes', 'deliveries_on_disk': 'dunlin_deliveries_on_disk',
          'answers_owed': 'dunlin_answers_owed', 'unkept_seconds': 'dunlin_unkept_seconds'}
RATES = {'publish_received': 'dunlin_publish_received_total', 'publish_sent': 'dunlin_publish_sent_total',
         'bytes_received': 'dunlin_bytes_received_total', 'bytes_sent': 'dunlin_bytes_sent_total',
         'connections_accepted': 'dunlin_connections_accepted_total', 'connects_refused': 'dunlin_connect_refused_total',
         'deliveries_queued': 'dunlin_deliveries_queued_total', 'deliveries_acknowledged': 'dunlin_deliveries_acknowledged_total',
         'publish_stalled': 'dunlin_publish_stalled_total', 'output_stalled': 'dunlin_output_stalled_total'}
DROPPED = 'dunlin_messages_dropped_total'
DELIVERY = 'dunlin_publish_to_delivery_seconds_bucket'
OF_LISTENER = {'accepted': 'accepted_total', 'received': 'bytes_received_total', 'sent': 'bytes_sent_total'}


class Sample:
    def __init__(self, broker):
        status, text = broker.plain('/metrics')
        self.at, self.values = time.monotonic(), {}
        for found in filter(None, map(LINE.match, text.splitlines())):
            try:
                self.values[found[1], labels(found[2] or '')] = float(found[3])
            except ValueError:
                continue  # no line of figures
        if status != 200 or ('dunlin_clients', ()) not in self.values:
            raise Unreachable(f'what answers at {broker.name()} has no figures of Dunlin (status {status})')

    def get(self, name, of=()):
        return self.values.get((name, of), 0.0)

    def of_name(self, name):
        """{labels as a dict's items: value}"""
        return {of: value for (has, of), value in self.values.items() if has == name}


def labels(text):
    return tuple((name, re.sub(r'\\(.)', lambda m: ESCAPED.get(m[1], m[1]), value)) for name, value in LABEL.findall(text))


def growth(before, after, name, of=()):
    """What came in between; a broker that was started anew has begun at 0."""
    was, now = before.get(name, of), after.get(name, of)
    return now - was if now >= was else now


def number(value):
    return int(value) if value == int(value) else value


def p99(before, after):
    """Bound of the bucket that 99 % of what was delivered in between is below; None: nothing was."""
    counts = {}
    for of in after.of_name(DELIVERY):
        upto = float(dict(of)['le'])
        counts[upto] = counts.get(upto, 0) + growth(before, after, DELIVERY, of)
    total = counts.get(float('inf'), 0)
    if total == 0:
        return None
    finite = [upto for upto in sorted(counts) if counts[upto] >= 0.99 * total and upto != float('inf')]
    return finite[0] if finite else max(upto for upto in counts if upto != float('inf'))


def between(before, after):
    """All that `top` shows, of two samples."""
    over = after.at - before.at

    def rate(name, of=()):
        return round(growth(before, after, name, of) / over, 1)

    listeners = []
    for of, connections in after.of_name('dunlin_listener_connections').items():
        one = {'listener': number(int(dict(of)['listener'])), 'url': dict(of)['url'], 'connections': number(connections)}
        one.update({f'{short}_per_s': rate(f'dunlin_listener_{"connections_" if short == "accepted" else ""}{name}', of)
                    for short, name in OF_LISTENER.items()})
        listeners.append(one)
    listeners.sort(key=lambda one: (-one['received_per_s'] - one['sent_per_s'], -one['connections'], one['listener']))
    drops = [{'reason': dict(of)['reason'], 'per_s': rate(DROPPED, of), 'total': number(total)}
             for of, total in after.of_name(DROPPED).items() if total > 0]
    drops.sort(key=lambda one: (-one['per_s'], -one['total'], one['reason']))
    return {'seconds': round(over, 3), 'now': {short: number(after.get(name)) for short, name in NOW.items()},
            'per_s': {short: rate(name) for short, name in RATES.items()},
            'queues': {short: number(after.get(name)) for short, name in QUEUES.items()},
            'delivery_p99_s': p99(before, after), 'drops': drops, 'listeners': listeners}
