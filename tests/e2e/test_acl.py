# SPDX-License-Identifier: Apache-2.0
"""Who may publish and subscribe to what; and what becomes of those who were connected when it changed."""
import os
import signal
import subprocess

from harness import Launch, equal, lines_until, test, wait_until
from raw import CONNACK, V5, V31, V311, Will, wire

VERSIONS = [(V31,), (V311,), (V5,)]
NO = 0x87
SECONDS = 25
# A hash that costs next to nothing: Mosquitto's, with few iterations.
QUICK = '$7$101$AAECAwQFBgcICQoL$lp0Cm29zl+CI/RXyXDKvLye7OxM3OuE6RMzgXTX/f3imS/pFh2Ur7yarLDpKRUKpB0tOj6l0UrRv41zqxmD4tg=='
QUICK_PASSWORD = 'correct horse'
REFUSED = {V31: 0, V311: 0x80, V5: NO}  # SUBACK; 3.1 has no word for it


def path_of(name):
    return os.path.abspath(os.path.join(Launch.folder, name))


class Rules:
    """An ACL file of its own."""
    made = 0

    def __init__(self, text):
        Rules.made += 1
        self.path = path_of(f'acl-{os.getpid()}-{Rules.made}')
        self.write(text)

    def write(self, text):
        with open(f'{self.path}.new', 'w', encoding='utf-8') as f:
            f.write(text)
        os.replace(f'{self.path}.new', self.path)


def house(b, text, users=(), **more):
    """A broker with these rules, and users who all have the same password; others are anonymous."""
    rules = Rules(text)
    settings = {'acl.file': rules.path, **{key.replace('__', '.'): v for key, v in more.items()}}
    if users:
        with open(f'{rules.path}-users', 'w', encoding='utf-8') as f:
            f.writelines(f'{user}:{QUICK}\n' for user in users)
        settings |= {'auth.password_file': f'{rules.path}-users', 'allow_anonymous': 'true'}
    return b.another(settings), rules


def user(other, name, client_id='', version=V5, **connect):
    return other.connected(client_id, version, username=name, password=QUICK_PASSWORD, **connect)


def change(other, rules, text):
    """In force when it returns."""
    since = other.log_size()
    rules.write(text)
    other.signal(signal.SIGHUP)
    wait_until(lambda: other.events('reloaded', since), what='the rules read again')


def refused(c, topic, qos, **publish):
    """A PUBLISH gets what its version has for it: a code, or an acknowledgement and nothing else."""
    if c.version == V5 and qos > 0:
        c.publish(topic, b'no', qos=qos, expect=(NO,), **publish)
    else:
        c.publish(topic, b'no', qos=qos, expect=(0, None), **publish)


# ---- PUBLISH

@test(only='dunlin', each=VERSIONS)
def publish_is_judged(b, version):
    other, _ = house(b, 'allow publish mine/${clientid}/#\ndeny all mine/#\nallow all #\n')
    watcher = other.connected()
    watcher.subscribe('other/#', qos=2)
    c = other.connected(f'acl-{version}', version)
    for qos in 0, 1, 2:
        refused(c, 'mine/somebody/x', qos)
        refused(c, f'mine/acl-{version}x/x', qos)
        c.publish(f'mine/acl-{version}/x', b'yes', qos=qos, expect=(0, 0x10, None))
        c.publish('other/x', b'yes', qos=qos, expect=(0, None))
        watcher.expect_message('other/x', b'yes', qos=qos)
    equal(other.counters('publish_refused')['publish_refused'], 6)
    counts = other.counters('drop_not_allowed', ) | other.counters('drop_refused')
    equal(counts['drop_not_allowed'] + counts['drop_refused'], 6)


