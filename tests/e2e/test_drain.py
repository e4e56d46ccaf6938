# SPDX-License-Identifier: Apache-2.0
"""How clients are sent away before the end (drain.*), and what systemd is told (sd_notify)."""
import concurrent.futures
import os
import signal
import socket
import time

from harness import Launch, Unexpected, equal, test, wait_until
from raw import Client

SECONDS = 25


def refused(address):
    try:
        with socket.create_connection(address, timeout=Client.timeout):
            return False
    except ConnectionRefusedError:
        return True


# ---- SIGTERM

@test(only='dunlin')
def a_load_balancer_has_its_time(b):
    """First /readyz says no while clients still come in; then nobody does, and who is there goes."""
    from test_admin import Admin
    admin = Admin(b, {'drain.wait_s': 2})
    n = admin.broker
    c = n.connected('drain-there')
    equal(admin.value('dunlin_draining'), 0.0)
    begin = time.monotonic()
    n.signal(signal.SIGTERM)
    wait_until(lambda: admin.ask('/readyz')[0] == 503)
    equal(admin.ask('/readyz')[2],
          'draining: clients are to go elsewhere, and soon nobody is let in\n')
    equal(admin.ask('/livez')[0], 200)
    equal(admin.value('dunlin_draining'), 1.0)
    late = n.connected('drain-late')
    late.ping()
    c.ping()
    equal(time.monotonic() - begin < 2, True, 'all that was before the wait was over')
    c.expect_disconnect(0x8B)
    late.expect_disconnect(0x8B)
    equal(time.monotonic() - begin >= 2, True, 'and this was not')
    equal(n.wait_end(), 0)
    n.check_log()


@test(only='dunlin')
def clients_go_by_and_by(b):
    """Eight of them, four in a second; nobody comes in meanwhile, and the socket's name is gone."""
    path = f'{os.path.abspath(Launch.folder)}/drain-{os.getpid()}.sock'
    n = b.another({'drain.clients_per_second': 4, 'node.shards': 2},
                  listeners={'unix': {'url': f'unix://{path}'}})
    clients = [n.connected(f'by-{i}') for i in range(8)]

    def goodbye(c):
        c.expect_disconnect(0x8B)
        c.close()
        return time.monotonic() - begin

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        begin = time.monotonic()
        n.signal(signal.SIGTERM)
        goodbyes = [pool.submit(goodbye, c) for c in clients]
        wait_until(lambda: refused(n.address), what='new clients to be refused')
        equal((os.path.exists(path), n.alive()), (False, True))
        times = sorted(g.result() for g in goodbyes)
    equal(times[-1] >= 1.7, True, times)
    equal(sum(t < 1 for t in times) <= 5, True, times)
    equal(n.wait_end(), 0)
    equal([(e['clients'], e['per_second']) for e in n.events('clients_leaving')], [('8', '4')])


@test(only='dunlin', each=[('SIGTERM',), ('SIGINT',)])
def a_second_signal_cuts_it_short(b, name):
    """In order all the same: everybody is told, and the status is 0."""
    n = b.another({'drain.wait_s': 600})
    clients = [n.connected(f'short-{i}') for i in range(5)]
    n.signal(signal.SIGTERM)
    wait_until(lambda: n.events('draining'))
    n.signal(getattr(signal, name))
    for c in clients:
        c.expect_disconnect(0x8B)
    equal(n.wait_end(), 0)
    n.check_log()


@test(only='dunlin')
def an_interrupt_does_not_wait(b):
    """Ctrl-C."""
    n = b.another({'drain.wait_s': 600})
    c = n.connected('interrupted')
    n.signal(signal.SIGINT)
    c.expect_disconnect(0x8B)
    equal(n.wait_end(), 0)
    equal(n.events('draining'), [])


@test(only='dunlin')
def it_takes_no_longer_than_it_may(b):
    n = b.another({'drain.clients_per_second': 1, 'drain.longest_s': 1})
    clients = [n.connected(f'long-{i}') for i in range(10)]
    begin = time.monotonic()
    n.signal(signal.SIGTERM)
    for c in clients:
        c.expect_disconnect(0x8B)
    equal(time.monotonic() - begin < 3 * Launch.slow, True)
    equal(n.wait_end(), 0)


@test(only='dunlin')
def a_reload_meanwhile(b):
    """What has begun goes on as it began; files are read again all the same."""
    n = b.another({'drain.wait_s': 2})
    c = n.connected('reloaded')
    n.signal(signal.SIGTERM)
    n.signal(signal.SIGHUP)
    wait_until(lambda: n.events('reloaded'))
    c.ping()
    c.expect_disconnect(0x8B)
    equal(n.wait_end(), 0)


