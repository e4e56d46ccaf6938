# SPDX-License-Identifier: Apache-2.0
"""The API's subscriptions, retained messages, and publishing."""
import base64
import concurrent.futures

from api import Api, quoted
from harness import equal, test, wait_until
from raw import V5

SECONDS = 17


def rows(items):
    return sorted((item['client_id'], item['filter']) for item in items)


# ---- Subscriptions

@test(only='dunlin')
def subscriptions_of_a_client(b):
    api = Api(b, {'node.shards': 2})
    c = api.broker.connected('subs-1')
    c.subscribe('a/b', qos=1)
    c.subscribe(('a/+', 2 | 1 << 2 | 1 << 3), props={'subscription_identifier': 70000})
    c.subscribe(('$share/g/a/#', 0))
    api.broker.connected('subs-2').subscribe('a/b')
    items = sorted(api.all('/subscriptions', client_id='subs-1'), key=lambda item: item['filter'])
    equal([(i['filter'], i['qos'], i['no_local'], i['retain_as_published'], i['identifier']) for i in items],
          [('$share/g/a/#', 0, False, False, None), ('a/+', 2, True, True, 70000), ('a/b', 1, False, False, None)])
    equal({item['client_id'] for item in items}, {'subs-1'})
    equal(api.all('/subscriptions', client_id='nobody'), [])


@test(only='dunlin')
def subscriptions_to_a_filter(b):
    api = Api(b, {'node.shards': 3})
    names = sorted(f'to-{i:02}' for i in range(40))
    for name in names:
        api.broker.connected(name).subscribe('to/+', qos=1)
    away = api.broker.client(V5)
    away.connect('to-away', props={'session_expiry_interval': 100})
    away.subscribe('to/+')
    away.disconnect()
    api.broker.connected('to-other').subscribe('to/#')
    for limit in (1, 7, 1000):
        pages = api.pages('/subscriptions', limit, filter='to/+')
        equal(max(map(len, pages)) <= limit, True)
        equal(rows(item for page in pages for item in page), [(name, 'to/+') for name in [*names, 'to-away']], limit)
    away = [item for item in api.all('/subscriptions', filter='to/+') if not item['connected']]
    equal(rows(away), [('to-away', 'to/+')])
    equal(api.all('/subscriptions', filter='to/x'), [])


@test(only='dunlin')
def who_would_get_a_topic(b):
    api = Api(b, {'node.shards': 3})
    wanted = []
    for i in range(12):
        c = api.broker.connected(f'would-{i:02}')
        for topic_filter in ('w/+/x', f'w/a/{i}', 'w/#' if i % 2 else 'other/#'):
            c.subscribe(topic_filter)
        c.subscribe(f'$share/g{i % 3}/w/a/x')
        wanted += [(f'would-{i:02}', f) for f in ('w/+/x', f'$share/g{i % 3}/w/a/x', *(['w/#'] if i % 2 else []))]
    for limit in (1, 5, 1000):
        equal(rows(api.all('/subscriptions', limit, topic='w/a/x')), sorted(wanted), limit)
    equal(api.all('/subscriptions', topic='nobody/wants'), [])


@test(only='dunlin')
def subscriptions_that_stay_are_met_while_others_leave(b):
    api = Api(b, {'node.shards': 1})
    stay, go = [], []
    for i in range(60):
        c = api.broker.connected(f'meet-{i:02}')
        c.subscribe('meet')
        (go if i % 2 else stay).append((f'meet-{i:02}', c))
    met, more = set(), {}
    while True:
        page = api.get('/subscriptions', limit=7, filter='meet', **more)
        met |= {item['client_id'] for item in page['items']}
        if 'cursor' not in page:
            break
        more = {'cursor': page['cursor']}
        for _name, c in go[:5]:
            c.unsubscribe('meet')
        del go[:5]
    equal({name for name, _c in stay} - met, set())


@test(only='dunlin', each=[
    ('none', '/subscriptions'), ('two', '/subscriptions?client_id=a&topic=b'), ('no filter', '/subscriptions?filter=a%2F%23%2Fb'),
    ('no topic', '/subscriptions?topic=a%2F%2B'), ('empty', '/subscriptions?topic='),
    ('no share', '/subscriptions?filter=%24share%2Fx'), ('no text', '/subscriptions?client_id=%FF'),
    ('no filter of retained', '/retained?filter=a%23'), ('no topic of retained', '/retained/a%2F%23')])
