# SPDX-License-Identifier: Apache-2.0
"""The API's clients and sessions: lists in pages, one of them, and its end; the node, and the level of the log."""
from api import Api, quoted
from harness import equal, test, wait_until
from raw import V5, V31, V311, Will
from users import QUICK, QUICK_PASSWORD, Users

ODD = 'dev/1?#%+ "\\é\n'


def ids(items):
    return sorted(item['client_id'] for item in items)


@test(only='dunlin')
def the_node(b):
    api = Api(b, {'node.shards': 3})
    api.broker.connected('node-a')
    node = api.get('/node')
    equal((node['shards'], node['clients'], node['sessions'], node['ending']), (3, 1, 1, False))
    equal([(one['listener'], one['connections']) for one in node['listeners']], [(0, 1)])


@test(only='dunlin')
def one_client(b):
    api = Api(b)
    c = api.broker.client(V5)
    c.connect(ODD, keep_alive=77, props={'receive_maximum': 7, 'maximum_packet_size': 5000})
    client = api.get('/clients/' + quoted(ODD))
    equal((client['client_id'], client['user'], client['protocol'], client['listener']), (ODD, None, '5.0', 0))
    equal((client['keep_alive_s'], client['receive_maximum'], client['packet_bytes_max']), (77, 7, 5000))
    equal(client['address'].startswith('127.0.0.1:'), True)
    api.refused(404, '/clients/nobody')
    c.disconnect()
    wait_until(lambda: api.ask('/clients/' + quoted(ODD))[0] == 404)


@test(only='dunlin', each=[(V31, '3.1'), (V311, '3.1.1'), (V5, '5.0')])
def versions(b, version, text):
    api = Api(b)
    api.broker.client(version).connect('version-c')
    equal(api.get('/clients/version-c')['protocol'], text)


@test(only='dunlin')
def all_clients_in_pages(b):
    api = Api(b, {'node.shards': 3})
    names = sorted(f'page-{i:03}' for i in range(100))
    for name in names:
        api.broker.connected(name)
    for limit in (1, 7, 100, 1000):
        pages = api.pages('/clients', limit)
        equal(max(map(len, pages)) <= limit, True)
        equal(ids(item for page in pages for item in page), names, limit)
    equal(len(api.get('/clients')['items']), 100)


@test(only='dunlin')
def pages_are_stable_while_clients_come_and_go(b):
    """Who stays is on one page, whoever comes or goes meanwhile, also when the table grows."""
    api = Api(b, {'node.shards': 2})
    stay = [f'stay-{i:03}' for i in range(60)]
    clients = [api.broker.connected(name) for name in stay]
    passing = [api.broker.connected(f'goes-{i:03}') for i in range(40)]
    seen, more, come = [], {}, 0
    while True:
        page = api.get('/clients', limit=9, **more)
        seen += [name for name in ids(page['items']) if name.startswith('stay-')]
        if 'cursor' not in page:
            break
        more = {'cursor': page['cursor']}
        for c in passing[:4]:
            c.disconnect()
        del passing[:4]
        for _ in range(30):
            api.broker.connected(f'comes-{come}')
            come += 1
    equal(sorted(seen), stay)
    clients[0].ping()


@test(only='dunlin')
def a_cursor_of_another_run_is_told(b):
    api = Api(b)
    for i in range(3):
        api.broker.connected(f'cursor-{i}')
    cursor = api.get('/clients', limit=1)['cursor']
    flipped = ('1' if cursor[0] == '0' else '0') + cursor[1:]
    api.refused(410, '/clients', cursor=flipped)
    far = cursor[:8] + 'ff' + cursor[10:]  # a shard that there is not
    equal(api.get('/clients', cursor=far), {'items': []})


