#!/usr/bin/env bash
# Manual scaling, step by step: scales the backend and the frontend up and down with kubectl and
# shows after each step what the cluster did.
#
# usage: ./scaling-demo.sh [--namespace NAME] [--backend N] [--frontend N] [--yes]
#
#   --namespace NAME  where FeastFlow runs (default feastflow)
#   --backend N       backend replicas at the peak (default 5)
#   --frontend N      frontend replicas at the peak (default 6)
#   --yes             do not wait for Enter between the steps (also when standard input is no terminal)
set -euo pipefail

namespace=feastflow
backend_peak=5
frontend_peak=6
ask=true
[ -t 0 ] || ask=false

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; }
need_value() { [ $# -ge 2 ] || { echo "scaling-demo.sh: $1 needs a value; see --help" >&2; exit 2; }; }
while [ $# -gt 0 ]; do
  case "$1" in
    --namespace) need_value "$@"; namespace=$2; shift 2 ;;
    --backend) need_value "$@"; backend_peak=$2; shift 2 ;;
    --frontend) need_value "$@"; frontend_peak=$2; shift 2 ;;
    --yes) ask=false; shift ;;
    -h | --help) usage; exit 0 ;;
    *) echo "scaling-demo.sh: unknown option $1; see --help" >&2; exit 2 ;;
  esac
done

step() {
  printf '\n=== %s ===\n' "$1"
  if $ask; then read -r -p 'Enter to go on… ' _; fi
}

scale() { # deployment, replicas
  kubectl scale deployment "$1" --replicas="$2" -n "$namespace"
  kubectl rollout status "deployment/$1" -n "$namespace" --timeout=120s
  kubectl get deployment "$1" -n "$namespace"
}

show() {
  kubectl get deployments -n "$namespace"
  kubectl get pods -n "$namespace" -o wide
}

kubectl get namespace "$namespace" >/dev/null || {
  echo "FeastFlow is not there: kubectl apply -f $(dirname "$0")" >&2
  exit 1
}
if kubectl get hpa feastflow-backend-hpa -n "$namespace" >/dev/null 2>&1; then
  echo 'An HPA is set: it takes over from manual scaling at its next sync and keeps to its bounds.'
fi

step '1. What runs now'
show

step "2. The backend to $backend_peak replicas (kubectl scale)"
scale feastflow-backend "$backend_peak"
kubectl get pods -n "$namespace" -l component=backend
kubectl get endpoints feastflow-backend -n "$namespace"

step "3. The frontend to $frontend_peak replicas (kubectl scale)"
scale feastflow-frontend "$frontend_peak"

step '4. The backend to 3 replicas (kubectl patch)'
kubectl patch deployment feastflow-backend -n "$namespace" -p '{"spec":{"replicas":3}}'
kubectl rollout status deployment/feastflow-backend -n "$namespace" --timeout=120s
kubectl get pods -n "$namespace" -l component=backend

step '5. Back to two of each'
scale feastflow-backend 2
scale feastflow-frontend 2

step '6. What runs at the end'
show
