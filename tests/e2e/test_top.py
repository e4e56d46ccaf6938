# SPDX-License-Identifier: Apache-2.0
"""The busiest clients and topics, and the slowest subscribers: /api/v1/top, and `dunlinctl top`."""
import json
import threading
import time

from api import Api
from ctl import Ctl, Screen
from harness import equal, test, wait_until
from raw import V5, wire

SECONDS = 11
EXPIRY = {'session_expiry_interval': 1000}


class Busy:
    """Publishes so many a second, until it is closed."""

    def __init__(self, c, topic, payload, per_s):
        self.c, self.stopped = c, threading.Event()
        self.thread = threading.Thread(target=self._run, args=(wire.publish(V5, topic, payload), per_s), daemon=True)
        self.thread.start()

    def _run(self, packet, per_s):
        due = time.monotonic()
        while not self.stopped.is_set():
            self.c.send(packet)
            due += 1 / per_s
            time.sleep(max(0, due - time.monotonic()))

    def close(self):
        self.stopped.set()
        self.thread.join()


def names(items, of='client_id'):
    return [item[of] for item in items]


@test(only='dunlin', timeout=60)
def who_does_most_comes_first(b):
    api = Api(b, {'node.shards': 2})
    hears = api.broker.connected('hears')
    hears.subscribe('t/many')
    api.broker.connected('idle')
    busy = [Busy(api.broker.connected('many'), 't/many', b'', 100), Busy(api.broker.connected('large'), 't/large', b'x' * 20000, 10)]

    def read():
        while hears.recv().payload != b'the last one':
            pass
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        by_messages = api.get('/top/clients')['items']
        equal(names(by_messages)[:2] in (['many', 'hears'], ['hears', 'many']) and 'idle' not in names(by_messages), True, by_messages)
        many = next(item for item in by_messages if item['client_id'] == 'many')
        equal((20 < many['messages_in_per_s'] <= 160, many['messages_out_per_s']), (True, 0), many)
        by_bytes = api.get('/top/clients', by='bytes_in')['items']
        equal((names(by_bytes)[0], by_bytes[0]['bytes_in_per_s'] > 20000), ('large', True), by_bytes)
        equal(names(api.get('/top/clients', by='messages_out', limit=5)['items']), ['hears'])
        equal(names(api.get('/top/clients', by='bytes_out', limit=1)['items']), ['hears'])
        equal(names(api.get('/top/clients', by='messages_in', limit=1)['items']), ['many'])
        wait_until(lambda: names(api.get('/top/topics')['items'], 'topic')[:2] == ['t/many', 't/large'], what='topics by messages')
        first, second = api.get('/top/topics', by='bytes')['items'][:2]
        equal((first['topic'], first['payload_bytes_per_s'] > 20000, second['topic'], second['payload_bytes_per_s']), ('t/large', True, 't/many', 0))
        equal(first['error_per_s'], 0)
    finally:
        for one in busy:
            one.close()
        api.broker.connected('many').publish('t/many', b'the last one')
        reader.join()


@test(only='dunlin', timeout=60)
def who_has_most_waiting_comes_first(b):
    api = Api(b, {'node.shards': 2})
    for name, count in ('away-3', 3), ('away-5', 5):
        away = api.broker.connected(name, clean_start=False, props=EXPIRY)
        away.subscribe(f'q/{count}', qos=1)
        away.disconnect()
    slow = api.broker.connected('slow', props={'receive_maximum': 2})
    slow.subscribe('q/4', qos=1)
    equal(api.get('/top/subscribers')['items'], [])
    c = api.broker.connected('publisher')
    for count in 3, 4, 5:
        for _ in range(count):
            c.publish(f'q/{count}', b'x', qos=1)
    items = api.get('/top/subscribers')['items']
    equal([(i['client_id'], i['connected'], i['queued_messages'], i['in_flight']) for i in items],
          [('away-5', False, 5, 0), ('away-3', False, 3, 0), ('slow', True, 2, 2)])
    equal([i['address'] is None for i in items], [True, True, False])
    by_age = api.get('/top/subscribers', by='oldest')['items']
    equal(sorted(names(by_age)), ['away-3', 'away-5', 'slow'])
    equal(all(0 <= i['oldest_s'] < 60 for i in by_age), True, by_age)
    equal(names(api.get('/top/subscribers', limit=1)['items']), ['away-5'])


@test(only='dunlin', timeout=60)
def who_does_not_read_has_unsent_output(b):
    api = Api(b)
    lazy = api.broker.client(V5, receive_buffer=4096)
    lazy.connect('lazy')
    lazy.subscribe('much')
    c = api.broker.connected('publisher')
    for _ in range(60):
        for _ in range(20):
            c.send(wire.publish(V5, 'much', b'x' * 8000))
        c.ping()
        items = api.get('/top/subscribers', by='unsent')['items']
        if items:
            break
    equal((names(items), items[0]['unsent_bytes'] > 0), (['lazy'], True))


@test(only='dunlin', each=[('clients', 'queued'), ('subscribers', 'messages'), ('topics', 'queued'), ('topics', '')])
def what_means_nothing(b, name, by):
    api = Api(b)
    equal('by' in api.refused(400, f'/top/{name}', by=by), True)
    equal('limit' in api.refused(400, f'/top/{name}', limit=101), True)
    equal(api.ask(f'/top/{name}', key='looker')[0], 200)


# ---- dunlinctl

@test(only='dunlin', timeout=60)
def dunlinctl_shows_them(b):
    ctl = Ctl(b)
    away = ctl.broker.connected('sleeps\x1b', clean_start=False, props=EXPIRY)
    away.subscribe('t/#', qos=1)
    away.disconnect()
    c = ctl.broker.connected('publisher')
    c.publish('t/queued', b'x', qos=1)
    busy = Busy(c, 'a/topic', b'', 50)
    try:
        said = ctl('top --once')
        told = ctl.json('top --once')
        for term in 'xterm', 'dumb':
            screen = Screen(ctl, term)
            screen.wait('a/topic')
            equal('sleeps\\x1b' in screen.seen and 'publisher' in screen.seen, True, screen.seen)
            equal(('\x1b[' in screen.seen) == (term == 'xterm'), True, screen.seen)
            equal(screen.end(b'q'), 0)
    finally:
        busy.close()
    for heading, row in ('BUSIEST CLIENTS', 'publisher'), ('SLOWEST SUBSCRIBERS', 'sleeps\\x1b'), ('BUSIEST TOPICS', 'a/topic'):
        equal(heading in said and row in said, True, said)
    equal((names(told['clients']), names(told['subscribers'])), (['publisher'], ['sleeps\x1b']))
    equal('a/topic' in names(told['topics'], 'topic'), True)
    without = {name: value for name, value in ctl.env.items() if name != 'DUNLINCTL_KEY_FILE'}
    equal('there is no key' in ctl('top --once --interval 0.2', env=without), True)
    equal(json.loads(ctl('--json top --once --interval 0.2', env=without))['clients'], None)
