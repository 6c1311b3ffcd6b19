#!/bin/bash
# run of smoke-f45ee478: starts the cluster, runs the recipe, and ends the cluster if all went well.
# After anything else the cluster stays: the same script goes on, and "ray down cluster.yaml" ends it.
set -euo pipefail
umask 077
cd -- "$(dirname -- "$0")"
export RAY_AUTH_MODE=token
mkdir -p ~/.ray
[[ -s ~/.ray/auth_token ]] || ray get-auth-token --generate >/dev/null
chmod 600 ~/.ray/auth_token
ray up --yes --no-config-cache cluster.yaml
ray exec cluster.yaml 'env --chdir=/opt/descant RAY_ADDRESS=auto RAY_AUTH_MODE=token DESCANT_DATA=/mnt/descant/data HF_HOME=/mnt/descant/models HF_HUB_OFFLINE=1 RAY_USAGE_STATS_ENABLED=0 RAY_TRAIN_ENABLE_V2=1 RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0 descant run ~/inputs/recipe.yaml --compute ~/inputs/compute.yaml --store /mnt/descant/results'
ray down --yes cluster.yaml