def what_means_nothing(b, _name, path):
    Api(b).refused(400, path)


# ---- Retained messages

def retain(api, **messages):
    c = api.broker.connected('retainer')
    for topic, payload in messages.items():
        c.publish(topic.replace('__', '/'), payload, qos=1, retain=True)


@test(only='dunlin')
def retained_messages_in_pages(b):
    api = Api(b, {'node.shards': 3})
    c = api.broker.connected('retainer')
    topics = sorted(f'{first}/{i}' for first in 'abcdef' for i in range(20))
    for topic in topics:
        c.publish(topic, topic.encode(), qos=1, retain=True)
    for limit in (1, 7, 1000):
        pages = api.pages('/retained', limit)
        equal(max(map(len, pages)) <= limit, True)
        equal(sorted(item['topic'] for page in pages for item in page), topics, limit)
    equal(sorted(item['topic'] for item in api.all('/retained', 3, filter='+/7')), [f'{first}/7' for first in 'abcdef'])
    equal(api.all('/retained', filter='nothing/#'), [])
    one = api.all('/retained', filter='a/1')[0]
    equal(one, {'topic': 'a/1', 'payload_bytes': 3, 'qos': 1, 'expires_at': None})


@test(only='dunlin')
def long_topics_in_pages(b):
    api = Api(b)
    c = api.broker.connected('retainer')
    topics = sorted('t' * 20000 + str(i) for i in range(5))
    for topic in topics:
        c.publish(topic, b'x', qos=1, retain=True)
    equal(sorted(item['topic'] for item in api.all('/retained', 1)), topics)
    equal(api.get('/retained/' + topics[0])['payload'], 'x')


@test(only='dunlin')
def one_retained_message(b):
    api = Api(b)
    c = api.broker.connected('retainer')
    c.publish('one/é', b'text', qos=2, retain=True, props=[
        ('message_expiry_interval', 1000), ('content_type', 'a/b'), ('response_topic', 'to/me'), ('correlation_data', b'\xff\0'),
        ('payload_format_indicator', 1), ('user_property', ('a', 'b')), ('user_property', ('a', 'c'))])
    got = api.get('/retained/' + quoted('one/é'))
    equal(got.pop('expires_at') is not None, True)
    equal(got, {'topic': 'one/é', 'payload': 'text', 'qos': 2, 'retain': True, 'properties': {
        'payload_format_indicator': 1, 'content_type': 'a/b', 'response_topic': 'to/me',
        'correlation_data_base64': base64.b64encode(b'\xff\0').decode(), 'user_properties': [['a', 'b'], ['a', 'c']]}})
    c.publish('one/binary', b'\0\xff', qos=1, retain=True)
    equal(api.get('/retained/' + quoted('one/binary'))['payload_base64'], 'AP8=')
    api.refused(404, '/retained/nothing')


@test(only='dunlin')
def a_retained_message_is_deleted(b):
    api = Api(b, {'node.shards': 2})
    retain(api, gone__a=b'x', stays=b'x')
    watcher = api.broker.connected('watcher')
    watcher.subscribe(('gone/a', 1))
    watcher.expect_message('gone/a', b'x', retain=True)
    api.do('DELETE', '/retained/gone%2Fa')
    api.refused(404, '/retained/gone%2Fa')
    api.do('DELETE', '/retained/gone%2Fa')  # there is none, as was asked for
    watcher.expect_nothing()
    equal([item['topic'] for item in api.all('/retained')], ['stays'])
    late = api.broker.connected('late')
    late.subscribe('gone/a')
    late.expect_nothing()


# ---- Publishing

@test(only='dunlin', each=[(0,), (1,), (2,)])
def a_message_is_published(b, qos):
    api = Api(b, {'node.shards': 3})
    clients = [api.broker.connected(f'pub-{i}') for i in range(6)]
    for c in clients:
        c.subscribe('pub/#', qos=2)
    equal(api.do('POST', '/publish', {'topic': 'pub/a', 'payload': 'é', 'qos': qos}, want=200), {'matched': 1})
    for c in clients:
        c.expect_message('pub/a', 'é'.encode(), qos=qos, retain=False)


