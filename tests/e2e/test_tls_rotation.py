# SPDX-License-Identifier: Apache-2.0
"""Certificates replaced while clients are connected: none of them notices, new ones get the new."""
import os
import shutil
import signal

from harness import equal, pass_time, test, wait_until
from pki import DAY, SERVER_NAMES, pki
from raw import Client, wire
from tls import V1_2, V1_3, Tls, serial_at

SECONDS = 90
CLIENTS = 50
SWAPS = 10
FEW_SWAPS = 3
QUIET_S = 2.5  # in which who looks at the files again and again would say a thing twice


class Files:
    """A certificate and its key that are replaced, in one of the ways that there are."""

    def __init__(self, how, name):
        self.how, self.count = how, 0
        self.folder = pki().path(f'rotated-{how}-{name}')
        os.makedirs(self.folder)
        self.name = f'rotated-{how}-{name}-'
        self.certificate = os.path.join(self.folder, 'tls.crt')
        self.key = os.path.join(self.folder, 'tls.key')
        self.put(*self.new())
        if how == 'symlink':
            for path in self.certificate, self.key:
                os.symlink(f'..data/{os.path.basename(path)}', path)

    def listener(self, **more):
        return {'url': 'tls://{}', 'certificate': self.certificate, 'key': self.key, **more}

    def new(self):
        """A new certificate: (its file, its key's)."""
        self.count += 1
        name = f'{self.name}{self.count}'
        pki().issue(name, 'intermediate', names=SERVER_NAMES)
        self.serial = pki().serial(name)
        return pki().chain(name), pki().key(name)

    def put(self, certificate, key):
        """Puts these two in their places."""
        if self.how == 'symlink':
            self._swap_link(certificate, key)
            return
        for source, place in ((key, self.key), (certificate, self.certificate)):
            if self.how == 'in place':
                shutil.copyfile(source, place)
            else:
                shutil.copyfile(source, f'{place}.new')
                os.replace(f'{place}.new', place)

    def _swap_link(self, certificate, key):
        """As Kubernetes does with a secret: both change in one moment."""
        at = os.path.join(self.folder, '..data')
        old = os.readlink(at) if os.path.islink(at) else None
        fresh = f'..2026_{self.count}_{len(os.listdir(self.folder))}'
        os.mkdir(os.path.join(self.folder, fresh))
        shutil.copyfile(certificate, os.path.join(self.folder, fresh, 'tls.crt'))
        shutil.copyfile(key, os.path.join(self.folder, fresh, 'tls.key'))
        os.symlink(fresh, f'{at}_tmp')
        os.replace(f'{at}_tmp', at)
        if old is not None:
            shutil.rmtree(os.path.join(self.folder, old))


class Fleet:
    """Clients who publish all the time, at QoS 1, and one who gets it all."""

    def __init__(self, b, count, at='tls'):
        self.versions = [V1_2, V1_3]
        ways = [Tls(version=version) for version in self.versions]
        self.subscriber = b.connected('fleet-all', at=at, wrap=ways[1])
        self.subscriber.subscribe('fleet/#', qos=1)
        self.clients = [b.connected(f'fleet-{i}', at=at, wrap=ways[i % 2]) for i in range(count)]
        self.rounds = 0

    def publish(self):
        """One message of each, acknowledged and delivered."""
        self.rounds += 1
        payload = b'%d' % self.rounds
        for i, c in enumerate(self.clients):
            c.send(wire.publish(c.version, f'fleet/{i}', payload, 1, c.next_id()))
        for c in self.clients:
            c.expect(wire.PUBACK)
        got = {self.subscriber.expect_message(payload=payload).topic for _ in self.clients}
        equal(len(got), len(self.clients))


def rotate(b, files, fleet, swaps, reload=False):
    """Replaces the files that often; the fleet publishes until the new certificate is there, and
    once more then."""
    for _ in range(swaps):
        files.put(*files.new())
        if reload:
            b.signal(signal.SIGHUP)

        def is_new():
            fleet.publish()
            return serial_at(b.at['tls']) == files.serial

        wait_until(is_new, what='the new certificate')
        fleet.publish()


@test(only='dunlin', timeout=90, each=[('symlink', SWAPS), ('rename', FEW_SWAPS),
                                       ('in place', FEW_SWAPS)])
def replaced_files_are_noticed_by_nobody_who_is_connected(b, how, swaps):
    files = Files(how, 'watched')
    other = b.another(listeners={'tls': files.listener()})
    rotate(other, files, Fleet(other, CLIENTS), swaps)
    equal(len(other.events('certificate_loaded')) >= swaps, True, 'lines certificate_loaded')


@test(timeout=90, each=[('rename',), ('symlink',)])
def reload_takes_the_new_files(b, how):
    """SIGHUP, which takes effect also where files cannot be watched."""
    files = Files(how, 'reloaded')
    other = b.another(listeners={'tls': files.listener()})
    rotate(other, files, Fleet(other, CLIENTS), SWAPS, reload=True)


def takes_new(b, files):
    """Good files come, and are in force when this returns."""
    files.put(*files.new())
    wait_until(lambda: serial_at(b.at['tls']) == files.serial, what='the new certificate')


