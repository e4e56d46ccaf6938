# SPDX-License-Identifier: Apache-2.0
"""tools/dunlinctl: each command, good and refused, as a table and as JSON; `top` on a terminal; the manual
page, the completion, and the examples of docs/dunlinctl.md."""
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import tempfile

from api import Api, operation_of, operations
from asked import Asked
from ctl import ROOT, TOOL, Ctl, Screen, environment, run, written
from harness import PORTS, Launch, Unexpected, equal, test, wait_until
from pki import pki
from raw import V5

from dunlinctl_ import pages
from dunlinctl_.main import COMMANDS, COMMON, WITHOUT_BROKER
from dunlinctl_.top import busy
from dunlinctl_.usage import Line

SECONDS = 80

# Of each command that asks a broker: a line, whether it changes something, and what it says (a part of the
# text) where there is no such thing, or it is not configured; None: there always is.
LINES = {
    'node': ('', False, None),
    'clients list': ('', False, None),
    'cluster status': ('', False, 'cluster.listen'),
    'partitions': ('', False, 'cluster.replicas'),
    'cluster drain': ('--stop', True, None),
    'cluster join': ('127.0.0.1:4000', True, 'cluster.listen'),
    'cluster leave': ('', True, 'cluster.listen'),
    'cluster forget': ('nobody', True, 'cluster.listen'),
    'clients show': ('nobody', False, 'no such client'),
    'clients kick': ('nobody', True, 'no such client'),
    'sessions list': ('', False, None),
    'sessions show': ('nobody', False, 'no such session'),
    'sessions delete': ('nobody', True, 'no such session'),
    'subscriptions list': ('-t a', False, None),
    'explain': ('--publisher nobody -t a', False, None),
    'retained list': ('', False, None),
    'retained get': ('nothing', False, 'no such retained message'),
    'retained delete': ('nothing', True, None),
    'bans list': ('', False, 'auth.ban_file'),
    'bans add': ('client nobody', True, 'auth.ban_file'),
    'bans remove': ('client nobody', True, 'auth.ban_file'),
    'config': ('no.such', False, "no setting is as 'no.such'"),
    'log-level get': ('', False, None),
    'log-level set': ('info', True, None),
    'publish': ('-t a/# -m x', True, 'topic'),
    'backup status': ('', False, None),
    'backup start': ('x', True, 'admin.backup_dir'),
    'drain status': ('', False, None),
    'drain start': ('', True, None),
    'drain stop': ('', True, None),
    'recorder': ('/dev/null', True, 'nothing is recorded'),
    'trace': ('--client x --seconds 1', False, None),
    'ready': ('', False, None),
    'live': ('', False, None),
    'top': ('--once --interval 0.2', False, None),
}
WITHOUT_KEY = ('ready', 'live', 'top')


def every_command():
    return [' '.join(c.words) for c in COMMANDS if c.words[0] not in WITHOUT_BROKER]


# ---- What each does

@test(only='dunlin')
def the_node_and_its_configuration(b):
    ctl = Ctl(b, {'limits.connections_max': 77})
    said = ctl('node')
    equal(re.search(r'^shards +\d+$', said, re.M) is not None, True, said)
    equal(f'tcp://127.0.0.1:{ctl.broker.port}' in said, True, said)
    equal(ctl.json('node')['listeners'][0]['listener'], 0)
    equal(ctl.rows('config limits.connections_*max'),
          [{'PATH': 'limits.connections_max', 'SOURCE': 'flag', 'ORIGIN': '--set', 'RELOADABLE': 'yes', 'VALUE': '77'}])
    changed = {item['path']: item['source'] for item in ctl.json('config limits --changed')}
    equal((changed['limits.connections_max'], 'default' in changed.values()), ('flag', False))
    equal(ctl('log-level'), 'info\n')
    equal(ctl('log-level set debug'), 'debug\n')
    equal(ctl.json('log-level get'), {'level': 'debug'})


