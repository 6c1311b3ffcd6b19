"""Every rule for the launcher's YAML and for scripts, broken in the golden files: refused by that rule alone."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from descant.run.clusters.render.policy import violations
from tests.golden.rendered import GOLDEN

Change = Callable[[dict[str, Any]], Any]


def swap(section: str, old: str, new: str) -> Change:
    """Replace ``old`` by ``new`` in the commands of ``section``; fails where it is not there."""

    def change(document: dict[str, Any]) -> None:
        changed = [command.replace(old, new) for command in document[section]]
        assert changed != document[section]
        document[section] = changed

    return change


def options(*more: str) -> Change:
    return lambda document: document["docker"]["run_options"].extend(more)


HEAD, WORKER = "head_start_ray_commands", "worker_start_ray_commands"
BOTH: dict[str, tuple[str, Change]] = {
    "head-without-token": ("P-NO-AUTH", swap(HEAD, "RAY_AUTH_MODE=token ", "")),
    "head-with-auth-off": ("P-NO-AUTH", swap(HEAD, "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled")),
    "worker-without-token": ("P-NO-AUTH", swap(WORKER, "RAY_AUTH_MODE=token ", "")),
    "start-of-defaults": ("P-NO-AUTH", lambda d: d.pop(HEAD)),
    "dashboard-everywhere": ("P-DASHBOARD-PUBLIC", swap(HEAD, "=127.0.0.1", "=0.0.0.0")),
    "dashboard-everywhere-in-words": ("P-DASHBOARD-PUBLIC", swap(HEAD, "=127.0.0.1", " ::")),
    "dashboard-by-default": ("P-DASHBOARD-PUBLIC", swap(HEAD, "--dashboard-host=127.0.0.1 ", "")),
    "dashboard-of-a-worker": (
        "P-DASHBOARD-PUBLIC",
        swap(WORKER, "ray start", "ray start --dashboard-host=0.0.0.0"),
    ),
    "dashboard-twice": (
        "P-DASHBOARD-PUBLIC",
        swap(HEAD, "--port", "--dashboard-host=0.0.0.0 --port"),
    ),
    "latest": ("P-NO-DIGEST", lambda d: d["docker"].update(image="rayproject/ray:latest")),
    "no-container": ("P-NO-DIGEST", lambda d: d.update(docker={"run_options": d["docker"]["run_options"]})),
    "worker-image": ("P-NO-DIGEST", lambda d: d["docker"].update(worker_image="rayproject/ray:2.60.0-gpu")),
    "public-addresses": ("P-PUBLIC-ADDRESS", lambda d: d["provider"].update(use_internal_ips=False)),
    "public-by-default": ("P-PUBLIC-ADDRESS", lambda d: d["provider"].pop("use_internal_ips")),
    "open-port": (
        "P-INGRESS",
        lambda d: d["provider"].update(security_group={"IpPermissions": [{"FromPort": 8265}]}),
    ),
    "credentials": ("P-SECRET-IN-FILE", lambda d: d["provider"].update(gcp_credentials={"type": "x"})),
    "privileged": ("P-PRIVILEGED", options("--privileged")),
    "capability": ("P-PRIVILEGED", options("--cap-add=SYS_PTRACE")),
    "host-processes": ("P-PRIVILEGED", options("--pid=host")),
    "no-seccomp": ("P-PRIVILEGED", options("--security-opt=seccomp=unconfined")),
    "capabilities-kept": ("P-PRIVILEGED", lambda d: d["docker"]["run_options"].remove("--cap-drop=ALL")),
    "privileged-head": ("P-PRIVILEGED", lambda d: d["docker"].update(head_run_options=["--privileged"])),
    "root": ("P-ROOT", options("--user=0:0")),
    "root-by-name": ("P-ROOT", options("-u root")),
    "docker-socket": ("P-HOST-PATH", options("--volume=/var/run/docker.sock:/var/run/docker.sock")),
    "host-root": ("P-HOST-PATH", options("-v /:/host")),
    "host-root-in-disguise": ("P-HOST-PATH", options("--volume=/mnt/../:/host")),
    "host-bind": ("P-HOST-PATH", options("--mount type=bind,source=/etc,target=/host")),
    "secret-in-an-option": ("P-SECRET-IN-ENV", options("--env=HF_TOKEN=hf_abc")),
    "secret-in-a-command": (
        "P-SECRET-IN-ENV",
        swap(WORKER, "export ", "export AWS_SECRET_ACCESS_KEY=abc "),
    ),
    "token-in-a-command": ("P-SECRET-IN-ENV", swap(HEAD, "export ", "export RAY_AUTH_TOKEN=abc ")),
    "never-idle": ("P-NO-LIMITS", lambda d: d.pop("idle_timeout_minutes")),
    "no-most": ("P-NO-LIMITS", lambda d: d.pop("max_workers")),
}
OF_ONE: dict[str, tuple[str, str, Change]] = {
    "ray-s-own-security-group": (
        "aws",
        "P-INGRESS",
        lambda d: d["available_node_types"]["worker"]["node_config"].pop("SecurityGroupIds"),
    ),
    "interface-with-address": (
        "gcp",
        "P-PUBLIC-ADDRESS",
        lambda d: d["available_node_types"]["head"]["node_config"]["networkInterfaces"][0].update(
            accessConfigs=[{"type": "ONE_TO_ONE_NAT"}]
        ),
    ),
    "interface-of-defaults": (
        "gcp",
        "P-PUBLIC-ADDRESS",
        lambda d: d["available_node_types"]["worker"]["node_config"].pop("networkInterfaces"),
    ),
}


def mutants() -> Iterator[Any]:
    cases = [(kind, name, *case) for kind in ("aws", "gcp") for name, case in BOTH.items()]
    cases += [(kind, name, rule, change) for name, (kind, rule, change) in OF_ONE.items()]
    for kind, name, rule, change in cases:
        document = yaml.safe_load(golden(kind, "cluster.yaml"))
        change(document)
        yield pytest.param(rule, document, id=f"{kind}-{name}")


def golden(kind: str, name: str) -> str:
    return (GOLDEN / kind / name).read_text()


@pytest.mark.parametrize("kind", ["aws", "gcp", "slurm"])
def test_golden_files_break_no_rule(kind: str) -> None:
    assert violations({path.name: path.read_text() for path in (GOLDEN / kind).iterdir()}) == []


@pytest.mark.parametrize(("rule", "document"), mutants())
def test_mutant_is_refused_by_its_rule_alone(rule: str, document: dict[str, Any]) -> None:
    assert {each.rule for each in violations({"cluster.yaml": yaml.safe_dump(document)})} == {rule}


@pytest.mark.parametrize(
    ("name", "old", "new", "rule"),
    [
        ("job.sbatch", "export RAY_AUTH_MODE=token\n", "", "P-NO-AUTH"),
        ("job.sbatch", "export RAY_AUTH_MODE=token\n", "export RAY_AUTH_MODE=disabled\n", "P-NO-AUTH"),
        ("job.sbatch", "export RAY_AUTH_MODE=token\n", "# export RAY_AUTH_MODE=token\n", "P-NO-AUTH"),
        ("job.sbatch", 'RAY_AUTH_TOKEN_PATH="$state/token"', 'RAY_AUTH_TOKEN="$token"', "P-NO-AUTH"),
        ("job.sbatch", "umask 077\n", "umask 022\n", "P-TOKEN-READABLE"),
        ("job.sbatch", "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0", "P-DASHBOARD-PUBLIC"),
        ("job.sbatch", "--dashboard-host=127.0.0.1 ", "", "P-DASHBOARD-PUBLIC"),
        ("job.sbatch", "#SBATCH --exclusive\n", "", "P-SHARED-NODE"),
        ("job.sbatch", "#SBATCH --export=NONE\n", "", "P-ENVIRONMENT"),
        ("job.sbatch", "#SBATCH --export=NONE\n", "#SBATCH --export=ALL\n", "P-ENVIRONMENT"),
        ("job.sbatch", "#SBATCH --time=1440\n", "", "P-NO-LIMITS"),
        ("job.sbatch", "#SBATCH --mem=256G\n", "", "P-NO-LIMITS"),
        ("job.sbatch", "#SBATCH --cpus-per-task=32\n", "", "P-NO-LIMITS"),
        ("job.sbatch", "export PATH=", "export HF_TOKEN=hf_abc PATH=", "P-SECRET-IN-ENV"),
        ("job.sbatch", "export PATH=", "export AWS_SECRET_ACCESS_KEY_ID='a' PATH=", "P-SECRET-IN-ENV"),
        ("job.sbatch", "export PATH=", 'export RAY_AUTH_TOKEN="abc" PATH=', "P-SECRET-IN-ENV P-NO-AUTH"),
        ("run.sh", "export RAY_AUTH_MODE=token\n", "", "P-NO-AUTH"),
        ("run.sh", "umask 077\n", "", "P-TOKEN-READABLE"),
        ("run.sh", "RAY_ADDRESS=auto", "RAY_ADDRESS=auto MLFLOW_TRACKING_PASSWORD=abc", "P-SECRET-IN-ENV"),
    ],
)
def test_spoilt_script_is_refused_by_its_rule_alone(name: str, old: str, new: str, rule: str) -> None:
    text = golden("slurm" if name == "job.sbatch" else "aws", name)
    assert old in text
    assert {each.rule for each in violations({name: text.replace(old, new)})} == set(rule.split())


@pytest.mark.parametrize(
    "harmless", ["TOKENIZERS_PARALLELISM=false", 'HF_TOKEN="$token"', "HF_TOKEN_PATH=/shared/token"]
)
def test_variables_that_hold_no_secret_are_let_through(harmless: str) -> None:
    text = golden("slurm", "job.sbatch").replace("export PATH=", f"export {harmless} PATH=")
    assert harmless in text
    assert violations({"job.sbatch": text}) == []
