# SPDX-License-Identifier: Apache-2.0
"""mosquitto_pub and mosquitto_sub, in every version and quality of service."""
import itertools
import signal

from harness import equal, finish, lines_until, test

VERSIONS = ('mqttv31', 'mqttv311', 'mqttv5')
SECONDS = 8


def sub(b, version, *arguments):
    """A mosquitto_sub that has its SUBACK; messages follow as lines."""
    process = b.run('stdbuf', '-oL', 'mosquitto_sub', '-d', '-h', '127.0.0.1', '-p', str(b.port),
                    '-V', version, '-F', 'message %t %q %r %p', *arguments)
    lines_until(process, 'Subscribed (mid')
    return process


def pub(b, version, *arguments):
    return finish(b.run('mosquitto_pub', '-h', '127.0.0.1', '-p', str(b.port), '-V', version,
                        *arguments))


def message(process):
    return lines_until(process, 'message ')[-1].split('message ', 1)[1]


@test(each=list(itertools.product(VERSIONS, VERSIONS, (0, 1, 2))))
def publish_reaches(b, publisher, subscriber, qos):
    topic = f'mc/{publisher}/{subscriber}/{qos}'
    s = sub(b, subscriber, '-t', topic, '-q', str(qos))
    pub(b, publisher, '-t', topic, '-q', str(qos), '-m', 'hello')
    equal(message(s), f'{topic} {qos} 0 hello')


@test(each=[(v, q) for v in VERSIONS for q in (0, 1, 2)])
def retained_is_replayed_and_cleared(b, version, qos):
    topic = f'mc/retained/{version}/{qos}'
    live = sub(b, version, '-t', topic, '-q', str(qos))  # tells when the broker has it
    pub(b, version, '-t', topic, '-q', str(qos), '-r', '-m', 'kept')
    equal(message(live), f'{topic} {qos} 0 kept')
    equal(message(sub(b, version, '-t', topic, '-q', str(qos))), f'{topic} {qos} 1 kept')

    pub(b, version, '-t', topic, '-q', str(qos), '-r', '-n')
    equal(message(live), f'{topic} {qos} 0 ')
    s = sub(b, version, '-t', topic, '-q', str(qos))
    pub(b, version, '-t', topic, '-q', str(qos), '-m', 'live')
    equal(message(s), f'{topic} {qos} 0 live')


@test(each=[(v, q) for v in VERSIONS for q in (0, 1, 2)])
def killed_client_leaves_its_will(b, version, qos):
    topic = f'mc/will/{version}/{qos}'
    s = sub(b, version, '-t', topic, '-q', str(qos))
    dying = sub(b, version, '-t', f'{topic}/else', '--will-topic', topic, '--will-payload', 'gone',
                '--will-qos', str(qos))
    dying.send_signal(signal.SIGKILL)
    # `stdbuf` has become mosquitto_sub by exec, so that is who was killed.
    equal(message(s), f'{topic} {qos} 0 gone')


@test(each=[(v,) for v in VERSIONS])
def retained_will(b, version):
    topic = f'mc/retained-will/{version}'
    s = sub(b, version, '-t', topic)
    dying = sub(b, version, '-t', f'{topic}/else', '--will-topic', topic, '--will-payload', 'gone',
                '--will-retain')
    dying.send_signal(signal.SIGKILL)
    equal(message(s), f'{topic} 0 0 gone')
    equal(message(sub(b, version, '-t', topic)), f'{topic} 0 1 gone')


@test(each=[(v,) for v in VERSIONS])
def share_gives_each_message_to_one_member(b, version):
    topic = f'mc/share/{version}'
    members = [sub(b, version, '-t', f'$share/g/{topic}', '-q', '1') for _ in range(2)]
    plain = sub(b, version, '-t', topic, '-q', '1')
    bodies = [str(i) for i in range(20)]
    for body in bodies:
        pub(b, version, '-t', topic, '-q', '1', '-m', body)
    for body in bodies:
        equal(message(plain), f'{topic} 1 0 {body}')

    # Only members can tell who got what, and a terminated one says no more.
    for member in members:
        pub(b, version, '-t', topic, '-q', '1', '-m', 'end')
        pub(b, version, '-t', topic, '-q', '1', '-m', 'end')
    got = []
    for member in members:
        lines = []
        while not lines or lines[-1] != 'end':
            lines.append(message(member).split()[-1])
        got.append([line for line in lines if line != 'end'])
    equal(sorted(got[0] + got[1], key=int), bodies)
    if not (got[0] and got[1]):
        raise AssertionError(f'one member got all of them: {got}')


@test(each=[(v,) for v in VERSIONS])
def persistent_session_gets_what_was_queued(b, version):
    topic, client_id = f'mc/queued/{version}', f'mc-queued-{version}'
    keep = ['-c', '-i', client_id] + (['-x', '300'] if version == 'mqttv5' else [])
    first = sub(b, version, '-t', topic, '-q', '1', *keep)
    first.send_signal(signal.SIGTERM)
    first.wait()
    for i in range(3):
        pub(b, version, '-t', topic, '-q', '1', '-m', f'while away {i}')
    again = b.run('stdbuf', '-oL', 'mosquitto_sub', '-h', '127.0.0.1', '-p', str(b.port), '-V',
                  version, '-F', 'message %t %q %r %p', '-t', topic, '-q', '1', *keep)
    for i in range(3):
        equal(message(again), f'{topic} 1 0 while away {i}')


@test
def wildcards(b):
    s = sub(b, 'mqttv5', '-t', 'mc/wild/+/x', '-t', 'mc/wild/tree/#')
    for topic in ('mc/wild/a/x', 'mc/wild/a/y', 'mc/wild/tree', 'mc/wild/tree/b/c'):
        pub(b, 'mqttv5', '-t', topic, '-m', 'w')
    for topic in ('mc/wild/a/x', 'mc/wild/tree', 'mc/wild/tree/b/c'):
        equal(message(s), f'{topic} 0 0 w')


@test
def a_megabyte(b):
    body = 'x' * 1_000_000
    s = sub(b, 'mqttv5', '-t', 'mc/big', '-q', '2')
    finish(b.run('sh', '-c', f'head -c 1000000 /dev/zero | tr "\\0" x | mosquitto_pub -h 127.0.0.1 '
                 f'-p {b.port} -V mqttv5 -t mc/big -q 2 -s'))
    equal(message(s) == f'mc/big 2 0 {body}', True, 'the payload came whole')
