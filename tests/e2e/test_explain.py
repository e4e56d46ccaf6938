# SPDX-License-Identifier: Apache-2.0
"""/api/v1/explain: why a client gets, or does not get, a message of a topic: situations that are set up, what is said of
each, and, where a message can show it, that this is so."""
import os
import re

from api import OPENAPI, Api
from harness import Launch, equal, test, wait_until
from raw import PUBACK, V5, wire
from users import QUICK, QUICK_PASSWORD, Users

SECONDS = 18
EXPIRY = {'session_expiry_interval': 300}
CODES = os.path.join(os.path.dirname(OPENAPI), '..', '..', 'explain', 'tbl', 'code.h')
PAGE = os.path.join(os.path.dirname(OPENAPI), '..', '..', '..', 'docs', 'explain.md')


class House(Api):
    """A broker that is asked why."""
    files = 0

    def __init__(self, b, settings=None, rules=None):
        settings = dict(settings or {})
        if rules is not None:
            House.files += 1
            path = os.path.abspath(os.path.join(Launch.folder, f'explain-acl-{os.getpid()}-{House.files}'))
            with open(path, 'w', encoding='utf-8') as f:
                f.write(rules)
            settings['acl.file'] = path
        super().__init__(b, settings)

    def why(self, topic, verdict, reason, *codes, **query):
        """What is said has that verdict, for that reason, and those steps among others; returns all by code."""
        answer = self.get('/explain', topic=topic, **query)
        equal((answer['verdict'], answer['reason']), (verdict, reason), answer)
        steps = {step['code']: step['says'] for step in answer['steps']}
        equal([code for code in codes if code not in steps], [], answer)
        return steps

    def away(self, client_id, *filters, qos=1):
        c = self.broker.connected(client_id, clean_start=False, props=EXPIRY)
        c.subscribe(*filters, qos=qos)
        c.disconnect()
        wait_until(lambda: self.ask('/clients/' + client_id)[0] == 404)


# ---- The page

@test(only='dunlin')
def every_code_is_in_the_page(_b):
    with open(CODES, encoding='utf-8') as f:
        codes = re.findall(r'^CODE\(\w+,\s*"(\w+)",\s*\w+,\s*(\w+)\)', f.read(), re.MULTILINE)
    with open(PAGE, encoding='utf-8') as f:
        rows = re.findall(r'^\| `(\w+)` \| (\w*) \|', f.read(), re.MULTILINE)
    equal(len(codes) > 60, True)
    equal(rows, [(code, '' if effect == 'NONE' else effect.lower()) for code, effect in codes])


@test(only='dunlin')
def what_cannot_be_asked(b):
    api = House(b)
    for wrong in ({'topic': 't'}, {'client_id': 'c'}, {'topic': 'a/#', 'client_id': 'c'}, {'topic': 't', 'client_id': ''},
                  {'topic': 't', 'client_id': 'c', 'qos': 3}, {'topic': 't', 'client_id': 'c', 'retain': 'yes'},
                  {'topic': 't', 'client_id': 'c', 'size': 'x'}, {'topic': 't', 'client_id': 'c', 'address': '10.0.0.0/8'}):
        api.refused(400, '/explain', **wrong)


# ---- Is it there, and does a filter match?

@test(only='dunlin')
def there_or_not(b):
    api = House(b, {'node.shards': 2})
    api.why('t', 'no', 'no_session', client_id='nobody')
    api.broker.connected('there').subscribe('t', qos=2)
    api.why('t', 'yes', None, 'connected', 'filter', 'qos', client_id='there')
    api.away('away', 't')
    steps = api.why('t', 'later', 'away', 'session_ends', 'filter', 'queue', client_id='away')
    equal('0 of ' in steps['queue'], True, steps)
    api.why('t', 'no', 'qos0_away', 'away', 'qos', client_id='away', qos=0)