@test(only='dunlin')
def with_all_that_a_message_can_have(b):
    api = Api(b)
    c = api.broker.connected('all-of-it')
    c.subscribe(('all', 2 | 1 << 3))
    body = {'topic': 'all', 'payload_base64': 'AP8=', 'qos': 1, 'retain': True, 'expiry_s': 100, 'properties': {
        'payload_format_indicator': 0, 'content_type': 'x', 'response_topic': 'r', 'correlation_data': 'c',
        'user_properties': [['n', 'v']]}}
    api.do('POST', '/publish', body, want=200)
    p = c.expect_message('all', b'\0\xff', qos=1, retain=True)
    equal((p.prop('content_type'), p.prop('response_topic'), p.prop('correlation_data'), p.prop('payload_format_indicator')),
          ('x', 'r', b'c', 0))
    equal(p.prop('message_expiry_interval') in (99, 100), True)
    equal(api.get('/retained/all')['payload_base64'], 'AP8=')
    equal(api.do('POST', '/publish', {'topic': 'nobody'}, want=200), {'matched': 0})


@test(only='dunlin')
def in_order_and_once(b):
    api = Api(b, {'node.shards': 2})
    c = api.broker.connected('ordered')
    c.subscribe(('ordered', 1 | 2 << 4))  # nothing retained: what comes while that is looked up may come twice
    for i in range(20):
        api.do('POST', '/publish', {'topic': 'ordered', 'payload': str(i), 'qos': 1, 'retain': i % 3 == 0}, want=200)
    for i in range(20):
        c.expect_message('ordered', str(i).encode())
    c.expect_nothing()


@test(only='dunlin')
def to_a_session_that_is_kept(b):
    """Answered when it is on disk; also many at once."""
    api = Api(b, {'node.shards': 2})
    for i in range(4):
        away = api.broker.client(V5)
        away.connect(f'kept-{i}', props={'session_expiry_interval': 1000})
        away.subscribe('kept/#', qos=1)
        away.disconnect()
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda i: api.ask('/publish', 'POST', {'topic': f'kept/{i}', 'payload': 'x', 'qos': 1, 'retain': i % 2 == 0}),
                             range(12)))
    equal([status for status, _ in done], [200] * 12)
    wait_until(lambda: api.get('/sessions/kept-0')['queued_messages'] == 12)
    back = api.broker.client(V5)
    back.connect('kept-3', clean_start=False)
    equal(sorted(back.expect_message().topic for _ in range(12)), sorted(f'kept/{i}' for i in range(12)))


@test(only='dunlin')
def retained_where_there_is_no_room(b):
    api = Api(b, {'limits.retained_messages_max': 0})
    api.refused(503, '/publish', 'POST', {'topic': 'room', 'payload': 'x', 'retain': True})


@test(only='dunlin', each=[
    ('no topic', {}), ('empty topic', {'topic': ''}), ('a wildcard', {'topic': 'a/#'}), ('one of ours', {'topic': '$SYS/x'}),
    ('QoS 3', {'topic': 'a', 'qos': 3}), ('QoS as text', {'topic': 'a', 'qos': '1'}), ('retain', {'topic': 'a', 'retain': 1}),
    ('both', {'topic': 'a', 'payload': 'x', 'payload_base64': 'eA=='}), ('no base64', {'topic': 'a', 'payload_base64': 'x'}),
    ('a number', {'topic': 'a', 'payload': 1}), ('expiry', {'topic': 'a', 'expiry_s': -1}), ('unknown', {'topic': 'a', 'dup': True}),
    ('properties', {'topic': 'a', 'properties': []}), ('a property', {'topic': 'a', 'properties': {'topic_alias': 1}}),
    ('format', {'topic': 'a', 'properties': {'payload_format_indicator': 2}}),
    ('response topic', {'topic': 'a', 'properties': {'response_topic': '#'}}),
    ('pairs', {'topic': 'a', 'properties': {'user_properties': [['a']]}}),
    ('correlation', {'topic': 'a', 'properties': {'correlation_data_base64': '*'}})])
def messages_that_are_none(b, _name, body):
    Api(b).refused(400, '/publish', 'POST', body)