@test(only='dunlin')
def topic_alias_is_judged_by_its_topic(b):
    other, _ = house(b, 'allow publish good\n')
    c = other.connected()
    c.publish('bad', b'', qos=1, expect=(NO,), props={'topic_alias': 1})
    c.publish('', b'', qos=1, expect=(NO,), props={'topic_alias': 1})
    c.publish('good', b'', qos=1, props={'topic_alias': 1})
    c.publish('', b'', qos=1, props={'topic_alias': 1})


@test(only='dunlin')
def qos_and_retain_have_limits(b):
    other, _ = house(b, 'allow publish qos=0,1 retain=no a\nallow all retain=yes b\nallow subscribe qos=0 c\n')
    c = other.connected()
    c.publish('a', b'', qos=1)
    c.publish('a', b'', qos=2, expect=(NO,))
    c.publish('a', b'x', qos=1, retain=True, expect=(NO,))
    c.publish('b', b'x', qos=2, retain=True)
    c.publish('b', b'', qos=2, expect=(NO,))
    c.subscribe('c', qos=0)
    c.subscribe('c', qos=1, expect=(NO,))


@test(only='dunlin')
def sys_topics_stay_the_brokers(b):
    other, _ = house(b, 'allow all $SYS/# #\n')
    other.connected().publish('$SYS/x', b'', qos=1, expect=(NO,))


@test(only='dunlin')
def nothing_is_allowed_without_a_rule(b):
    other, _ = house(b, '# nothing\n')
    c = other.connected()
    c.publish('a', b'', qos=1, expect=(NO,))
    c.subscribe('a', '#', '$share/g/a', expect=(NO, NO, NO))


@test(only='dunlin')
def default_allow_allows_the_rest(b):
    other, _ = house(b, 'deny all a\ndefault allow\n')
    c = other.connected()
    c.publish('a', b'', qos=1, expect=(NO,))
    c.subscribe('a', 'b', expect=(NO, 0))
    c.publish('b', b'', qos=1)


@test(only='dunlin', each=[('+',), ('#',), ('a/b',), ('$SYS',), ('${clientid}',), ('a+',)])
def hostile_client_id_widens_nothing(b, client_id):
    other, _ = house(b, 'allow all d/${clientid}/# ${clientid}/own\ndeny all x/${clientid}/y\nallow all x/#\n')
    c = other.connected(client_id)
    for topic in 'd/victim/x', 'd/a/b', 'd/a/b/c', 'victim/own', '$SYS/own':
        c.publish(topic, b'', qos=1, expect=(NO,))
    for topic in 'd/+/x', 'd/#', '+/own', 'd/a/b/#', '$SYS/own':
        c.subscribe(topic, expect=(NO,))
    if client_id not in ('$SYS', '${clientid}'):  # which are names as any other
        c.publish('x/victim/y', b'', qos=1, expect=(NO,))


# ---- Who

@test(only='dunlin')
def rules_know_users_groups_clients_and_addresses(b):
    other, _ = house(b, '''
        group ops alice carol
        allow group=ops all ops/#
        allow user=alice publish ${username}/x
        allow client=gateway publish gateway
        allow anonymous publish anonymous
        allow address=127.0.0.0/8 publish near
        allow address=10.0.0.0/8 publish far
        ''', users=('alice', 'bob', 'carol'))

    def may(c, *topics):
        for topic in 'ops/x', 'alice/x', 'gateway', 'anonymous', 'near', 'far':
            c.publish(topic, b'', qos=1, expect=(0, 0x10) if topic in topics else (NO,))

    may(user(other, 'alice'), 'ops/x', 'alice/x', 'near')
    may(user(other, 'carol', 'gateway'), 'ops/x', 'gateway', 'near')
    may(user(other, 'bob'), 'near')
    may(other.connected(), 'anonymous', 'near')