@test(only='dunlin', each=[('Sensors/+', 'sensors/a', 'near_case'), ('#', '$SYS/broker/uptime', 'near_dollar'),
                           ('+/x', '$a/x', 'near_dollar'), ('/a/b', 'a/b', 'near_slash'), ('a/b/', 'a/b', 'near_slash'),
                           ('a/b ', 'a/b', 'near_blank'), ('a/+', 'a/b/c', 'near_plus'), ('a/b', 'a/b/c', 'near_shorter'),
                           ('a/b/c', 'a/b', 'near_longer'), ('a/b/c', 'a/x/c', 'near_level'), ('x', 'y', 'no_filter')])
def a_filter_that_nearly_matches(b, subscribed, topic, code):
    api = House(b)
    c = api.broker.connected('near')
    c.subscribe(subscribed)
    steps = api.why(topic, 'no', 'no_filter', code, client_id='near')
    equal([s for s in steps if s.startswith('near_')], [code] if code != 'no_filter' else [])


@test(only='dunlin')
def many_subscriptions(b):
    """More than are looked at in a turn, and than are named."""
    api = House(b)
    c = api.broker.connected('many')
    for at in range(0, 1500, 100):
        c.subscribe(*[f'x/{i}' for i in range(at, at + 100)])
    c.subscribe(*['a/b/c/d/e'[:n] + '/#' for n in (1, 3, 5, 7)], *['+/' * n + '#' for n in range(1, 5)],
                *[f'{"+/" * n}{"cde"[n - 2]}/#' for n in (2, 3, 4)], *[f'a/{"+/" * n}#' for n in range(1, 4)],
                *[f'a/b/{"+/" * n}#' for n in range(1, 3)], 'a/b/c/+/e', '#', qos=1)
    steps = api.why('a/b/c/d/e', 'yes', None, client_id='many')
    equal(steps['filter'], 'So do 2 others.')
    api.why('x/1234', 'yes', None, client_id='many')


# ---- No Local, and in what form

@test(only='dunlin')
def no_local(b):
    api = House(b)
    c = api.broker.connected('own')
    c.subscribe('t', qos=1, no_local=True)
    api.why('t', 'no', 'no_local', 'publish_allowed', client_id='own', publisher='own')
    api.broker.connected('other')
    api.why('t', 'yes', None, client_id='own', publisher='other')
    c.subscribe('+', qos=1)
    api.why('t', 'yes', None, client_id='own', publisher='own')


@test(only='dunlin')
def qos_and_retain(b):
    api = House(b)
    c = api.broker.connected('form')
    c.subscribe('low', qos=0)
    c.subscribe('kept', qos=2, retain_as_published=True)
    api.why('low', 'yes', None, 'qos_lowered', 'retain_cleared', client_id='form', qos=2, retain='true')
    api.why('kept', 'yes', None, 'qos', 'retain_kept', client_id='form', qos=2, retain='true')


@test(only='dunlin')
def too_large_for_the_client(b):
    api = House(b)
    api.broker.connected('small', props={'maximum_packet_size': 100}).subscribe('t', qos=1)
    api.why('t', 'yes', None, client_id='small', size=80)
    api.why('t', 'no', 'too_large', client_id='small', size=100)


# ---- Groups

def member(api, client_id, filter_='$share/g/t', **connect):
    c = api.broker.connected(client_id, **connect)
    c.subscribe(filter_, qos=1)
    return c


@test(only='dunlin', each=[('round_robin',), ('sticky',), ('hash_client',), ('hash_topic',)])
def a_group_and_whom_it_chooses(b, strategy):
    """Asked over and over nobody's turn comes by it, and the next message goes where it was said."""
    api = House(b, {'shared_subscriptions.strategy': strategy, 'node.shards': 2})
    members = {name: member(api, name) for name in ('m1', 'm2', 'm3')}
    p = api.broker.connected('p')
    for _ in range(6):
        chosen = []
        for _ in range(2):
            for name in members:
                answer = api.get('/explain', topic='t', client_id=name, publisher='p')
                if answer['verdict'] == 'yes':
                    chosen.append(name)
                else:
                    equal(answer['reason'], 'shared_not_picked', answer)
        equal(len(chosen) == 2 and chosen[0] == chosen[1], True, chosen)
        other = next(name for name in members if name != chosen[0])
        steps = api.why('t', 'no', 'shared_not_picked', 'shared_other', client_id=other, publisher='p')
        equal(f' {chosen[0]} gets the next message' in steps['shared_other'], True, steps)
        p.publish('t', b'to one', qos=1)
        members[chosen[0]].expect_message('t', b'to one')


