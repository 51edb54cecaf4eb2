#!/bin/sh
# gather.sh FOLDER: the reports of the pods of audit.yml as FOLDER/NODE.json, each whole or not at all, and who should
# have reported as FOLDER/expected.txt. A pod without a report costs its own only.
set -u
folder=${1:?usage: gather.sh FOLDER}
mkdir -p "$folder" || exit 2
kubectl get nodes -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}' >"$folder/expected.txt" || exit 2
pods='jsonpath={range .items[*]}{.metadata.name}{" "}{.spec.nodeName}{"\n"}{end}'
kubectl get pods -l app.kubernetes.io/name=audit -o "$pods" | while read -r pod node; do
    if kubectl exec "$pod" -- cat /report/report.json </dev/null >"$folder/.$node"; then
        mv "$folder/.$node" "$folder/$node.json"
    else
        rm -f "$folder/.$node"
        echo "no report of $node; see: kubectl logs $pod" >&2
    fi
done
