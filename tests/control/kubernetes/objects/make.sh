#!/bin/sh
# Prints the objects of the YAML files as kubectl prints them (Debian: kubernetes-client), without a cluster. The JSON
# files were written by version 1.32; tests read them and need no kubectl.
set -eu
cd "$(dirname "$0")"
for yaml in *.yaml; do
    kubectl patch --local --type merge --patch '{}' --show-managed-fields -f "$yaml" -o json > "${yaml%.yaml}.json"
done
create() { kubectl create service "$@" --namespace shop --dry-run=client -o json; }
{
    create clusterip cache --tcp=6379:redis
    create nodeport db --tcp=5432:5432 --node-port=30432
    create loadbalancer lb --tcp=80:8080 --tcp=443:8443
    create externalname ext --external-name=example.org
    create clusterip less --clusterip=None
    create clusterip fixed --clusterip=10.96.0.99 --tcp=80:8080
} > dry_run.json