@test(only='dunlin')
def operator_is_told_who_may_not_do_what(b):
    other, _ = house(b, 'allow user=alice subscribe a\n', users=('alice',))
    c = user(other, 'alice', 'her-device')
    c.publish('a', b'', qos=1, expect=(NO,))
    c.subscribe('b/#', expect=(NO,))
    wait_until(lambda: len(other.events('not_allowed')) == 2, what='two lines')
    equal([(e['action'], e['topic'], e['client_id'], e['user_name']) for e in other.events('not_allowed')],
          [('publish', 'a', 'her-device', 'alice'), ('subscribe', 'b/#', 'her-device', 'alice')])


# ---- Wills

@test(only='dunlin', each=VERSIONS)
def will_is_judged_at_connect(b, version):
    other, _ = house(b, 'allow publish will/${clientid}\nallow subscribe #\n')
    watcher = other.connected()
    watcher.subscribe('will/#')
    c = other.client(version)
    c.send(wire.connect(version, 'bad', will=Will('will/good', b'')))
    equal(c.expect(CONNACK).reason, NO if version == V5 else 5)
    c.expect_end()
    other.connected(f'good-{version}', version, will=Will(f'will/good-{version}', b'gone')).drop()
    watcher.expect_message(f'will/good-{version}', b'gone')


@test(only='dunlin')
def will_is_judged_again_when_it_is_due(b):
    other, rules = house(b, 'allow all #\n')
    watcher = other.connected()
    watcher.subscribe('will/#')
    dying = other.connected('dying', will=Will('will/x', b'gone'))
    change(other, rules, 'deny client=dying publish will/x\nallow all #\n')
    dying.drop()
    other.connected().publish('will/end', b'end', qos=1)
    watcher.expect_message('will/end')
    equal(other.counters('drop_not_allowed')['drop_not_allowed'], 1)


# ---- SUBSCRIBE

@test(only='dunlin', each=VERSIONS)
def subscription_is_judged_by_all_that_it_matches(b, version):
    other, _ = house(b, 'deny subscribe home/lock\nallow subscribe home/#\n')
    c = other.connected(f'sub-{version}', version)
    no = REFUSED[version]
    c.subscribe('home/lock', '#', '+/light', 'home', 'home/light', 'home/#', expect=(no, no, no, 0, 0, 0))
    c.subscribe('$share/g/home/lock', '$share/g/#', '$share/g/home/+', expect=(no, no, 0))
    equal(other.counters('subscribe_refused')['subscribe_refused'], 5)


@test(only='dunlin', each=[(0,), (1,), (2,)])
def hidden_topics_are_kept_from_wider_filters(b, qos):
    """Live and retained."""
    other, _ = house(b, 'allow publish #\ndeny subscribe home/lock\nallow subscribe home/#\n')
    p = other.connected()
    p.publish('home/lock', b'kept', qos=1, retain=True)
    p.publish('home/light', b'kept', qos=1, retain=True)
    c = other.connected(f'hidden-{qos}')
    c.subscribe('home/#', 'home/+', qos=qos)
    for _ in range(2):
        c.expect_message('home/light', b'kept', retain=True)
    for topic in 'home/lock', 'home/light':
        p.publish(topic, b'live', qos=2)
    c.expect_message('home/light', b'live', qos=qos)
    c.expect_nothing()
    equal(other.counters('drop_hidden')['drop_hidden'], 3)


@test(only='dunlin')
def wider_filter_hides_what_it_has_to_also_later(b):
    """A session that saw all it subscribed to, and has been sent something, subscribes to more."""
    other, _ = house(b, 'allow publish #\ndeny subscribe home/lock\nallow subscribe home/#\n')
    p, c = other.connected(), other.connected()
    c.subscribe('home/light')
    p.publish('home/light', b'1', qos=1)
    c.expect_message('home/light', b'1')
    c.subscribe('home/#')
    for topic in 'home/lock', 'home/light':
        p.publish(topic, b'2', qos=1)
    c.expect_message('home/light', b'2')
    c.expect_nothing()


