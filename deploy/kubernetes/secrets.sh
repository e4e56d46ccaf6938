#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# secrets.sh USER | kubectl apply -n dunlin -f -
#
# Writes the Secret that the pods need: a user for clients, an admin key for the API, and the key by which
# nodes of a cluster know each other, all new and random. The first two are told here, on stderr, and
# nowhere else: the Secret has hashes of them. Needs `dunlin` in PATH, of this version. Users more: dunlin
# passwd FILE, and the Secret made of the files again.
set -eu

[ $# -eq 1 ] || {
    echo "usage: secrets.sh USER" >&2
    exit 2
}
user=$1
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT

password=$(head -c 24 /dev/urandom | base64 | tr '+/' '-_')
printf '%s\n' "$password" | dunlin passwd --create "$folder/users" "$user" >&2
key=$(dunlin admin-key add --create --role admin "$folder/admin-keys" operator)
printf 'user %s, password %s\n%s\n' "$user" "$password" "$key" >&2

cat <<END
apiVersion: v1
kind: Secret
metadata:
  name: dunlin-secrets
  labels:
    app.kubernetes.io/name: dunlin
    app.kubernetes.io/part-of: dunlin
type: Opaque
data:
  users: $(base64 <"$folder/users" | tr -d '\n')
  admin-keys: $(base64 <"$folder/admin-keys" | tr -d '\n')
  cluster-key: $(head -c 32 /dev/urandom | base64 | base64 | tr -d '\n')
END