@test(only='dunlin')
def a_group_whose_choice_is_open(b):
    api = House(b, {'shared_subscriptions.strategy': 'random'})
    first, _second = member(api, 'm1'), member(api, 'm2')
    api.broker.connected('p')
    api.why('t', 'maybe', 'shared_open', 'shared_turn', client_id='m1', publisher='p')
    first.subscribe('t', qos=1)
    api.why('t', 'yes', None, 'shared_turn', client_id='m1', publisher='p')


@test(only='dunlin')
def a_group_without_the_publisher(b):
    api = House(b, {'shared_subscriptions.strategy': 'hash_client'})
    member(api, 'm1'), member(api, 'm2')
    api.why('t', 'maybe', 'shared_open', 'shared_turn', client_id='m1')


@test(only='dunlin')
def a_member_that_is_away(b):
    api = House(b, {'shared_subscriptions.strategy': 'round_robin'})
    api.away('gone', '$share/g/t')
    api.broker.connected('p')
    api.why('t', 'later', 'away', 'shared_next', client_id='gone', publisher='p')
    member(api, 'here')
    api.why('t', 'no', 'shared_not_picked', 'shared_away', client_id='gone', publisher='p')
    api.why('t', 'yes', None, 'shared_next', client_id='here', publisher='p')


# ---- Rules and bans

@test(only='dunlin')
def rules(b):
    api = House(b, rules='default deny\nallow publish in/${clientid}\ndeny subscribe secret/+\nallow subscribe #\n')
    c = api.broker.connected('c')
    c.subscribe('secret/#', qos=1)
    steps = api.why('secret/x', 'no', 'hidden', client_id='c')
    equal('filter 2 of the ACL file, deny secret/+' in steps['hidden'], True, steps)
    api.why('secret/x/y', 'yes', None, 'visible', client_id='c')
    steps = api.why('in/c', 'yes', None, publisher='c')
    equal('filter 1 of the ACL file, allow in/${clientid}' in steps['publish_allowed'], True, steps)
    steps = api.why('in/d', 'no', 'publish_denied', publisher='c')
    equal("the ACL file's default is deny" in steps['publish_denied'], True, steps)
    api.away('gone', 'secret/#')
    api.why('secret/x', 'later', 'away', 'rules_later', client_id='gone')


@test(only='dunlin')
def bans(b):
    path = os.path.abspath(os.path.join(Launch.folder, f'explain-bans-{os.getpid()}'))
    with open(path, 'w', encoding='utf-8'):
        pass
    api = House(b, {'auth.ban_file': path})
    api.away('gone', 't')
    api.do('PUT', '/bans/client/gone', {})
    steps = api.why('t', 'no', 'banned_client', 'away', client_id='gone')
    equal('line 1' in steps['banned_client'], True, steps)
    api.why('t', 'no', 'publisher_banned', publisher='gone')
    api.away('other', 't')
    api.do('PUT', '/bans/address/192.0.2.7', {})
    api.why('t', 'no', 'banned_address', client_id='other', address='192.0.2.7')
    api.why('t', 'later', 'away', client_id='other', address='192.0.2.8')


@test(only='dunlin')
def flapping(b):
    api = House(b, {'auth.flapping_connects_per_minute': 2, 'auth.flapping_ban_s': 3600})
    api.away('flaps', 't')

    def is_banned():
        c = api.broker.client()
        c.send(wire.connect(V5, 'flaps', clean_start=False, props=EXPIRY))
        reason = c.recv().reason
        c.close()
        return reason == 0x8A
    wait_until(is_banned)
    wait_until(lambda: api.ask('/clients/flaps')[0] == 404)
    steps = api.why('t', 'later', 'away', 'flapping', client_id='flaps', address='127.0.0.1')
    equal('flapping_ban_s' in steps['flapping'], True)
    equal('flapping' in api.why('t', 'later', 'away', client_id='flaps', address='127.0.0.2'), False)