@test(only='dunlin')
def session_from_before_is_still_good_or_refused_in_order(b):
    """Whoever resumes a session from before the change connects, resumed or not."""
    files = Files('rename', 'resumed')
    other = b.another(listeners={'tls': files.listener()})
    for version in V1_2, V1_3:
        how = Tls(version=version)
        session = other.connected(at='tls', wrap=how).sock.session
        takes_new(other, files)
        other.connected(at='tls', wrap=how.resuming(session)).ping()


BAD = {
    'garbage': lambda f: (write(f, 'bad', 'not a certificate\n'), f.key),
    'empty': lambda f: (write(f, 'bad', ''), f.key),
    'half a file': lambda f: (write(f, 'bad', read(f.certificate)[:300]), f.key),
    'key of another': lambda f: (f.certificate, pki().key('other')),
    'key that is none': lambda f: (f.certificate, write(f, 'bad', 'x')),
    'no key in it': lambda f: (f.certificate, f.certificate),
}


def write(files, name, text):
    path = pki().path(f'{files.name}{name}')
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)
    return path


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


@test(only='dunlin', each=[(kind, how) for kind in BAD for how in ('watched', 'reloaded')])
def broken_files_change_nothing(b, kind, how):
    """One line says so; the next good ones are taken."""
    files = Files('symlink', f'broken-{how}-{kind.replace(" ", "-")}')
    other = b.another(listeners={'tls': files.listener()})
    fleet, old = Fleet(other, 4), files.serial
    since = other.log_size()
    files.put(*BAD[kind](files))
    if how == 'reloaded':
        other.signal(signal.SIGHUP)
    line = other.one_event('certificate_reload_failed', since)
    equal(any(path in str(line) for path in (files.certificate, files.key)), True, line)
    equal(serial_at(other.at['tls']), old, 'the certificate')
    fleet.publish()

    takes_new(other, files)
    fleet.publish()


@test(only='dunlin')
def broken_files_are_told_of_once(b):
    """However long they stay so."""
    files = [Files('symlink', f'told-once-{kind.replace(" ", "-")}') for kind in BAD]
    other = b.another(listeners={f.name: f.listener() for f in files})
    since = other.log_size()
    for kind, f in zip(BAD, files):
        f.put(*BAD[kind](f))

    def told():
        return len(other.events('certificate_reload_failed', since))

    wait_until(lambda: told() >= len(files), what='a line for each')
    pass_time(QUIET_S)
    equal(told(), len(files), 'lines certificate_reload_failed')


@test(only='dunlin')
def files_that_have_gone_change_nothing(b):
    files = Files('rename', 'gone')
    other = b.another(listeners={'tls': files.listener()})
    fleet, old, since = Fleet(other, 4), files.serial, other.log_size()
    os.unlink(files.certificate)
    os.unlink(files.key)
    other.signal(signal.SIGHUP)
    wait_until(lambda: other.events('certificate_reload_failed', since),
               what='a line certificate_reload_failed')
    equal(serial_at(other.at['tls']), old, 'the certificate')
    fleet.publish()
    takes_new(other, files)
    fleet.publish()


@test(only='dunlin')
def others_of_a_listener_change_alone(b):
    files, p = Files('symlink', 'several'), pki()
    other = b.another(listeners={'tls': files.listener(
        certificate=','.join([files.certificate, p.chain('other')]),
        key=','.join([files.key, p.key('other')]))})
    equal(serial_at(other.at['tls'], server='other.test'), p.serial('other'))
    takes_new(other, files)
    equal(serial_at(other.at['tls'], server='other.test'), p.serial('other'))


@test(only='dunlin')
def ticket_keys_are_replaced_too(b):
    path = pki().path('rotated-ticket-keys')

    def put(*keys):
        with open(f'{path}.new', 'w', encoding='utf-8') as f:
            f.writelines(key * 32 + '\n' for key in keys)
        os.replace(f'{path}.new', path)

    put('01')
    files = Files('rename', 'tickets')
    other = b.another({'tls.ticket_keys': path}, listeners={'tls': files.listener()})
    how = Tls(version=V1_3)
    session = other.connected(at='tls', wrap=how).sock.session

    def resumes():
        with Client(other.at['tls'], wrap=how.resuming(session)) as c:
            resumed = c.sock.session_reused
            c.connect()
        return resumed

    equal(resumes(), True)
    put('02', '01')
    other.signal(signal.SIGHUP)
    equal(resumes(), True, 'its key is the second')
    put('02')
    other.signal(signal.SIGHUP)
    wait_until(lambda: not resumes(), what='a refused ticket')


@test(only='dunlin', each=[('within two weeks', 5, 'certificate_ends'), ('it has', -1, 'certificate_expired'), ('in a year', 365, None)])
def one_that_ends_is_told_of(b, name, days, event):
    file = f'ends-{days}'
    pki().issue(file, 'intermediate', names=SERVER_NAMES, begin=-30 * DAY, end=days * DAY)
    other = b.another(listeners={'tls': {'url': 'tls://{}', 'certificate': pki().chain(file), 'key': pki().key(file)}})
    if event is None:
        pass_time(2.5)
        equal(other.events('certificate_ends'), [], name)
        return
    line = wait_until(lambda: other.events(event), what=event)[0]
    equal((os.path.basename(line['file']), line.get('days_left', days - 1) in (days - 1, str(days - 1))), (f'{file}.chain.pem', True), line)
    equal(line['level'], 'warning' if days > 0 else 'error')
