# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests are written with: @test, and the broker that a test gets as `b`.

    SET = {'limits.receive_maximum': 5}         # the configuration of this module's broker
    def LISTENERS(): return {'ws': {'url': 'ws://{}'}}   # its listeners besides the plain one

    @test                                       # holds for any broker
    @test(only='dunlin')                        # what the standard leaves open, or our own limits
    @test(mosquitto='drops it')                 # what Mosquitto 2.0.11 does against the standard
    @test(full=True)                            # slow: left out of --suite quick
    @test(each=[(V311,), (V5,)])                # one test for each row, as test(b, *row)
    def the_claim(b): ...

A module has one broker for all of its tests (`b.another(…)` starts a further one, for a test that
needs other settings or ends it), so each test uses topics and client ids of its own. What a test
opens through `b` is closed when it ends. Nothing here sleeps for something to happen, except
`pass_time`, for what the standard counts in seconds.
"""
import ctypes
import errno
import os
import re
import resource
import signal
import socket
import subprocess
import tempfile
import time

import raw
from raw import Client, Unexpected

COMPLAINTS = re.compile(r'ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|'
                        r'Assertion .* failed')
LOG_FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')
LOG_INTERVAL_S = 0.12
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)

# Ours always, unless a test says otherwise: all clients come from one address.
OURS = {'limits.connections_per_second_per_address': 0}

# Our settings that Mosquitto has under another name. A test that needs any other runs for us only.
MOSQUITTO_SETTINGS = {
    'limits.keep_alive_max_s': 'max_keepalive',
    'limits.packet_bytes_max': 'max_packet_size',
    'limits.receive_maximum': 'max_inflight_messages',
    'limits.inflight_max': 'max_inflight_messages',
    'limits.session_queue_messages_max': 'max_queued_messages',
    'limits.connections_max': 'max_connections',
}


# ---- Tests

class Complained(Unexpected):
    """A broker has ended badly, or a sanitizer has found something: no second try makes it good."""


def short(part):
    """A part of a row, as it stands in the test's name."""
    text = str(part)
    return text if len(text) <= 60 else f'{text[:40]}… of {len(text)}'


class Case:
    """One test of a module."""

    def __init__(self, function, row=None, only=None, mosquitto=None, full=False, timeout=40):
        self.name = function.__name__
        self.module = function.__module__
        if row is not None:
            self.name += '[' + ','.join(map(short, row)) + ']'
        self.run = lambda b: function(b, *(row or ()))
        self.ours_alone = only == 'dunlin' or mosquitto is not None
        self.full, self.timeout = full, timeout


CASES = []  # of the module that is being loaded, and of those that it imports, in the order of the files


def test(function=None, *, each=None, **how):
    """See the top of this file. timeout: seconds, times --slow."""
    if function is None:
        return lambda f: test(f, each=each, **how)
    for row in each or [None]:
        CASES.append(Case(function, row, **how))
    return function


class Skipped(Exception):
    """Here the test cannot show what it is for; why, in words."""


def skip(why):
    raise Skipped(why)


def needs_root():
    if os.geteuid() != 0:
        skip('it needs root')


def pass_time(seconds):
    """Lets time go by for what counts in seconds: an expiry, a delay, a keep alive. Not for
    waiting until something has happened."""
    time.sleep(seconds)


def wait_until(condition, timeout=None, what='the condition', step=0.005):
    """Returns what `condition()` gives as soon as it is true; looks every `step` seconds."""
    end = time.monotonic() + (Client.timeout if timeout is None else timeout)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Unexpected(f'{what} did not come about in time')
        time.sleep(step)


def equal(got, want, what=''):
    if got != want:
        raise Unexpected(f'{what}{": " if what else ""}{want!r} expected, not {got!r}')


# ---- Brokers

def mosquitto_listener(address, keys):
    """The lines of its configuration file for one of our listeners, as far as it has the like."""
    scheme = keys['url'].split(':')[0]
    lines = [f'listener 0 {address}' if scheme == 'unix' else f'listener {address[1]} {address[0]}']
    if 'certificate' in keys:
        lines += [f'certfile {keys["certificate"].split(",")[0]}',
                  f'keyfile {keys["key"].split(",")[0]}']
    if keys.get('client_certificate', 'none') != 'none':
        lines += [f'cafile {keys["client_ca"]}',
                  f'require_certificate {str(keys["client_certificate"] == "required").lower()}']
    for ours, theirs in (('crl', 'crlfile {}'), ('ciphers', 'ciphers {}'),
                         ('tls_min', 'tls_version tlsv{}')):
        if ours in keys:
            lines.append(theirs.format(keys[ours]))
    return '\n'.join(lines) + '\n'