@test(only='dunlin')
def filters(b):
    users = Users()
    users.write(f'alice:{QUICK}\n')
    api = Api(b, {'auth.password_file': users.path, 'allow_anonymous': 'true'},
              listeners={'second': {'url': 'tcp://{}'}})
    api.broker.connected('filter-1', username='alice', password=QUICK_PASSWORD.encode())
    api.broker.connected('filter-2')
    api.broker.client(V5, at='second').connect('other-3')
    api.broker.client(V5, source='127.0.0.9').connect('filter-4')
    away = api.broker.client(V5)
    away.connect('filter-5', props={'session_expiry_interval': 100})
    away.disconnect()
    wait_until(lambda: api.ask('/clients/filter-5')[0] == 404)
    everybody = ['filter-1', 'filter-2', 'filter-4', 'other-3']
    for query, want in [({}, everybody), ({'client_id': 'filter-*'}, everybody[:3]), ({'client_id': '*-?'}, everybody),
                        ({'client_id': 'filter-2'}, ['filter-2']), ({'client_id': 'filter'}, []),
                        ({'user': 'alice'}, ['filter-1']), ({'user': 'bob'}, []), ({'listener': 1}, ['other-3']),
                        ({'address': '127.0.0.9'}, ['filter-4']), ({'address': '127.0.0.0/28'}, everybody),
                        ({'address': '10.0.0.0/8'}, []), ({'address': '::1'}, []),
                        ({'client_id': 'f*', 'address': '127.0.0.1', 'listener': 0}, ['filter-1', 'filter-2'])]:
        equal(ids(api.all('/clients', **query)), want, query)
    equal(api.get('/clients/filter-1')['user'], 'alice')
    equal(ids(api.all('/sessions')), ['filter-1', 'filter-2', 'filter-4', 'filter-5', 'other-3'])
    equal(ids(api.all('/sessions', connected='false')), ['filter-5'])
    equal(ids(api.all('/sessions', connected='true')), everybody)
    equal(ids(api.all('/sessions', user='alice')), ['filter-1'])


@test(only='dunlin')
def a_client_is_kicked(b):
    api = Api(b)
    watcher = api.broker.connected('kick-watcher')
    watcher.subscribe('kick/will', qos=1)
    c = api.broker.client(V5)
    c.connect('kick-me', will=Will('kick/will', b'gone'), props={'session_expiry_interval': 60})
    api.do('DELETE', '/clients/kick-me', reason='it floods, é')
    packet = c.expect_disconnect(0x98)
    equal(packet.prop('reason_string'), 'it floods, é')
    watcher.expect_message('kick/will', b'gone')
    api.refused(404, '/clients/kick-me', 'DELETE')
    equal(api.get('/sessions/kick-me')['connected'], False)
    old = api.broker.client(V311)
    old.connect('kick-old')
    api.do('DELETE', '/clients/kick-old')
    old.expect_end()
    api.refused(400, '/clients/x', 'DELETE', reason='x' * 201)
    wait_until(lambda: api.broker.events('api_changed'))


@test(only='dunlin')
def a_session_and_its_end(b):
    api = Api(b, {'limits.session_expiry_max_s': 4294967295})
    c = api.broker.client(V5)
    c.connect('away-1', will=Will('away/will', b''), props={'session_expiry_interval': 0xFFFFFFFF})
    c.subscribe('away/#', qos=1)
    c.subscribe('away/+/x', qos=1)
    session = api.get('/sessions/away-1')
    equal((session['connected'], session['expiry_s'], session['expires_at'], session['has_will'],
           session['subscriptions'], session['queued_messages']), (True, None, None, True, 2, 0))
    c.disconnect()
    publisher = api.broker.connected('away-pub')
    for i in range(5):
        publisher.publish('away/a', b'%d' % i, qos=1)
    wait_until(lambda: api.get('/sessions/away-1')['queued_messages'] == 5)
    session = api.get('/sessions/away-1')
    equal((session['connected'], session['queued_bytes'] > 5, session['has_will']), (False, True, False))
    api.do('DELETE', '/sessions/away-1')
    api.refused(404, '/sessions/away-1')
    api.refused(404, '/sessions/away-1', 'DELETE')
    back = api.broker.client(V5)
    equal(back.connect('away-1', clean_start=False).session_present, False)
    api.do('DELETE', '/sessions/away-1')  # of one that is connected
    back.expect_disconnect(0x98)
    api.refused(404, '/sessions/away-1')


@test(only='dunlin')
def what_is_under_way(b):
    api = Api(b)
    c = api.broker.client(V5)
    c.connect('slow-1', props={'receive_maximum': 2, 'session_expiry_interval': 60})
    c.subscribe('slow', qos=1)
    publisher = api.broker.connected('slow-pub')
    for i in range(6):
        publisher.publish('slow', b'%d' % i, qos=1)
    wait_until(lambda: api.get('/sessions/slow-1')['queued_messages'] == 4)
    equal(api.get('/sessions/slow-1')['in_flight'], 2)
    equal((api.get('/clients/slow-1')['in_flight'], api.get('/clients/slow-1')['queued_messages']), (2, 4))
    equal(api.get('/sessions/slow-1')['expiry_s'], 60)


@test(only='dunlin')
def the_level_of_the_log(b):
    api = Api(b)
    equal(api.get('/log/level'), {'level': 'info'})
    equal(api.do('PUT', '/log/level', {'level': 'error'}, want=200), {'level': 'error'})
    equal(api.get('/log/level', key='looker'), {'level': 'error'})
    api.do('PUT', '/log/level', {'level': 'debug'}, want=200)
    wait_until(lambda: api.broker.events('api_changed'))
