# SPDX-License-Identifier: Apache-2.0
"""$SYS/broker/…: what Mosquitto's users and exporters read there (docs/sys-topics.md)."""
import re
import subprocess

from admin import Admin
from api import Api, quoted
from harness import PORTS, Launch, equal, test, wait_until
from raw import PUBLISH, V5, V311

SECONDS = 20
EVERY_SECOND = {'mqtt.sys_interval_s': 1}
HEAP = {'$SYS/broker/heap/current', '$SYS/broker/heap/maximum'}


def retained(port, filter_='$SYS/#'):
    """What mosquitto_sub is told at once: {topic: text}."""
    said = subprocess.run(['mosquitto_sub', '-p', str(port), '-t', filter_, '--retained-only', '-W', '2', '-F',
                           '%t\t%p'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False, timeout=60)
    return dict(line.split('\t', 1) for line in said.stdout.splitlines())


def form(text):
    """A figure, one with two places, one with a unit …: what a reader has to understand."""
    return re.sub(r'\d+', '9', text.replace('mosquitto', 'dunlin'))


class Mosquitto:
    """Debian's, beside ours."""

    def __init__(self, b):
        self.port = PORTS.take()
        path = f'{Launch.folder}/sys-topics-{self.port}.conf'
        with open(path, 'w', encoding='utf-8') as f:
            f.write(f'listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\nsys_interval 1\n')
        b.run('/usr/sbin/mosquitto', '-c', path)
        wait_until(lambda: '$SYS/broker/uptime' in retained(self.port))


@test(only='dunlin')
def whoever_reads_mosquitto_reads_us(b):
    """Every topic that Mosquitto has is here, in the same form."""
    other = b.another(EVERY_SECOND)
    wait_until(lambda: '$SYS/broker/load/connections/15min' in retained(other.port))
    theirs, ours = retained(Mosquitto(b).port), retained(other.port)
    equal(len(theirs) > 40, True, theirs)
    unknown = HEAP if other.sanitized() else set()  # it has an allocator of its own
    equal(sorted(set(theirs) - set(ours) - unknown), [])
    forms = {topic: (form(ours[topic]), form(text)) for topic, text in theirs.items() if topic in ours}
    different = {topic: pair for topic, pair in forms.items() if len(set(pair)) > 1}
    equal(different, {})
    equal(re.fullmatch(r'dunlin version \d+\.\d+\.\d+\S*', ours['$SYS/broker/version']) is not None, True,
          ours['$SYS/broker/version'])


@test(only='dunlin')
def figures_are_true(b):
    admin = Admin(b, EVERY_SECOND)
    subscriber = admin.broker.connected('sys-sub')
    subscriber.subscribe('sys/#', qos=1)
    subscriber.subscribe('$share/g/sys/shared')
    for _ in range(7):
        admin.broker.connected('sys-pub').publish('sys/a', b'1234', qos=1)
        subscriber.expect_message('sys/a', b'1234')
    watcher = admin.broker.connected('sys-watcher')
    watcher.subscribe('$SYS/broker/#')
    told, wanted = {}, {'publish/messages/received': '7', 'publish/bytes/received': '28', 'clients/connected': '3',
                        'clients/maximum': '3', 'subscriptions/count': '3', 'shared_subscriptions/count': '1'}

    def are_as_wanted():
        p = watcher.expect(PUBLISH)
        told[p.topic.removeprefix('$SYS/broker/')] = p.payload.decode()
        return all(told.get(name) == text for name, text in wanted.items())
    wait_until(are_as_wanted, step=0)
    equal(admin.value('dunlin_subscriptions'), 3.0)
    equal(admin.value('dunlin_retained'), 0.0)


@test(only='dunlin')
def what_is_said_again_has_changed(b):
    other = b.another(EVERY_SECOND)
    c = other.connected('sys-changes')
    c.subscribe('$SYS/broker/clients/connected')
    c.subscribe('$SYS/broker/version')
    c.subscribe('$SYS/broker/uptime')
    uptimes, rest = 0, []
    while uptimes < 5:
        p = c.expect(PUBLISH)
        if p.topic == '$SYS/broker/uptime':
            uptimes += 1
        else:
            rest.append((p.topic, p.payload))
    equal(len(rest), len(set(rest)))


@test(only='dunlin', each=[('5.0', V5), ('3.1.1', V311)])
def nobody_publishes_there(b, _name, version):
    other = b.another(EVERY_SECOND)
    watcher = other.connected('sys-watch')
    watcher.subscribe('$SYS/forged/#')
    c = other.connected('sys-forger', version)
    c.publish('$SYS/forged/topic', b'x', qos=1, expect=[0x87 if version == V5 else 0])
    c.publish('$SYS/forged/topic', b'x', qos=0, retain=True)
    c.ping()
    watcher.expect_nothing()


@test(only='dunlin')
def wildcards_do_not_mean_them(b):
    other = b.another(EVERY_SECOND)
    c = other.connected('sys-all')
    c.subscribe('#', '+/broker/uptime')
    watcher = other.connected('sys-one')
    watcher.subscribe('$SYS/broker/uptime')
    for _ in range(3):
        watcher.expect(PUBLISH)
    c.expect_nothing()


@test(only='dunlin')
def with_rules_they_have_to_be_allowed(b):
    """As with Mosquitto: without an ACL file everybody may read them; with one, whom it lets."""
    path = f'{Launch.folder}/sys-topics-{PORTS.take()}.acl'
    with open(path, 'w', encoding='utf-8') as f:
        f.write('allow client=sys-allowed subscribe $SYS/#\nallow subscribe #\n')
    other = b.another({'acl.file': path, **EVERY_SECOND})
    other.connected('sys-allowed').subscribe('$SYS/broker/uptime', expect=[0])
    other.connected('sys-not-allowed').subscribe('$SYS/broker/uptime', expect=[0x87])


@test(only='dunlin')
def an_interval_of_0_is_none(b):
    other = b.another({'mqtt.sys_interval_s': 0})
    equal(retained(other.port), {})


@test(only='dunlin')
def what_was_deleted_comes_back(b):
    api = Api(b, EVERY_SECOND)
    topic = '$SYS/broker/version'
    wait_until(lambda: topic in retained(api.broker.port))
    api.do('DELETE', '/retained/' + quoted(topic))
    wait_until(lambda: topic in retained(api.broker.port), what='it is there again')