@test(only='dunlin')
def clients_and_sessions(b):
    ctl = Ctl(b)
    for name in ('one/1', 'one/2', 'two é'):
        ctl.broker.connected(name)
    away = ctl.broker.client(V5)
    away.connect('away', props={'session_expiry_interval': 1000})
    away.disconnect()
    wait_until(lambda: len(ctl.json('clients')) == 3)
    equal(sorted(row['CLIENT_ID'] for row in ctl.rows('clients list')), ['one/1', 'one/2', 'two é'])
    equal(sorted(item['client_id'] for item in ctl.json("clients -i 'one/*' --address 127.0.0.0/8 --listener 0")), ['one/1', 'one/2'])
    equal(len(ctl.json('clients --limit 2')), 2)
    equal(ctl.json('clients --address=10.0.0.0/8'), [])
    equal(ctl('clients --user nobody'), '')
    equal((ctl.record("clients show 'two é'")['protocol'], ctl.json('clients show one/1')['client_id']), ('5.0', 'one/1'))
    equal([row['CONNECTED'] for row in ctl.rows('sessions list --away')], ['no'])
    equal(len(ctl.json('sessions')), 4)
    equal(len(ctl.json('sessions --connected')), 3)
    equal((ctl.record('sessions show away')['connected'], ctl.json('sessions show away')['expiry_s']), ('no', 1000))
    equal(ctl('sessions delete away'), 'the session of away has ended\n')
    ctl('sessions show away', 1)
    equal(ctl.json('clients kick one/1 --reason maintenance'), {'done': True})
    equal(ctl("clients kick 'two é'"), 'two é is disconnected\n')
    equal([item['client_id'] for item in ctl.json('clients')], ['one/2'])


@test(only='dunlin')
def a_kicked_client_is_told_why(b):
    ctl = Ctl(b)
    c = ctl.broker.connected('kicked')
    ctl("clients kick kicked --reason 'for a while'")
    equal(c.expect_disconnect(0x98).prop('reason_string'), 'for a while')


@test(only='dunlin')
def subscriptions_by_each_of_the_three(b):
    ctl = Ctl(b)
    c = ctl.broker.connected('sub')
    c.subscribe('a/+', qos=1)
    c.subscribe('$share/g/a/#')
    equal(sorted(row['FILTER'] for row in ctl.rows('subscriptions -i sub')), ['$share/g/a/#', 'a/+'])
    equal([(row['CLIENT_ID'], row['QOS']) for row in ctl.rows('subscriptions list --filter a/+')], [('sub', '1')])
    equal(sorted(item['filter'] for item in ctl.json('subscriptions -t a/b')), ['$share/g/a/#', 'a/+'])
    equal(ctl.json('subscriptions -t b'), [])


@test(only='dunlin')
def messages(b):
    ctl = Ctl(b)
    c = ctl.broker.connected('reader')
    c.subscribe('m/#', qos=2)
    said = ctl(['publish', '-t', 'm/1', '-m', '-5 \x1b[31m', '-q', '1', '-r', '-D', 'publish', 'user-property', 'n', '-v',
                '-D', 'PUBLISH', 'content-type', 'text/plain', '-D', 'publish', 'message-expiry-interval', '1000',
                '-D', 'publish', 'correlation-data', 'c', '-D', 'publish', 'response-topic', 'r',
                '-D', 'publish', 'payload-format-indicator', '1'])
    equal(said, 'published; filters that match: 1\n')
    p = c.expect_message('m/1', b'-5 \x1b[31m', qos=1)
    equal((p.prop('user_property'), p.prop('content_type'), p.prop('correlation_data'), p.prop('response_topic'),
           p.prop('payload_format_indicator'), p.prop('message_expiry_interval') in (999, 1000)),
          (('n', '-v'), 'text/plain', b'c', 'r', 1, True))
    equal(ctl.json('publish -t m/2 -s -q 2'), {'done': True, 'matched': 1})
    c.expect_message('m/2', b'', qos=2)
    ctl.raw('publish -t m/3 -s', stdin=b'\0\xff\n')
    c.expect_message('m/3', b'\0\xff\n', qos=0)
    ctl(['publish', '-t', 'm/4', '-r', '-f', written(b'a\0b')])
    c.expect_message('m/4', b'a\0b')
    ctl.raw('publish -t m/5 -l', stdin=b'one\ntwo\r\nlast')
    for payload in (b'one', b'two', b'last'):
        c.expect_message('m/5', payload)

    equal([(row['TOPIC'], row['PAYLOAD_BYTES']) for row in ctl.rows('retained list --filter +/1')], [('m/1', '8')])
    equal(sorted(item['topic'] for item in ctl.json('retained')), ['m/1', 'm/4'])
    got = ctl.record('retained get m/1')
    equal((got['payload'], got['user_properties'], got['qos']), ('-5 \\x1b[31m', 'n=-v', '1'), 'what a terminal would obey is not there')
    equal(ctl.record('retained get m/4')['payload'], '61 00 62')
    equal(ctl.raw('retained get m/4 --payload'), b'a\0b')
    equal(ctl.json('retained get m/4')['retain'], True)
    equal(ctl('retained delete m/4'), 'nothing is retained for m/4\n')
    ctl('publish -t m/1 -n -r')
    equal(ctl.json('retained'), [])


