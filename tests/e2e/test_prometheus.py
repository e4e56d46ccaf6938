# SPDX-License-Identifier: Apache-2.0
"""deploy/prometheus and deploy/grafana: Prometheus itself reads a broker, and every query of the
dashboard and of each rule finds something; each alert has its page in docs/runbooks.md."""
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request

from admin import Admin
from harness import PORTS, Client, Launch, equal, test, wait_until
from kept import Folder, lasting
from pki import pki
from raw import Unexpected
from tls import Tls

SECONDS = 12
ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
RULES = os.path.join(ROOT, 'deploy', 'prometheus')
DASHBOARD = os.path.join(ROOT, 'deploy', 'grafana', 'dashboard.json')
VARIABLES = {'$job': '.*dunlin.*', '$instance': '.+', '$__rate_interval': '30s'}


def text_of(*path):
    with open(os.path.join(ROOT, *path), encoding='utf-8') as f:
        return f.read()


def promtool(*arguments):
    done = subprocess.run([shutil.which('promtool'), *arguments], cwd=RULES, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
    equal(done.returncode, 0, done.stdout)


@test(only='dunlin')
def rules_are_right_and_fire_when_they_should(b):
    promtool('check', 'rules', 'rules.yml', 'alerts.yml')
    promtool('test', 'rules', 'tests.yml')


def alerts():
    return re.findall(r'^ +- alert: (\w+)$', text_of('deploy', 'prometheus', 'alerts.yml'), re.MULTILINE)


@test(only='dunlin')
def each_alert_has_its_page_and_its_test(b):
    pages = re.findall(r'^## (.+)$', text_of('docs', 'runbooks.md'), re.MULTILINE)
    equal(pages, alerts())
    named = re.findall(r'^ +runbook: docs/runbooks\.md#(.+)$', text_of('deploy', 'prometheus', 'alerts.yml'),
                       re.MULTILINE)
    equal(named, [page.lower() for page in pages])
    tested = re.findall(r'^ +exp_alerts:$', text_of('deploy', 'prometheus', 'tests.yml'), re.MULTILINE)
    equal(len(tested), len(pages))
    anchors = re.findall(r'\]\(#(.+?)\)', text_of('docs', 'runbooks.md'))
    equal(sorted(set(anchors) - set(named)), [])


# ---- Queries

def queries_of_dashboard():
    dashboard = json.loads(text_of('deploy', 'grafana', 'dashboard.json'))
    for panel in dashboard['panels']:
        for target in panel.get('targets', []):
            yield panel['title'], filled_in(target['expr'])
    for variable in dashboard['templating']['list']:
        if variable['type'] == 'query':
            series, label = re.fullmatch(r'label_values\((.+), (\w+)\)', variable['query']['query']).groups()
            yield variable['name'], f'count by ({label}) ({filled_in(series)})'


def filled_in(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    equal('$' in expression, False, expression)
    return expression


def queries_of_rules():
    """Of an alert what it compares: the comparison has no samples while all is well."""
    for file in 'rules.yml', 'alerts.yml':
        found = re.findall(r"- (?:alert|record): (\S+)\n +expr: (?:'(.*)'|(.*))$",
                           text_of('deploy', 'prometheus', file), re.MULTILINE)
        for name, quoted, plain in found:
            expression = (quoted or plain).replace("''", "'")
            yield name, re.sub(r' (==|>|<) [\d.]+$', '', expression)


class Prometheus:
    def __init__(self, b, admin_port):
        self.folder = tempfile.TemporaryDirectory(prefix='prometheus-', dir=os.path.abspath(Launch.folder))
        self.port = PORTS.take()
        path = os.path.join(self.folder.name, 'prometheus.yml')
        with open(path, 'w', encoding='utf-8') as f:
            json.dump({'global': {'scrape_interval': '1s', 'evaluation_interval': '1s'},
                       'rule_files': [f'{RULES}/rules.yml', f'{RULES}/alerts.yml'],
                       'scrape_configs': [{'job_name': 'dunlin', 'static_configs': [
                           {'targets': [f'127.0.0.1:{admin_port}']}]}]}, f)
        self.log = os.path.join(self.folder.name, 'log')
        b.run('sh', '-c', f'exec "$@" >{self.log} 2>&1', 'sh', shutil.which('prometheus'),
              f'--config.file={path}', f'--storage.tsdb.path={self.folder.name}/data',
              f'--web.listen-address=127.0.0.1:{self.port}')

    def ask(self, expression):
        """The samples of now."""
        url = f'http://127.0.0.1:{self.port}/api/v1/query?' + urllib.parse.urlencode({'query': expression})
        try:
            with urllib.request.urlopen(url, timeout=Client.timeout) as answer:
                return json.load(answer)['data']['result']
        except urllib.error.HTTPError as e:
            if e.code == 503:  # it reads what it has, which is nothing, before it answers
                return []
            raise Unexpected(f'{expression}: {e.read().decode()}') from e
        except OSError:  # it has not started yet
            return []


def traffic(admin):
    """Something of all that there is to be measured, again each time that it is called."""
    broker, wrap = admin.broker, Tls()
    subscribers = [lasting(broker, f'prometheus-{i}') for i in range(6)]
    for i, c in enumerate(subscribers):
        c.subscribe('prometheus/#', qos=i % 3)
    publishers = [broker.connected(f'prometheus-pub-{i}') for i in range(3)]
    session = None

    def once():
        nonlocal session
        for p in publishers:
            p.publish('prometheus/a', b'x' * 100, qos=2)
        for c in subscribers:
            for _ in publishers:
                c.expect_message('prometheus/a', b'x' * 100)
        secured = broker.client(at='tls', wrap=wrap.resuming(session) if session else wrap)
        secured.connect('prometheus-tls')
        secured.ping()
        session = secured.sock.session
        secured.disconnect()
    return once


@test(only='dunlin', full=True, timeout=90)
def every_query_finds_something(b):
    admin = Admin(b, {'node.shards': 2, 'data.dir': Folder(b).path}, listeners={
        'tls': {'url': 'tls://{}', 'certificate': pki().chain('server'), 'key': pki().key('server')}})
    prometheus = Prometheus(b, admin.port)
    left = [*queries_of_dashboard(), *queries_of_rules()]
    equal(len(left) > 80, True, 'there are fewer queries than there should be')
    if admin.broker.sanitized():  # it has an allocator of its own
        left = [(name, q) for name, q in left if 'allocator' not in q]
    go_on = traffic(admin)

    def all_have_answered():
        nonlocal left
        go_on()
        left = [(name, query) for name, query in left if not prometheus.ask(query)]
        return not left
    try:
        wait_until(all_have_answered, timeout=60, step=0.5)
    except Unexpected as e:
        raise Unexpected(f'{e}; without an answer: {left}') from e
    unwell = [a['metric'] for a in prometheus.ask('ALERTS{alertstate="firing"}')]
    equal(unwell, [])