# ---- The API

@test(only='dunlin')
def the_api_begins_one(b):
    """As SIGTERM; a second one does not cut it short."""
    from api import Api
    api = Api(b, {'drain.wait_s': 2})
    c = api.broker.connected('api-drain')
    still = {'clients': 1, 'clients_per_second': None, 'for_good': False}
    equal(api.get('/drain'), {'wanted': False, 'phase': 'none', **still})
    status, _ = api.ask('/drain', 'POST')
    equal(status, 202)
    wait_until(lambda: api.get('/drain')['phase'] == 'waiting')
    equal(api.raw('GET', '/readyz')[0], 503)
    begin = time.monotonic()
    equal(api.ask('/drain', 'POST')[0], 202)
    equal(api.get('/drain'), {'wanted': True, 'phase': 'waiting', **still})
    c.ping()
    c.expect_disconnect(0x8B)
    equal(time.monotonic() - begin > 1, True)
    equal(api.broker.wait_end(), 0)
    api.broker.check_log()


# ---- Another process is told

class Supervisor:
    """As systemd does it: a socket that datagrams come to, by a path or an abstract name."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name.replace('@', '\0'))
        self.socket.settimeout(Client.timeout)
        self.heard = []

    def wait(self, line):
        """Until a datagram has that line; returns it as a dict."""
        while True:
            try:
                lines = self.socket.recv(4096).decode().split('\n')
            except TimeoutError:
                raise Unexpected(f'{line} was not said, only {self.heard}') from None
            self.heard.append(lines)
            if line in lines:
                return dict(entry.split('=', 1) for entry in lines)

    def close(self):
        self.socket.close()


def supervised(b, name, **environment):
    supervisor = Supervisor(name)
    b.open.append(supervisor)
    n = b.another({'drain.wait_s': 1}, environment={'NOTIFY_SOCKET': name, **environment})
    return n, supervisor


def names(b):
    folder = os.path.abspath(Launch.folder)
    return {'path': f'{folder}/notify-{os.getpid()}', 'abstract': f'@dunlin-notify-{os.getpid()}'}


@test(only='dunlin', each=[('path',), ('abstract',)])
def systemd_hears_what_is_going_on(b, kind):
    n, supervisor = supervised(b, names(b)[kind])
    equal(supervisor.wait('READY=1')['STATUS'], 'ready')
    n.signal(signal.SIGHUP)
    before = supervisor.wait('RELOADING=1')
    equal(0 < int(before['MONOTONIC_USEC']) <= time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6, True)
    supervisor.wait('READY=1')
    c = n.connected('supervised')
    n.signal(signal.SIGTERM)
    said = supervisor.wait('STOPPING=1')
    equal(said['STATUS'], 'draining, 1 clients are left')
    equal(int(said['EXTEND_TIMEOUT_USEC']) >= 10_000_000, True)
    supervisor.wait('STATUS=ending')
    c.expect_disconnect(0x8B)
    equal(n.wait_end(), 0)
    equal(['WATCHDOG=1'] in supervisor.heard, False, 'nobody asked for it')


@test(only='dunlin')
def a_watchdog_is_fed_while_all_shards_turn(b):
    n, supervisor = supervised(b, names(b)['abstract'], WATCHDOG_USEC='300000')
    for _ in range(5):
        supervisor.wait('WATCHDOG=1')
    n.signal(signal.SIGTERM)
    supervisor.wait('STOPPING=1')
    supervisor.wait('WATCHDOG=1')
    equal(n.wait_end(), 0)


@test(only='dunlin')
def a_watchdog_of_another_process(b):
    """The variables of whoever started us are not for us."""
    n, supervisor = supervised(b, names(b)['abstract'], WATCHDOG_USEC='1000', WATCHDOG_PID='1')
    supervisor.wait('READY=1')
    n.signal(signal.SIGTERM)
    supervisor.wait('STATUS=ending')
    equal(['WATCHDOG=1'] in supervisor.heard, False)
    equal(n.wait_end(), 0)


@test(only='dunlin', each=[('/nowhere/notify',), ('relative',), ('@' + 'x' * 200,)])
def a_socket_that_is_none_hinders_nobody(b, name):
    n = b.another(environment={'NOTIFY_SOCKET': name})
    n.one_event('supervisor_unreachable')
    n.connected('unhindered').ping()