class Ports:
    """Free ports below the ephemeral ones, which clients take while a broker is down. The search
    begins elsewhere in each process; what one has taken, no other takes until it ends."""

    def __init__(self):
        self.next = 5000 + os.getpid() * 61 % 25000
        self.claims = []  # sockets that nobody connects to: their names say who has a port

    def _claim(self, port):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f'\0dunlin-e2e-port-{port}')
            self.claims.append(claim)
            return True
        except OSError:
            claim.close()
            return False

    def take(self):
        for _ in range(2000):
            self.next = 5000 + (self.next - 5000 + 1) % 27000
            with socket.socket() as s:
                try:
                    s.bind(('127.0.0.1', self.next))
                    if self._claim(self.next):
                        return self.next
                except OSError as e:
                    if e.errno != errno.EADDRINUSE:
                        raise
        raise RuntimeError('no free port')


PORTS = Ports()


class Launch:
    """How brokers are started in this run."""
    program = 'build/release/bin/dunlin'
    kind = 'dunlin'       # or 'mosquitto'
    slow = 1.0            # time-outs are that much longer
    keep = False          # brokers have a directory for their data, a new one each
    io = None             # process.io of brokers whose test does not set it
    previous = None       # the broker of an earlier commit; None: there is none at hand
    folder = 'build/e2e'  # for logs and configuration files