@test(only='dunlin')
def shared_message_goes_to_a_member_who_may_see_it(b):
    other, _ = house(b, 'allow publish #\ndeny client=blind subscribe s/1\nallow subscribe s/#\n')
    blind, sees, p = other.connected('blind'), other.connected('sees'), other.connected()
    for c in blind, sees:
        c.subscribe('$share/g/s/#', qos=1)
    for i in range(6):
        p.publish('s/1', b'%d' % i, qos=1)
    equal(sorted(sees.expect_message('s/1').payload for _ in range(6)), [b'%d' % i for i in range(6)])
    blind.expect_nothing()
    sees.disconnect()
    p.publish('s/1', b'nobody', qos=1)
    other.wait_counter('drop_hidden', 1)
    p.publish('s/2', b'somebody', qos=1)
    blind.expect_message('s/2', b'somebody')


# ---- The file changes

@test(only='dunlin', timeout=40)
def change_is_noticed_by_itself(b):
    other, rules = house(b, 'allow all #\n')
    c = other.connected()
    rules.write('deny all a\nallow all #\n')
    wait_until(lambda: c.publish('a', b'', qos=1, expect=(0, 0x10, NO)).reason == NO, what='a refusal')


@test(only='dunlin', each=VERSIONS)
def connected_clients_are_judged_by_the_new_rules(b, version):
    other, rules = house(b, 'allow all #\n')
    p = other.connected()
    c = other.connected(f'judged-{version}', version)
    c.subscribe('home/light', 'home/lock', 'more/#', qos=1)
    change(other, rules, 'allow publish home/# more/#\nallow subscribe home/light\n')
    for topic in 'home/lock', 'more/x', 'home/light':
        p.publish(topic, b'now', qos=1)
    c.expect_message('home/light', b'now')
    c.expect_nothing()
    refused(c, 'elsewhere', 1)
    equal(other.counters('drop_hidden')['drop_hidden'], 2)
    change(other, rules, 'allow all #\n')
    p.publish('home/lock', b'again', qos=1)  # the subscription has stayed
    c.expect_message('home/lock', b'again')


@test(only='dunlin', each=VERSIONS)
def queued_messages_are_judged_when_the_client_is_back(b, version):
    other, rules = house(b, 'allow all #\n')
    how = {'props': {'session_expiry_interval': 300}} if version == V5 else {}
    c = other.connected(f'queue-{version}', version, clean_start=False, **how)
    c.subscribe('q/#', qos=1)
    c.disconnect()
    p = other.connected()
    for topic in 'q/1', 'q/2', 'q/3':
        p.publish(topic, topic.encode(), qos=1)
    change(other, rules, 'deny subscribe q/2\nallow all #\n')
    c = other.connected(f'queue-{version}', version, clean_start=False, **how)
    c.expect_message('q/1', b'q/1')
    c.expect_message('q/3', b'q/3')
    c.expect_nothing()
    equal(other.counters('drop_hidden')['drop_hidden'], 1)


@test(only='dunlin')
def unacknowledged_messages_are_not_sent_again(b):
    other, rules = house(b, 'allow all #\n')
    how = {'clean_start': False, 'props': {'session_expiry_interval': 300}}
    c = other.connected('resend', **how)
    c.subscribe('r/#', qos=1)
    p = other.connected()
    for topic in 'r/1', 'r/2':
        p.publish(topic, b'', qos=1)
        c.expect_message(topic, ack=False)
    c.drop()
    change(other, rules, 'deny subscribe r/1\nallow all #\n')
    c = other.connected('resend', **how)
    c.expect_message('r/2', dup=True)
    c.expect_nothing()


