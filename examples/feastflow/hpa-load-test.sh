#!/usr/bin/env bash
# Puts load on FeastFlow from inside the cluster and shows what the HorizontalPodAutoscaler does.
#
# usage: ./hpa-load-test.sh [--duration SECONDS] [--concurrent N] [--target backend|frontend] [--namespace NAME]
#
#   --duration SECONDS  how long the load lasts (default 180)
#   --concurrent N      users that send requests one after the other (default 10)
#   --target NAME       backend or frontend (default backend)
#   --namespace NAME    where FeastFlow runs (default feastflow)
#
# The load comes from a pod of its own, load-generator, that runs `tide load`; it is removed at the end.
set -euo pipefail

duration=180
concurrent=10
target=backend
namespace=feastflow

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; }
need_value() { [ $# -ge 2 ] || { echo "hpa-load-test.sh: $1 needs a value; see --help" >&2; exit 2; }; }
while [ $# -gt 0 ]; do
  case "$1" in
    --duration) need_value "$@"; duration=$2; shift 2 ;;
    --concurrent) need_value "$@"; concurrent=$2; shift 2 ;;
    --target) need_value "$@"; target=$2; shift 2 ;;
    --namespace) need_value "$@"; namespace=$2; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "hpa-load-test.sh: unknown option $1; see --help" >&2; exit 2 ;;
  esac
done
for number in "$duration" "$concurrent"; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || { echo "hpa-load-test.sh: '$number' is not a whole number above zero" >&2; exit 2; }
done
case "$target" in
  backend) url=http://feastflow-backend:5000/api/health ;;
  frontend) url=http://feastflow-frontend/ ;;
  *) echo "hpa-load-test.sh: --target is backend or frontend, not '$target'" >&2; exit 2 ;;
esac
hpa=feastflow-$target-hpa

show() {
  kubectl get hpa "$hpa" -n "$namespace"
  kubectl top pods -n "$namespace" -l "component=$target" || true
}

printf '=== 1. Prerequisites ===\n'
kubectl top nodes >/dev/null || { echo 'no metrics: is metrics-server running? kubectl get deployment metrics-server -n kube-system' >&2; exit 1; }
kubectl get hpa "$hpa" -n "$namespace" >/dev/null || { echo "no HPA: kubectl apply -f $(dirname "$0")/12-backend-hpa.yaml" >&2; exit 1; }
echo 'metrics and HPA are there'

printf '\n=== 2. Before the load ===\n'
show

printf '\n=== 3. Load: %s users on %s for %s s ===\n' "$concurrent" "$url" "$duration"
remove_generator() { kubectl delete pod load-generator -n "$namespace" --ignore-not-found --grace-period=1 >/dev/null; }
remove_generator
trap remove_generator EXIT
kubectl run load-generator -n "$namespace" --image=tide --restart=Never \
  --overrides='{"spec":{"runtimeClassName":"host","terminationGracePeriodSeconds":1}}' \
  --command -- tide load "$url" --vus "$concurrent" --duration "${duration}s"

printf '\n=== 4. What the HPA does ===\n'
elapsed=0
while [ "$elapsed" -lt "$duration" ]; do
  pause=$((duration - elapsed < 15 ? duration - elapsed : 15))
  sleep "$pause"
  elapsed=$((elapsed + pause))
  printf '\n--- %s s ---\n' "$elapsed"
  show
done
kubectl wait --for=jsonpath='{.status.phase}'=Succeeded pod/load-generator -n "$namespace" --timeout=60s

printf '\n=== 5. What the load saw ===\n'
kubectl logs load-generator -n "$namespace" --tail=15

printf '\n=== 6. After the load ===\n'
show
kubectl get events -n "$namespace" --field-selector "involvedObject.name=$hpa"
echo "The HPA holds the replicas for its stabilization window and then removes them step by step: kubectl get hpa $hpa -n $namespace --watch"
