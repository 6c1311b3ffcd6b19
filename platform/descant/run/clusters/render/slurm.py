"""A Ray for the time of one Slurm job: ``ray symmetric-run`` on every node, the driver on the first.

The script gets the signal, not the steps: Slurm would send it to Ray's own processes too. It passes it to the driver
alone, which saves and ends with 75, and puts the job back into the queue, where the same command goes on.
"""

import shlex
from pathlib import PurePosixPath

from descant.run.clusters.render.spec import SlurmCluster
from descant.run.clusters.render.work import PROFILE, RECIPE, Work, environment

HEAD = """\
#!/bin/bash
# {verb} of {name}. Submit it in this folder with: sbatch job.sbatch
# Rendered by descant cluster render; change cluster.yaml and render again.
#SBATCH --job-name={name}
#SBATCH --partition={partition}
#SBATCH --account={account}
#SBATCH --nodes={nodes}
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task={cpus}
{gpu_line}#SBATCH --mem={memory}G
#SBATCH --time={minutes}
#SBATCH --exclusive
#SBATCH --export=NONE
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@{notice}
#SBATCH --output=%x-%j.log
set -euo pipefail
umask 077

nodes={nodes}
cpus={cpus}
gpus={gpus}
most_requeues={retries}
code={checkout}
command=({command})
export {variables}
"""
BODY = """\
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300
export PATH="$code/.venv/bin:$PATH"
cd -- "$code"
inputs="$SLURM_SUBMIT_DIR"
for name in recipe.yaml compute.yaml; do
  [[ -r "$inputs/$name" ]] || { echo "no $inputs/$name: submit this script in its own folder" >&2; exit 2; }
done

# The token: in a file on the shared home that only its owner can read, new for each try, gone afterwards.
state="$HOME/.descant/slurm/$SLURM_JOB_ID"
scratch="/tmp/descant-$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}"
on_every_node() { srun --export=ALL --nodes="$nodes" --ntasks="$nodes" --ntasks-per-node=1 "$@"; }
# shellcheck disable=SC2329 # called by the trap
clean_up() {
  on_every_node rm -rf -- "$scratch" || true
  rm -rf -- "$state"
}
trap clean_up EXIT
mkdir -p -- "$state"
python -c 'import secrets; print(secrets.token_hex(32), end="")' >"$state/token"
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH="$state/token"

# Ray's own folder on each node; mkdir fails where somebody else has made it.
on_every_node mkdir -m 700 -- "$scratch"

# shellcheck disable=SC2329 # called by the trap
stop_driver() { if [[ -s "$state/driver" ]]; then kill -TERM "$(<"$state/driver")" || true; fi; }
trap stop_driver TERM

address="$(hostname -I | cut -d ' ' -f 1):6379"
export RAY_ADDRESS="$address"
# shellcheck disable=SC2016 # the inner shell expands these
on_every_node --cpus-per-task="$cpus" ray symmetric-run --address "$address" --min-nodes "$nodes" \\
  --num-cpus="$cpus" --num-gpus="$gpus" --temp-dir="$scratch/r" --dashboard-host=127.0.0.1 --disable-usage-stats \\
  -- bash -c 'echo "$$" >"$0"; exec "$@"' "$state/driver" "${command[@]}" &
step=$!
# A signal ends the waiting, not the step: wait until there is no step left, then ask how it ended.
while kill -0 "$step" 2>/dev/null; do wait "$step" || true; done
status=0
wait "$step" || status=$?

if [[ $status -eq 75 && ${SLURM_RESTART_COUNT:-0} -lt $most_requeues ]]; then
  echo "stopped in time; back into the queue"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
"""


def slurm_files(cluster: SlurmCluster, work: Work) -> dict[str, str]:
    """``job.sbatch``, with recipe and profile beside it."""
    storage = PurePosixPath(cluster.storage)
    head = HEAD.format(
        verb=work.verb,
        name=work.name,
        partition=cluster.partition,
        account=cluster.account,
        nodes=cluster.nodes,
        cpus=cluster.cpus,
        gpus=cluster.gpus,
        gpu_line=f"#SBATCH --gpus-per-node={cluster.gpus}\n" if cluster.gpus else "",
        memory=cluster.memory_gigabytes,
        minutes=cluster.limit_minutes,
        notice=cluster.notice_seconds,
        retries=cluster.retries,
        checkout=shlex.quote(cluster.checkout),
        command=" ".join(_word(word) for word in work.command("$SLURM_SUBMIT_DIR", storage)),
        variables=" ".join(f"{name}={shlex.quote(value)}" for name, value in environment(storage).items()),
    )
    return {"job.sbatch": head + BODY, RECIPE: work.recipe, PROFILE: work.profile}


def _word(word: str) -> str:
    """Quoted, but for the one variable that a word may begin with."""
    variable = "$SLURM_SUBMIT_DIR"
    if word.startswith(variable):
        return f'"{variable}"{shlex.quote(word.removeprefix(variable))}'
    return shlex.quote(word)