# ---- The window and the queue

@test(only='dunlin')
def the_window_is_closed(b):
    api = House(b, {'limits.session_queue_messages_max': 3, 'limits.session_queue_full': 'drop_newest'})
    slow = api.broker.connected('slow', props={'receive_maximum': 2})
    slow.subscribe('t', qos=1)
    p = api.broker.connected('p')
    p.publish('t', b'1', qos=1)
    api.why('t', 'yes', None, client_id='slow')
    p.publish('t', b'2', qos=1)
    steps = api.why('t', 'later', 'window_closed', 'queue', client_id='slow')
    equal('not acknowledged 2 messages, and gets no more than 2' in steps['window_closed'], True, steps)
    api.why('t', 'yes', None, client_id='slow', qos=0)
    for i in range(3):
        p.publish('t', b'%d' % (i + 3), qos=1)
    steps = api.why('t', 'no', 'queue_full_newest', 'window_closed', 'waiting', client_id='slow')
    equal(steps['waiting'].startswith('3 messages'), True, steps)
    p.publish('t', b'lost', qos=1)
    equal(api.broker.wait_counter('drop_queue_full_newest', 1), 1)


@test(only='dunlin', each=[('drop_oldest', 'later', 'away', 'queue_full_oldest'),
                           ('disconnect', 'no', 'queue_full_disconnect', 'away')])
def the_queue_is_full(b, policy, verdict, reason, code):
    api = House(b, {'limits.session_queue_messages_max': 2, 'limits.session_queue_full': policy})
    api.away('gone', 't')
    p = api.broker.connected('p')
    for _ in range(2):
        p.publish('t', b'x', qos=1)
    api.why('t', verdict, reason, code, client_id='gone')


@test(only='dunlin')
def what_waits_has_expired(b):
    api = House(b)
    api.away('gone', '+')
    p = api.broker.connected('p')
    p.publish('t', b'short', qos=1, props={'message_expiry_interval': 1})
    p.publish('t', b'long', qos=1)
    p.publish('u', b'another', qos=1)
    equal(api.why('t', 'later', 'away', client_id='gone')['waiting'].startswith('2 messages'), True)
    wait_until(lambda: any(s['code'] == 'waiting_expired'
                           for s in api.get('/explain', topic='t', client_id='gone')['steps']))
    equal(api.why('t', 'later', 'away', client_id='gone')['waiting_expired'].startswith('1 of them'), True)


@test(only='dunlin')
def one_who_does_not_read(b):
    api = House(b, {'limits.output_bytes_max': 65536})
    slow = api.broker.client(receive_buffer=4096)
    slow.connect('slow')
    slow.subscribe('t', qos=1)
    p = api.broker.connected('p')

    def is_said():
        for _ in range(100):
            p.send(wire.publish(V5, 't', b'x' * 10000))
        p.ping()
        return api.get('/explain', topic='t', client_id='slow', qos=0)['reason'] == 'qos0_output_full'
    wait_until(is_said)
    equal(api.broker.counter('drop_qos0_output_full') > 0, True)
    api.why('t', 'later', 'output_full', 'queue', client_id='slow', qos=1)


@test(only='dunlin')
def what_was_dropped(b):
    api = House(b)
    c = api.broker.connected('small', props={'maximum_packet_size': 100})
    c.subscribe('#', qos=1)
    p = api.broker.connected('p')
    for topic in ('t', 't', 'u'):
        p.publish(topic, bytes(200), qos=1)
    wait_until(lambda: api.broker.counter('drop_too_large') == 3)
    steps = api.why('t', 'yes', None, 'dropped', client_id='small')
    equal(' 3 messages ' in steps['dropped'] and 'drop_too_large, 2 of this topic' in steps['dropped'], True, steps)
    api.away('gone', 't')
    p.publish('t', b'x')
    api.broker.wait_counter('drop_qos0_offline', 1)
    steps = api.why('t', 'no', 'qos0_away', 'dropped', client_id='gone', qos=0)
    equal('drop_qos0_offline, 1 of this topic' in steps['dropped'], True, steps)
    equal('dropped' in api.why('t', 'no', 'no_session', client_id='gon'), False)