@test(only='dunlin')
def bans(b):
    ctl = Ctl(b, {'auth.ban_file': written('')})
    c = ctl.broker.connected('-flood')
    equal(ctl("bans add client --for 2h --because 'it floods' -- -flood"), 'client -flood is banned\n')
    c.expect_disconnect(0x98)
    equal(ctl.json('bans add address 192.0.2.0/24 --until 2999-01-01T00:00:00Z'), {'done': True})
    equal([(row['KIND'], row['VALUE'], row['BECAUSE']) for row in ctl.rows('bans')],
          [('client', '-flood', 'it floods'), ('address', '192.0.2.0/24', '-')])
    equal(ctl.json('bans list --limit 1')[0]['value'], '-flood')
    ctl('bans remove client -- -flood')
    equal('no such ban' in ctl('bans remove client -- -flood', 1), True)
    ctl.broker.connected('-flood')


@test(only='dunlin')
def a_backup_is_waited_for(b):
    folder = tempfile.mkdtemp(prefix='ctl-', dir=os.path.abspath(Launch.folder))
    to = os.path.join(folder, 'to')
    os.mkdir(to)
    ctl = Ctl(b, {'data.dir': os.path.join(folder, 'data'), 'admin.backup_dir': to, 'data.journal_segment_bytes': 1 << 20})
    equal(ctl.record('backup')['state'], 'none')
    equal(ctl.json('backup start one --wait')['state'], 'done')
    equal(os.listdir(to), ['one'])
    equal(ctl.record('backup status')['name'], 'one')
    said = json.loads(ctl('--json backup start one --wait', 1))
    equal((said['state'], 'there already' in said['error']), ('failed', True))


@test(only='dunlin')
def a_drain_is_waited_for(b):
    ctl = Ctl(b, {'drain.wait_s': 4})  # who asks twice is a program that starts twice
    c = ctl.broker.connected('drained')
    equal((ctl('ready'), ctl.json('live')['live']), ('ready\n', True))
    equal(ctl.json('drain status')['phase'], 'none')
    equal(ctl.json('drain start')['wanted'], True)
    wait_until(lambda: run('ready', ctl.env)[0] == 1)
    equal('draining' in ctl('ready', 1), True)
    equal(ctl('drain start --wait'), 'the broker has ended\n')
    c.expect_disconnect(0x8B)
    equal(ctl.broker.wait_end(), 0)


@test(only='dunlin')
def what_the_shards_did_last(b):
    ctl = Ctl(b)
    ctl.broker.connected('recorded').ping()
    to = written('')
    said = ctl.json(f'recorder {to}')
    with open(to, 'rb') as f:
        data = f.read()
    equal((data[:4], said), (b'\n\r\r\n', {'done': True, 'bytes': len(data)}))
    equal(ctl.raw('recorder -')[:4], b'\n\r\r\n')
    ctl('recorder /no/such/file', 2)


# ---- Long lists

