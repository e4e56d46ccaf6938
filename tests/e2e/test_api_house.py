# SPDX-License-Identifier: Apache-2.0
"""The API's ban list, configuration, and backups."""
import os

from api import Api, quoted
from harness import Launch, equal, test, wait_until
from raw import V5


def ban_file(name, text=''):
    path = os.path.abspath(os.path.join(Launch.folder, f'api-{name}-{os.getpid()}'))
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)
    return path


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


@test(only='dunlin')
def bans_are_listed(b):
    lines = ['# ours', 'client a until 2999-01-01T00:00:00Z because "it" floods', 'user "b c"', 'address 10.0.0.0/8',
             'client over until 2001-01-01T00:00:00Z']
    path = ban_file('list', '\n'.join(lines) + '\n')
    api = Api(b, {'auth.ban_file': path})
    want = [{'kind': 'client', 'value': 'a', 'until': '2999-01-01T00:00:00Z', 'because': '"it" floods'},
            {'kind': 'user', 'value': 'b c', 'until': None, 'because': ''},
            {'kind': 'address', 'value': '10.0.0.0/8', 'until': None, 'because': ''}]
    for limit in (1, 2, 100):
        equal(api.all('/bans', limit), want)
    cursor = api.get('/bans', limit=1)['cursor']
    api.do('PUT', '/bans/client/new')
    api.refused(410, '/bans', cursor=cursor)


@test(only='dunlin')
def a_ban_comes_and_goes(b):
    path = ban_file('edit', '# stays\n')
    api = Api(b, {'auth.ban_file': path})
    c = api.broker.connected('dev/1 x')
    other = api.broker.connected('other')
    api.do('PUT', '/bans/client/' + quoted('dev/1 x'), {'because': 'why not', 'for_s': 3600})
    c.expect_disconnect(0x98)
    api.broker.client(V5).connect('dev/1 x', expect=0x8A)  # in force when it is answered
    ban = api.get('/bans')['items'][0]
    equal((ban['kind'], ban['value'], ban['because'], ban['until'] is not None), ('client', 'dev/1 x', 'why not', True))
    api.do('PUT', '/bans/client/' + quoted('dev/1 x'), {'until': '2999-01-01T00:00:00Z'})
    equal([(one['until'], one['because']) for one in api.get('/bans')['items']], [('2999-01-01T00:00:00Z', '')])
    equal(read(path).startswith('# stays\n'), True)
    api.do('DELETE', '/bans/client/' + quoted('dev/1 x'))
    api.refused(404, '/bans/client/' + quoted('dev/1 x'), 'DELETE')
    equal(read(path), '# stays\n')
    api.broker.connected('dev/1 x')
    api.do('PUT', '/bans/address/' + quoted('127.0.0.9/32'))
    api.do('PUT', '/bans/user/alice')
    equal([(one['kind'], one['value']) for one in api.get('/bans')['items']], [('address', '127.0.0.9'), ('user', 'alice')])
    other.ping()


@test(only='dunlin', each=[
    ('kind', '/bans/host/a', None), ('address', '/bans/address/here', None), ('end', '/bans/client/a', {'until': 'tomorrow'}),
    ('both ends', '/bans/client/a', {'until': '2999-01-01T00:00:00Z', 'for_s': 1}), ('period', '/bans/client/a', {'for_s': 0}),
    ('two lines', '/bans/client/a', {'because': 'a\nb'}), ('unknown', '/bans/client/a', {'reason': 'x'})])
def bans_that_mean_nothing(b, _name, path, body):
    Api(b, {'auth.ban_file': ban_file('bad')}).refused(400, path, 'PUT', body)


@test(only='dunlin')
def without_a_ban_file(b):
    api = Api(b)
    api.refused(409, '/bans')
    api.refused(409, '/bans/client/a', 'PUT')
    api.refused(409, '/bans/client/a', 'DELETE')


# ---- The configuration

@test(only='dunlin')
def the_configuration_in_force(b):
    api = Api(b, {'limits.connections_max': 77, 'http.url': 'http://me:hush@127.0.0.1:1/x?a=b@c', 'auth.methods': 'http,password'})
    settings = {item['path']: item for item in api.get('/config', key='looker')['items']}
    equal(settings['limits.connections_max'],
          {'path': 'limits.connections_max', 'value': '77', 'source': 'flag', 'origin': '--set', 'reloadable': True})
    equal(settings['http.url']['value'], 'http://***@127.0.0.1:1/x?a=b@c')
    equal((settings['log.level']['value'], settings['log.level']['source']), ('info', 'default'))
    equal(settings['listeners.0.url']['value'].startswith('tcp://'), True)
    equal('hush' in str(settings), False)


@test(only='dunlin')
def what_came_from_a_file_of_secrets_is_masked(b):
    api = Api(b, environment={'DUNLIN_MQTT__RESPONSE_INFORMATION_FILE': ban_file('secret', 'hush')})
    settings = {item['path']: item for item in api.get('/config')['items']}
    equal((settings['mqtt.response_information']['value'], settings['mqtt.response_information']['source']), ('***', 'environment'))


# ---- Backups

@test(only='dunlin')
def a_backup_is_taken(b):
    from test_persistence import Folder
    from test_process import dunlin
    folder = Folder(b).path
    data, to = os.path.join(folder, 'data'), os.path.join(folder, 'to')
    os.mkdir(to)
    api = Api(b, {'data.dir': data, 'admin.backup_dir': to, 'data.journal_segment_bytes': 1 << 20})
    equal(api.get('/backup')['state'], 'none')
    c = api.broker.client(V5)
    c.connect('backed-up', props={'session_expiry_interval': 1000})
    begun = api.do('POST', '/backup', {'name': 'one'}, want=202)
    equal((begun['state'], begun['name']), ('running', 'one'))
    done = wait_until(lambda: (s := api.get('/backup'))['state'] != 'running' and s, timeout=30)
    equal((done['state'], done['error'], done['files'] > 0, done['bytes'] > 0), ('done', None, True, True))
    equal(os.listdir(to), ['one'])
    api.do('POST', '/backup', {'name': 'one'}, want=202)  # it is there already
    failed = wait_until(lambda: (s := api.get('/backup'))['state'] != 'running' and s, timeout=30)
    equal((failed['state'], 'one' in failed['error']), ('failed', True))
    status, said = dunlin('backup', '--check', os.path.join(to, 'one'))
    equal(status, 0, said)
    for name in ('', '..', '.hidden', 'a/b', 'x' * 65, 7):
        api.refused(400, '/backup', 'POST', {'name': name})


@test(only='dunlin')
def no_backup_without_a_place_for_it(b):
    Api(b).refused(409, '/backup', 'POST', {'name': 'x'})
