#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the PrometheusRule of deploy/prometheus, and a ConfigMap of deploy/grafana's dashboard: for kustomize and for the
chart, neither of which may read them there.

    monitoring.py [--check]      --check: are they what they should be? 1: no
"""
import os
import sys

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = [os.path.join(HERE, '..', 'prometheus', name) for name in ('rules.yml', 'alerts.yml')]
DASHBOARD = os.path.join(HERE, '..', 'grafana', 'dashboard.json')
HEAD = '# SPDX-License-Identifier: Apache-2.0\n#\n# Made by deploy/kubernetes/monitoring.py of deploy/{}.\n'


class Text(str):
    """Of many lines, written as they are."""


yaml.SafeDumper.add_representer(Text, lambda dumper, text: dumper.represent_scalar('tag:yaml.org,2002:str', text, style='|'))


def groups():
    found = []
    for path in SOURCES:
        with open(path, encoding='utf-8') as f:
            found += yaml.safe_load(f)['groups']
    return found


def texts():
    """{path: what stands there}"""
    def text(source, value):
        return HEAD.format(source) + yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    spec = {'groups': groups()}
    labels = {'app.kubernetes.io/name': 'dunlin', 'app.kubernetes.io/part-of': 'dunlin'}
    rule = {'apiVersion': 'monitoring.coreos.com/v1', 'kind': 'PrometheusRule',
            'metadata': {'name': 'dunlin', 'labels': labels}, 'spec': spec}
    with open(DASHBOARD, encoding='utf-8') as f:
        dashboard = f.read()
    # The label is the one that the sidecar of Grafana's chart looks for.
    shown = {'apiVersion': 'v1', 'kind': 'ConfigMap',
             'metadata': {'name': 'dunlin-dashboard', 'labels': {**labels, 'grafana_dashboard': '1'}}, 'data': {'dunlin.json': Text(dashboard)}}
    return {os.path.join(HERE, 'monitoring', 'prometheusrule.yaml'): text('prometheus', rule),
            os.path.join(HERE, 'monitoring', 'dashboard.yaml'): text('grafana', shown),
            os.path.join(HERE, 'chart', 'files', 'rules.yaml'): text('prometheus', spec),
            os.path.join(HERE, 'chart', 'files', 'dashboard.json'): dashboard}


def stands_there(path):
    try:
        with open(path, encoding='utf-8') as f:
            return f.read()
    except FileNotFoundError:
        return None


def main():
    if sys.argv[1:] == ['--check']:
        wrong = [path for path, text in texts().items() if stands_there(path) != text]
        for path in wrong:
            print(f'{os.path.relpath(path)}: deploy/kubernetes/monitoring.py would write something else', file=sys.stderr)
        return 1 if wrong else 0
    for path, text in texts().items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
    return 0


if __name__ == '__main__':
    sys.exit(main())