@test(only='dunlin')
def a_list_is_followed_from_page_to_page(b):
    ctl = Ctl(b, {'node.shards': 2})
    c = ctl.broker.connected('retainer')
    for i in range(1100):
        c.publish(f'page/{i}', b'x', retain=True)
    c.ping()
    wait_until(lambda: ctl.json('node')['retained'] == 1100)
    equal(len({item['topic'] for item in ctl.json('retained')}), 1100)
    equal(len({row['TOPIC'] for row in ctl.rows('retained')}), 1100)
    for limit in (1, 1001):
        equal(len(ctl.json(f'retained --limit {limit}')), limit)
    with subprocess.Popen([TOOL, 'retained'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ctl.env) as tool:
        tool.stdout.readline()
        tool.stdout.close()  # as head(1) does; what was not read fills no pipe, so it may have ended well
        equal((tool.stderr.read(), tool.wait(20) in (0, 141)), (b'', True))


# ---- What is refused

@test(only='dunlin')
def the_lines_of_these_tests_are_of_all_commands(_b):
    equal(sorted(LINES), sorted(every_command()))


# Operations that no command asks for, and why.
WITHOUT_COMMAND = {('GET', '/openapi.yaml'): 'it is for programs'}


class Enough(Exception):
    """What a command asks for first is known."""


class Nobody:
    """In the place of a broker: what it is asked for, and no answer."""
    key = 'a key'

    def __init__(self):
        self.asked = []

    def note(self, method, path):
        self.asked.append((method, '/api/v1' + path))
        raise Enough

    def ask(self, method, path, _body=None, **_query):
        self.note(method, path)

    data = ask

    def pages(self, path, _limit=None, **_query):
        self.note('GET', path)

    def stream(self, path, **_query):
        self.note('GET', path)

    def plain(self, _path):
        raise Enough


class Listed(Nobody):
    """One whose lists are empty."""

    def ask(self, method, path, _body=None, **_query):
        self.asked.append((method, '/api/v1' + path))
        return {'items': []}


@test(only='dunlin')
def each_operation_of_the_api_has_a_command(_b):
    nobody, lists = Nobody(), Listed()
    for name, (arguments, _changes, _why) in LINES.items():
        command, values = Line(COMMANDS, COMMON, [*name.split(), *shlex.split(arguments)]).read()
        try:
            command.run(nobody, values)
        except Enough:
            continue
        raise Unexpected(f'{name} asks for nothing')
    busy(lists, 1)
    asked = [operation_of(*one) for one in nobody.asked + lists.asked]
    equal(None in asked, False, 'each command asks for what there is')
    equal({(method, path) for method, path, operation in operations() if operation not in asked}, set(WITHOUT_COMMAND))


@test(only='dunlin')
def what_there_is_not(b):
    ctl = Ctl(b, {'recorder.bytes_per_shard': 0})
    for command, (arguments, _changes, why) in LINES.items():
        if why is not None:
            for flag in ('', ' --json'):
                said = ctl(f'{command} {arguments}{flag}', 1)
                equal(why in said and said.startswith('dunlinctl: '), True, f'{command}: {said}')


@test(only='dunlin')
def it_explains(b):
    ctl = Ctl(b)
    c = ctl.broker.connected('hears')
    c.subscribe('a/#')
    said = ctl('explain -i hears -t a/b')
    equal(said.splitlines()[0].startswith('yes: '), True, said)
    equal('EFFECT' in said and 'a/#' in said, True, said)
    said = ctl('explain -i hears -t A/b', 1)
    equal(said.splitlines()[0].startswith('no: '), True, said)
    told = ctl.json('explain -i hears -t a/b -q 2 -r --size 5 --publisher hears')
    equal((told['verdict'], told['steps'] != []), ('yes', True), told)
    ctl('explain -t a', 2)


@test(only='dunlin')
def without_the_right_to(b):
    ctl = Ctl(b)
    nobody, looker = environment(ctl.url), environment(ctl.url, ctl.api.keys.looker)
    for command, (arguments, changes, why) in LINES.items():
        line = f'{command} {arguments}'
        if command in WITHOUT_KEY:
            ctl(line, env=nobody)
            continue
        equal('(401); --key-file' in ctl(line, 1, env=nobody), True, command)
        if changes:
            equal('(403)' in ctl(line, 1, env=looker), True, command)
        elif why is None:
            ctl(line, env=looker)
    equal('(401)' in ctl('node', 1, env=environment(ctl.url, 'dunlin_wrong')), True)
    equal(ctl.json('drain')['wanted'], False)


@test(only='dunlin')
def where_nobody_is(_b):
    env = environment(f'http://127.0.0.1:{PORTS.take()}', 'dunlin_x')
    for command, (arguments, _changes, _why) in LINES.items():
        status, out, err = run(f'{command} {arguments}', env)
        equal((status, out, 'cannot reach http://127.0.0.1:' in err), (3, b'', True), f'{command}: {err}')
    status, _out, err = run('--url http://no-such-host.invalid:1 node', env)
    equal((status, 'cannot reach' in err), (3, True), err)


@test(only='dunlin', each=[
    ('a page', (200, {}, b'<html>')), ('no such page', (404, {}, b'not here')), ('nothing', (200, {}, b'\xff'))])
def where_something_else_is(_b, _name, said):
    other = Asked(said)
    try:
        for line in ('node', 'clients', 'top --once', *(['ready'] if said[0] == 404 else [])):
            equal(run(line, environment(f'http://127.0.0.1:{other.port}'))[0], 3, line)
    finally:
        other.close()


@test(only='dunlin')
def who_does_not_answer_is_not_waited_for(_b):
    with socket.create_server(('127.0.0.1', 0)) as silent:
        status, _out, err = run(f'-p {silent.getsockname()[1]} --timeout 0.3 node', environment())
    equal((status, 'timed out' in err), (3, True), err)


@test(only='dunlin', each=[(line,) for line in (
    '', 'frob', 'clients frob', 'clients show', 'clients show a b', 'clients --limit 0', 'clients --limit x', 'clients --frob',
    'clients --limit', '-t x publish', 'subscriptions', 'subscriptions -t a --filter b', 'sessions --connected --away',
    'bans add host x', 'bans add client x --for 1y', 'bans add client x --for 1h --until 2999-01-01T00:00:00Z',
    'log-level set loud', 'publish -m x', 'publish -t a', 'publish -t a -m x -n', 'publish -t a -m x -q 3', 'publish -t a -t b -m x',
    'publish -t a -f /no/such', 'publish -t a -m x -D publish topic-alias 1', 'publish -t a -m x -D publish user-property a',
    'publish -t a -m x -D connect user-property a b', 'publish -t a -m x -D publish payload-format-indicator 2',
    '--url ftp://x node', '--url http://u@x node', '--url http://x:99999 node', '--url http://x -p 1 node', '-p 0 node',
    '--ca /no/such --url https://x node', '--ca /no/such --url http://x node', '--key-file /no/such node', '--json=yes node', 'top',
    'completion zsh')])
def lines_that_mean_nothing(_b, line):
    status, out, err = run(line, environment('http://127.0.0.1:1'))
    equal((status, out, err.startswith('dunlinctl: ') and err.count('\n') == 1), (2, b'', True), err)


@test(only='dunlin')
def a_key_file_has_a_key_and_nothing_else(_b):
    for text in ('', 'two words', 'two\nlines', 'é'):
        equal(run(['--key-file', written(text), 'node'], environment('http://127.0.0.1:1'))[0], 2, text)


@test(only='dunlin')
def a_body_that_is_too_large(b):
    ctl = Ctl(b)
    equal('(413)' in ctl(['publish', '-t', 'a', '-f', written(bytes(1 << 20))], 1), True)


# ---- The way there

@test(only='dunlin')
def by_https(b):
    api = Api(b, {'admin.certificate': pki().chain('server'), 'admin.key': pki().key('server')}, tls=pki().certificate('root'))
    env = environment(key=api.keys.admin)
    for line in (['--url', f'https://127.0.0.1:{api.port}', '--ca', pki().certificate('root'), 'node'],
                 ['-h', '127.0.0.1', '-p', str(api.port), '--ca', pki().certificate('root'), 'node']):
        status, out, err = run(line, env)
        equal((status, b'version' in out), (0, True), err)
    status, _out, err = run(['--url', f'https://127.0.0.1:{api.port}', 'node'], env)
    equal((status, 'certificate' in err), (3, True), err)
    equal(run(['-p', str(api.port), 'node'], env)[0], 3)


@test(only='dunlin')
def flags_may_stand_anywhere_and_come_before_the_environment(b):
    ctl = Ctl(b)
    key, port = ctl.env['DUNLINCTL_KEY_FILE'], str(ctl.api.port)
    wrong = environment('http://127.0.0.1:1', 'dunlin_wrong')
    for line in (['-h', '127.0.0.1', '-p', port, '--key-file', key, 'clients', 'list'],
                 ['clients', '--json', 'list', '--url', ctl.url, '--key-file', key],
                 ['clients', f'--url={ctl.url}', '--key-file', key]):
        equal(run(line, wrong)[0], 0, line)


# ---- What clients have chosen

@test(only='dunlin')
def control_characters_do_not_reach_the_terminal(b):
    ctl = Ctl(b)
    name = 'a\x1b[2J\u202eb\u2028c'
    ctl.broker.connected(name)
    equal([row['CLIENT_ID'] for row in ctl.rows('clients')], ['a\\x1b[2J\\u202eb\\u2028c'])
    equal(ctl.record(['clients', 'show', name])['client_id'], 'a\\x1b[2J\\u202eb\\u2028c')
    equal((ctl.json('clients')[0]['client_id'], '\x1b' in ctl('--json clients')), (name, False))
    equal(ctl(['clients', 'kick', name]), 'a\\x1b[2J\\u202eb\\u2028c is disconnected\n')


# ---- top

def traffic(ctl):
    """A message that is delivered and one that is dropped, over and over until it is enough."""
    c = ctl.broker.connected('busy')
    c.subscribe('busy')
    away = ctl.broker.client(V5)
    away.connect('sleeps', props={'session_expiry_interval': 1000})
    away.subscribe('busy')
    away.disconnect()
    return c


def send(c):
    for _ in range(20):
        c.publish('busy', b'x')
        c.expect_message('busy')


@test(only='dunlin')
def top_once(b):
    ctl = Ctl(b)
    c = traffic(ctl)
    tool = subprocess.Popen([TOOL, '--json', 'top', '--once', '--interval', '2'], stdout=subprocess.PIPE, env=ctl.env)
    while tool.poll() is None:
        send(c)
    figures = json.loads(tool.stdout.read())
    equal((figures['now']['clients'], figures['now']['sessions'], figures['now']['draining']), (1, 2, 0))
    equal((figures['per_s']['publish_received'] > 0, figures['per_s']['publish_sent'] > 0, figures['delivery_p99_s'] > 0), (True,) * 3)
    equal([(one['reason'], one['per_s'] > 0, one['total'] > 0) for one in figures['drops']], [('qos0_offline', True, True)])
    equal([(one['listener'], one['connections'], one['received_per_s'] > 0) for one in figures['listeners']], [(0, 1, True)])
    said = ctl('top --once --interval 0.2')
    for part in ('clients 1 ', 'qos0_offline', f'tcp://127.0.0.1:{ctl.broker.port}', 'in memory'):
        equal(part in said, True, said)
    equal('\x1b' in said, False)


@test(only='dunlin')
def top_on_a_terminal(b):
    ctl = Ctl(b)
    ctl.broker.connected('seen')
    screen = Screen(ctl)
    screen.wait('\x1b[?1049h')
    screen.wait('clients 1 ')
    ctl.broker.connected('seen-2')
    screen.wait('clients 2 ')
    screen.wait('DROPPED')
    widths = [len(line) for line in re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', screen.seen).split('\r\n')]
    equal(max(widths) <= 60, True, widths)
    equal(screen.end(b'q'), 0)


@test(only='dunlin')
def top_goes_on_when_the_broker_comes_back(b):
    ctl = Ctl(b)
    screen = Screen(ctl)
    screen.wait('clients 0 ')
    ctl.broker.stop()
    screen.wait('trying again')
    ctl.broker.start()
    screen.wait('clients 0 ')
    equal(screen.end(signal.SIGTERM), 128 + signal.SIGTERM)


# ---- What is made of the table

@test(only='dunlin')
def the_manual_page_is_as_the_commands_are(_b):
    status, out, err = run('man', environment())
    equal(status, 0, err)
    with open(TOOL + '.1', 'rb') as f:
        equal(f.read() == out, True, 'tools/dunlinctl.1 is not what `tools/dunlinctl man` prints')
    headings = re.findall(r'^\.SS (.*)$', out.decode().replace('\\-', '-'), re.M)
    equal(headings, [' '.join(c.words) for c in COMMANDS])
    equal(all(f.what.split(';')[0].replace('-', '\\-') in out.decode() for f in COMMON), True)


@test(only='dunlin')
def what_is_installed_runs(_b):
    """bin/dunlinctl, its modules, its manual page, and what completes it."""
    status, out, err = run('completion bash', environment())
    equal(status, 0, err)
    with open(TOOL + '.bash', 'rb') as f:
        equal(f.read() == out, True, 'tools/dunlinctl.bash is not what `tools/dunlinctl completion bash` prints')
    folder = tempfile.mkdtemp(prefix='installed-', dir=os.path.abspath(Launch.folder))
    build = os.path.join(os.path.dirname(os.path.abspath(Launch.program)), '..')
    subprocess.run(['meson', 'install', '-C', build, '--no-rebuild', '--quiet', '--destdir', folder, '--tags', 'dunlinctl,man'], check=True,
                   stdout=subprocess.DEVNULL)
    found = {os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names}
    prefix = next(name for name in found if name.endswith('bin/dunlinctl')).removesuffix('bin/dunlinctl')
    equal({prefix + name for name in ('share/man/man1/dunlinctl.1', 'share/bash-completion/completions/dunlinctl')} - found, set(), found)
    done = subprocess.run([os.path.join(folder, prefix, 'bin', 'dunlinctl'), 'completion', 'bash'], capture_output=True, check=False,
                          env={**os.environ, 'PYTHONDONTWRITEBYTECODE': '1'})
    equal((done.returncode, done.stdout == out), (0, True), done.stderr)


@test(only='dunlin')
def help_names_every_command(_b):
    said = run('--help', environment())[1].decode()
    for command in COMMANDS:
        words = ' '.join(command.words)
        equal(f'\n  {words} ' in said or f'\n  {words}\n' in said, True, words)
        own = pages.help_of(command, COMMON)
        equal(own.startswith(f'dunlinctl {words}'), True, own)
        for flag in (*command.flags, *COMMON):
            equal(f'\n  {", ".join(flag.names)}' in own, True, own)
    status, out, _err = run('clients kick --help', environment())
    equal((status, b'--reason TEXT' in out), (0, True))


@test(only='dunlin', each=[
    ('', 'cl', 'cluster clients'), ('clients', '', 'list show kick'), ('--json clients', 'k', 'kick'), ('clients list', '--li', '--listener --limit'),
    ('clients', '--li', '--listener --limit'), ('--url http://127.0.0.1:1 bans', 'a', 'add'), ('bans add', '', 'client user address'),
    ('publish -q', '', '0 1 2'), ('log-level set', 'd', 'debug'), ('clients --limit', '', ''), ('publish -f', '/etc/pass', '/etc/passwd*'),
    ('', 'log', 'log-level')])
def completion(_b, before, word, want):
    script = run('completion bash', environment())[1].decode()
    # As readline splits a line: a colon is a word of its own.
    words = ['dunlinctl', *re.findall(r':|[^\s:]+', before), word]
    script += f'''
COMP_WORDS=({' '.join(map(shlex.quote, words))})
COMP_CWORD={len(words) - 1}
_dunlinctl
printf '%s\\n' "${{COMPREPLY[@]}}"
'''
    done = subprocess.run(['bash', '-u', '-c', script], capture_output=True, text=True, check=False)
    equal(done.stderr, '')
    got = done.stdout.split()
    if want.endswith('*'):
        equal(want[:-1] in got, True, got)
    else:
        equal(got, want.split())


@test(only='dunlin')
def the_examples_of_the_page_mean_something(_b):
    with open(os.path.join(ROOT, 'docs', 'dunlinctl.md'), encoding='utf-8') as f:
        blocks = re.findall(r'^```(?:sh)?\n(.*?)^```$', f.read(), re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines() if re.match(r'(\$ )?dunlinctl ', line)]
    met = set()
    for line in lines:
        words = shlex.split(line.removeprefix('$ '), comments=True)[1:]
        words = words[:next((i for i, word in enumerate(words) if word[0] in '|>'), len(words))]  # what is the shell's
        met.add(' '.join(Line(COMMANDS, COMMON, words).read()[0].words))
    equal(sorted(set(every_command()) - met), [], 'commands that have no example')