@test(only='dunlin')
def session_is_judged_by_who_has_it(b):
    """What one user's connection was granted is not the next one's."""
    other, _ = house(b, 'allow user=alice all #\nallow publish #\n', users=('alice', 'bob'))
    how = {'clean_start': False, 'props': {'session_expiry_interval': 300}}
    c, p = user(other, 'alice', 'shared-id', **how), other.connected()
    c.subscribe('secret')
    p.publish('secret', b'for alice', qos=1)
    c.expect_message('secret', b'for alice')
    c = user(other, 'bob', 'shared-id', **how)
    p.publish('secret', b'x', qos=1)
    c.expect_nothing()
    other.wait_counter('drop_hidden', 1)


@test(only='dunlin')
def shared_subscription_is_judged_by_the_new_rules(b):
    other, rules = house(b, 'allow all #\n')
    c, p = other.connected(), other.connected()
    c.subscribe('$share/g/s/#', qos=1)
    change(other, rules, 'deny subscribe s/1\nallow all #\n')
    for topic in 's/1', 's/2':
        p.publish(topic, b'', qos=1)
    c.expect_message('s/2')
    other.wait_counter('drop_hidden', 1)


@test(only='dunlin', timeout=40)
def broken_file_leaves_the_former_rules_in_force(b):
    other, rules = house(b, 'allow publish a\n')
    c = other.connected()
    since = other.log_size()
    rules.write('allow publish b#\nnonsense\n')
    other.signal(signal.SIGHUP)
    wait_until(lambda: other.events('acl_file_refused', since), what='a line about the file')
    said = other.events('acl_file_refused', since)[0]['error']
    for line in f'{rules.path}:1: ', f'{rules.path}:2: ':
        equal(line in said, True, said)
    c.publish('a', b'', qos=1)
    c.publish('b', b'', qos=1, expect=(NO,))


@test(only='dunlin', each=[('missing', None), ('broken', 'nonsense')])
def bad_rules_at_the_start_are_an_end(b, kind, text):
    path = path_of(f'acl-{kind}')
    if text is not None:
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
    said = subprocess.run([Launch.program, '--listen', 'tcp://127.0.0.1:0', '--set', f'acl.file={path}'],
                          capture_output=True, text=True, timeout=10 * Launch.slow, check=False)
    equal(said.returncode, 1, said)
    equal('acl_file_refused' in said.stderr, True, said.stderr)


# ---- Many at once, and clients of others

@test(only='dunlin')
def views_take_little_and_are_counted(b):
    """Each of 50 clients has one rule in a thousand, and one that is everybody's."""
    lines = ''.join(f'allow client=c{i} publish own/c{i}\n' for i in range(1000))
    other, _ = house(b, f'{lines}allow publish all\n')
    clients = [other.connected(f'c{i}') for i in range(50)]
    for i, c in enumerate(clients):
        c.publish(f'own/c{i}', b'', qos=1)
        c.publish('all', b'', qos=1)
        c.publish(f'own/c{i + 1}', b'', qos=1, expect=(NO,))
    equal(0 < other.counters('acl_bytes')['acl_bytes'] <= 50 * 64, True)
    for c in clients:
        c.disconnect()
    wait_until(lambda: other.counters('acl_bytes')['acl_bytes'] == 0, what='views that have gone')


@test(only='dunlin', each=[('mqttv311',), ('mqttv5',)])
def mosquitto_clients_are_judged(b, version):
    other, _ = house(b, 'allow user=alice publish m/${username}\nallow user=bob subscribe m/#\n', users=('alice', 'bob'))
    common = ['-h', '127.0.0.1', '-p', str(other.port), '-V', version, '-P', QUICK_PASSWORD]
    s = other.run('stdbuf', '-oL', 'mosquitto_sub', '-d', *common, '-u', 'bob', '-t', 'm/#', '-F', 'message %t %p')
    lines_until(s, 'Subscribed (mid')
    for topic in 'm/bob', 'm/alice':
        run = other.run('mosquitto_pub', *common, '-u', 'alice', '-q', '1', '-t', topic, '-m', 'x')
        run.communicate(timeout=10 * Launch.slow)
    equal(lines_until(s, 'message ')[-1].split('message ', 1)[1], 'm/alice x')
    refusal = other.run('mosquitto_sub', *common, '-u', 'alice', '-t', 'm/#', '-C', '1')
    said, _ = refusal.communicate(timeout=10 * Launch.slow)
    equal('denied' in said, True, said)