class Broker:
    """A broker process. Started by the constructor, and answering when that returns."""

    def __init__(self, name, settings=None, arguments=(), environment=None, descriptors=None,
                 listeners=None, prepare=None, program=None):
        """program: another than the one that is tested. arguments: further ones of our own; environment: variables to add; descriptors: how
        many the process may have; prepare: called in it before it becomes the broker. listeners: besides the plain one, {name: {key of the
        configuration: value}}, where {} in the url is a free port of 127.0.0.1; their addresses
        are at[name]."""
        self.name, self.settings = name, dict(settings or {})
        self.program = program or Launch.program
        self.arguments, self.environment = list(arguments), dict(environment or {})
        self.descriptors, self.prepare = descriptors, prepare
        self.open = []    # closed at the end of the test
        self.told = 0.0   # when one_event() was called last
        self.log_path = os.path.join(Launch.folder, f'{name}.log')
        self.port = PORTS.take()
        self.address = ('127.0.0.1', self.port)
        self.listeners, self.at = {}, {}
        for listener, keys in (listeners or {}).items():
            self._add_listener(listener, dict(keys))
        self.process = None
        self.data = None
        own = {'data.dir', 'process.user'} & set(self.settings) or '--data' in self.arguments
        if Launch.keep and not own:
            self.data = tempfile.TemporaryDirectory(prefix='data-', dir=Launch.folder)
        self.start()

    def _add_listener(self, name, keys):
        if keys['url'].startswith('unix://'):
            self.at[name] = keys['url'][len('unix://'):]
        else:
            self.at[name] = ('127.0.0.1', PORTS.take())
            keys['url'] = keys['url'].format(f'127.0.0.1:{self.at[name][1]}')
        self.listeners[name] = keys

    # ---- The process

    def command(self):
        if Launch.kind == 'mosquitto':
            path = os.path.join(Launch.folder, f'{self.name}.conf')
            with open(path, 'w', encoding='utf-8') as f:
                f.write(f'listener {self.port} 127.0.0.1\nallow_anonymous true\n'
                        'user root\nset_tcp_nodelay true\nallow_zero_length_clientid true\n')
                if 'limits.session_queue_messages_max' not in self.settings:
                    f.write('max_queued_messages 0\n')
                for key, value in self.settings.items():
                    f.write(f'{MOSQUITTO_SETTINGS[key]} {value}\n')
                for name, keys in self.listeners.items():
                    if not keys['url'].startswith('ws'):
                        f.write(mosquitto_listener(self.at[name], keys))
            return [Launch.program, '-c', path]
        command = [self.program, '--listen', f'tcp://127.0.0.1:{self.port}']
        listeners = {f'listeners.{number}.{key}': value
                     for number, keys in enumerate(self.listeners.values(), 1)
                     for key, value in keys.items()}
        backend = {'process.io': Launch.io} if Launch.io else {}
        for key, value in {**OURS, **backend, **listeners, **self.settings}.items():
            command += ['--set', f'{key}={value}']
        if self.data is not None:
            command += ['--data', os.path.abspath(self.data.name),
                        '--set', 'data.journal_segment_bytes=1048576']
        return command + self.arguments

    def start(self):
        with open(self.log_path, 'ab') as log:
            log.write(f'--- {self.command()}\n'.encode())
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **self.environment},
                preexec_fn=self._prepare)
        wait_until(self._answers, 20 * Launch.slow, f'an answer of {self.name}')

    def _prepare(self):
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # it never outlives the tests
        if self.descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors, self.descriptors))
        if self.prepare is not None:
            self.prepare()

    def _answers(self):
        if self.process.poll() is not None:
            raise Unexpected(f'the broker ended at once, with {self.process.returncode}\n'
                             f'{self.log_tail()}')
        try:
            with Client(self.address, raw.V311) as c:
                c.send(raw.wire.connect(raw.V311, 'e2e-answers'))
                if c.expect(raw.CONNACK).reason == 0:  # else it wants to know who is there
                    c.disconnect()
            return True
        except (ConnectionError, Unexpected):  # not yet; also closed by one that is starting
            return False

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def hold(self):
        """SIGSTOP; when this returns all of its threads stand still, until SIGCONT."""
        tasks = f'/proc/{self.process.pid}/task'

        def stands(task):
            with open(f'{tasks}/{task}/stat', encoding='utf-8') as f:
                return f.read().rsplit(')', 1)[1].split()[0] == 'T'

        self.signal(signal.SIGSTOP)
        wait_until(lambda: all(map(stands, os.listdir(tasks))), what='all threads to stop')

    def wait_end(self, timeout=None):
        """The exit status, once the process has ended by itself."""
        try:
            return self.process.wait(15 * Launch.slow if timeout is None else timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Unexpected(f'the broker did not end in time\n{self.log_tail()}') from None

    def stop(self):
        """SIGTERM; it must end in time, with 0, and have complained of nothing."""
        self.close_clients()
        if self.process is None:
            return
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        status = self.wait_end()
        self.process = None
        if status != 0:
            raise Complained(f'the broker ended with {status}\n{self.log_tail()}')
        self.check_log()

    def check_log(self):
        log = self.log()
        found = COMPLAINTS.search(log)
        if found:
            raise Complained(f'the broker said:\n{log[found.start():][:4000]}')

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def log(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as f:
            return f.read()

    def log_tail(self):
        """The log's end, after the first that a sanitizer found, if it did."""
        log = self.log()
        found = COMPLAINTS.search(log)
        lines = log.splitlines()[-15:]
        if found:
            lines = log[found.start():].splitlines()[:40] + ['…'] + lines
        return '\n'.join('    ' + line[:300] for line in lines)

    def log_size(self):
        """Where the log ends now, for `events` to begin at."""
        return os.path.getsize(self.log_path)

    def events(self, name, since=0):
        """The log's lines of that event, each a dict of its fields."""
        with open(self.log_path, 'rb') as f:
            f.seek(since)
            lines = f.read().decode(errors='replace').splitlines()
        parsed = [{key: text.strip('"') for key, text in LOG_FIELD.findall(line)}
                  for line in lines if f'msg={name}' in line]
        return [fields for fields in parsed if fields.get('msg') == name]

    def one_event(self, name, since=0):
        """Waits for the event's line, sees that there is no second one, and returns its fields. The
        log has ten lines of a kind a second, so this takes a tenth of one at least."""
        wait_until(lambda: self.events(name, since), what=f'a line {name} in the log')
        pass_time(max(0.0, self.told + LOG_INTERVAL_S - time.monotonic()))
        self.told = time.monotonic()
        self.counters('log_lines_suppressed')  # what was logged before this is in the log now
        events = self.events(name, since)
        equal(len(events), 1, f'lines {name}: {events}')
        return events[0]

    def let_log_rest(self):
        """After much of one kind: the next line of that kind is written, not suppressed."""
        pass_time(1)

    def status(self, field):
        """A field of /proc/PID/status in KiB, as VmRSS."""
        with open(f'/proc/{self.process.pid}/status', encoding='utf-8') as f:
            return int(re.search(rf'^{field}:\s+(\d+)', f.read(), re.MULTILINE)[1])

    def sanitized(self):
        """Whether a sanitizer is in it. It keeps what was freed for a while, and shadows the rest:
        nothing can be said of the memory then."""
        with open(f'/proc/{self.process.pid}/maps', encoding='utf-8') as f:
            return re.search(r'lib[at]san\.so', f.read()) is not None

    def stays_below(self, kib):
        """Asserts that the broker's resident memory is below, if that can be said."""
        if not self.sanitized():
            rss = self.status('VmRSS')
            equal(rss < kib, True, f'{rss} KiB of memory, less than {kib}')

    def processor_s(self):
        """Seconds of processor time that it has used."""
        with open(f'/proc/{self.process.pid}/stat', encoding='utf-8') as f:
            fields = f.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def counters(self, last):
        """Every counter, of now. The broker writes them into its log when asked; `last` is one that
        the caller is interested in, waited for, and so is the one that stands at the end. Asked more than ten times a second it is silent,
        so it is asked again."""
        size, asked = os.path.getsize(self.log_path), 0.0

        def read():
            nonlocal asked
            if time.monotonic() - asked > 1.1:
                asked = time.monotonic()
                self.signal(signal.SIGUSR1)
            with open(self.log_path, encoding='utf-8', errors='replace') as f:
                f.seek(size)
                found = re.findall(r'\bmsg=counter\b.*?\bname=(\S+).*?\bvalue=(\d+)\s*\n', f.read())
            counters = {name.strip('"'): int(value) for name, value in found}
            return counters if last in counters and 'log_lines_suppressed' in counters else None

        return wait_until(read, what=f'the counter {last} in the log')

    def counter(self, name):
        return self.counters(name)[name]

    def wait_counter(self, name, at_least):
        """Waits until the counter has come to `at_least`, and returns it."""
        return wait_until(lambda: (n := self.counter(name)) >= at_least and n,
                          what=f'{name} >= {at_least}', step=0.12)

    # ---- For the tests

    def client(self, version=raw.V5, at=None, **how):
        """A raw client, closed when the test ends. at: a listener's name."""
        c = Client(self.address if at is None else self.at[at], version, **how)
        self.open.append(c)
        return c

    def dial(self, at=None, source=None):
        """A bare socket, connected from that address; closed when the test ends."""
        s = socket.create_connection(self.at[at] if at else self.address, timeout=Client.timeout,
                                     source_address=(source, 0) if source else None)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.open.append(s)
        return s

    def connected(self, client_id='', version=raw.V5, at=None, wrap=None, **connect):
        """A raw client that has been accepted."""
        c = self.client(version, at, wrap=wrap)
        c.connect(client_id, **connect)
        return c

    def another(self, settings=None, arguments=(), environment=None, descriptors=None,
                listeners=None, prepare=None, program=None):
        """A further broker, stopped and checked when the test ends."""
        other = Broker(f'{self.name}-{len(self.open)}-{PORTS.next}', settings, arguments,
                       environment, descriptors, listeners, prepare, program)
        self.open.append(other)
        return other

    def run(self, *command, stdin=subprocess.DEVNULL, **how):
        """A program, killed when the test ends if it still runs."""
        process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, **how)
        self.open.append(_Program(process))
        return process

    def close_clients(self):
        """Closes all that the test opened. The first failure of a further broker is raised."""
        failure = None
        while self.open:
            opened = self.open.pop()
            try:
                opened.stop() if isinstance(opened, Broker) else opened.close()
            except (Unexpected, OSError) as e:
                failure = failure or e
        if failure:
            raise failure


class _Program:
    def __init__(self, process):
        self.process = process

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def lines_until(process, what, timeout=None):
    """Reads a program's output up to the line that holds `what`; returns the lines."""
    end = time.monotonic() + (Client.timeout if timeout is None else timeout)
    lines = []
    os.set_blocking(process.stdout.fileno(), True)
    while time.monotonic() < end:
        line = process.stdout.readline()  # the test's own time-out ends a program that hangs
        if not line:
            break
        lines.append(line.rstrip('\n'))
        if what in line:
            return lines
    raise Unexpected(f'{process.args[0]} did not say {what!r}:\n    ' + '\n    '.join(lines))


def finish(process, timeout=None):
    """Waits for a program; it must succeed. Returns its output."""
    try:
        out, _ = process.communicate(timeout=Client.timeout if timeout is None else timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, _ = process.communicate()
        raise Unexpected(f'{process.args} did not finish:\n{out}') from None
    if process.returncode != 0:
        raise Unexpected(f'{process.args} ended with {process.returncode}:\n{out}')
    return out