# ---- The publisher

@test(only='dunlin')
def who_publishes(b):
    api = House(b, {'limits.topic_levels_max': 4, 'limits.packet_bytes_max': 1000})
    api.why('t', 'maybe', 'publisher_unknown', publisher='nobody')
    api.away('gone', 't')
    api.why('t', 'later', 'publisher_away', publisher='gone')
    api.broker.connected('p')
    api.why('t', 'yes', None, 'publisher_connected', 'publish_allowed', publisher='p')
    api.why('$SYS/broker/x', 'no', 'topic_reserved', publisher='p')
    api.why('a/b/c/d/e', 'no', 'topic_levels', publisher='p')
    api.why('t', 'no', 'publish_too_large', publisher='p', size=1000)


@test(only='dunlin')
def who_publishes_too_much(b):
    api = House(b, {'limits.publish_messages_per_second': 5})
    p = api.broker.connected('p')
    p.send(*(wire.publish(V5, 't', b'x') for _ in range(40)))
    wait_until(lambda: api.broker.counter('publish_paced') > 0)
    api.why('t', 'later', 'publisher_rate', publisher='p')


@test(only='dunlin')
def who_has_not_released(b):
    """QoS 2 up to the broker's Receive Maximum, and no PUBREL."""
    api = House(b, {'limits.receive_maximum': 2})
    p = api.broker.connected('p')
    p.send(wire.publish(V5, 't', b'1', 2, 1))
    p.recv()
    api.why('t', 'yes', None, publisher='p', qos=2)
    p.send(wire.publish(V5, 't', b'2', 2, 2))
    p.recv()
    api.why('t', 'no', 'publish_quota', publisher='p', qos=2)
    api.why('t', 'yes', None, publisher='p', qos=0)


@test(only='dunlin')
def retained_messages_are_full(b):
    api = House(b, {'limits.retained_messages_max': 1})
    p = api.broker.connected('p')
    p.publish('r', b'1', qos=1, retain=True)
    api.why('s', 'maybe', 'retained_full', publisher='p', retain='true')
    api.why('s', 'yes', None, publisher='p')


@test(only='dunlin')
def memory_is_full(b):
    mib = 1 << 20
    api = House(b, {'limits.message_memory_max': 8 * mib, 'limits.session_queue_bytes_max': 1 << 30, 'data.dir': '',
                    'limits.packet_bytes_max': mib, 'limits.message_stall_s': 60})
    api.away('gone', 't')
    p = api.broker.connected('p')
    sent = 0
    while sent < 100 or api.get('/explain', topic='t', publisher='p', qos=0)['verdict'] == 'yes':
        sent += 1
        p.send(wire.publish(V5, 't', bytes(65000), 1, sent))
        p.expect(PUBACK)
    p.send(wire.publish(V5, 't', b'waits', 1, sent + 1))
    wait_until(lambda: any(step['code'] == 'publisher_waits_room'
                           for step in api.get('/explain', topic='t', publisher='p')['steps']))
    api.why('t', 'no', 'memory_full_qos0', publisher='p', qos=0)
    api.why('t', 'later', 'memory_full', 'publisher_waits_room', publisher='p')


# ---- A whole way

@test(only='dunlin')
def users_are_told_apart(b):
    users = Users()
    users.write(f'alice:{QUICK}\n')
    api = House(b, users.settings(allow_anonymous='true'), rules='deny user=alice subscribe t\nallow all #\n')
    c = api.broker.connected('c', username='alice', password=QUICK_PASSWORD)
    c.subscribe('#', qos=1)
    other = api.broker.connected('d')
    other.subscribe('t', qos=1)
    api.why('t', 'no', 'hidden', client_id='c', publisher='d')
    api.why('t', 'yes', None, 'visible', client_id='d', publisher='c')
    other.publish('t', b'x', qos=1)
    other.expect_message('t', b'x')
    c.expect_nothing()