@test(only='dunlin', each=[(1,), (40000,)])
def views_that_find_no_room_are_not_kept(b, rules):
    """The rules count all the same."""
    lines = ''.join(f'deny publish no/{i}\n' for i in range(rules))
    other, _ = house(b, f'{lines}deny client=other all #\nallow publish yes\n',
                     limits__message_memory_max='1 MiB', limits__packet_bytes_max='100000')
    clients = [other.connected(f'room-{i}') for i in range(4)]
    for c in clients:
        c.publish('yes', b'', qos=1)
        c.publish(f'no/{rules - 1}', b'', qos=1, expect=(NO,))
    held = other.counters('acl_bytes')['acl_bytes']
    equal(held, 0 if rules > 1 else 4 * (16 + 2 * 4), held)


# ---- Coming from Mosquitto

THEIRS = '''# theirs
topic read public/#
topic deny public/secret
user alice
topic home/#
topic write say "hello"
topic deny home/lock
user bob the builder
topic read home/+
pattern write from/%c/#
pattern readwrite of/%u
pattern readwrite ${x}
topic nonsense a b
'''


def converted(text, *expected):
    tool = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'tools', 'mosquitto-acl')
    run = subprocess.run([tool], input=text, capture_output=True, text=True, check=False, timeout=10 * Launch.slow)
    told = [line for line in run.stderr.splitlines() if line.startswith('stdin:')]
    equal(told, list(expected))
    equal(run.returncode, 1 if expected else 0)
    return run.stdout


@test(only='dunlin')
def mosquittos_rules_are_converted(b):
    text = converted(THEIRS, 'stdin:12: left out: the topic has ${ in it, which would be a name',
                     "stdin:13: left out: 'nonsense' is not one of read, write, readwrite, deny")
    equal(text.splitlines(), [
        'deny  anonymous all public/secret', 'allow anonymous subscribe public/#', '',
        'deny  user=alice all home/lock', 'allow user=alice all home/#', 'allow user=alice publish "say \\"hello\\""', '',
        'allow user="bob the builder" subscribe home/+', '',
        'allow publish from/${clientid}/#', 'allow all of/${username}', '',
        'default deny'])
    other, _ = house(b, text, users=('alice', 'bob the builder'))
    alice, bob, nobody = (user(other, 'alice', 'a'), user(other, 'bob the builder', 'b'), other.connected('n'))
    for c, topic, code in ((alice, 'home/x', 0), (alice, 'home/lock', NO), (alice, 'say "hello"', 0), (alice, 'of/alice', 0),
                           (bob, 'home/x', NO), (bob, 'from/b/x', 0), (bob, 'of/alice', NO), (nobody, 'from/n', 0), (nobody, 'of/', NO)):
        c.publish(topic, b'', qos=1, expect=(NO,) if code else (0, 0x10))
    nobody.subscribe('public/#', 'public/secret', 'home/x', expect=(0, NO, NO))
    bob.subscribe('home/+', 'home/lock', expect=(0, 0))


@test(only='dunlin', each=[(line,) for line in ('topic a#', 'topic read $share/g/a', 'user', 'usr x', 'topic', 'topic read +x',
                                                'pattern read %c+/#')])
def what_cannot_be_converted_is_told(b, line):
    run = subprocess.run([os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'tools', 'mosquitto-acl')],
                         input=f'{line}\n', capture_output=True, text=True, check=False, timeout=10 * Launch.slow)
    equal(run.returncode, 1, run)
    equal(run.stdout, 'default deny\n')
    equal(run.stderr.startswith('stdin:1: left out: '), True, run.stderr)
