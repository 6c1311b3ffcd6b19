"""What is sent to a cluster, under which id and as which command; and what is refused before anything is sent."""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import descant
from descant.core.errors import ConfigError, DependencyError, PolicyError
from descant.run.clusters.access import Access
from descant.run.clusters.api import ClusterApi
from descant.run.clusters.package import Package, code_package, recipe_package
from descant.run.clusters.reach import Cluster, reach
from descant.run.clusters.submission import entrypoint, submission_id, submit
from descant.run.job import Recipe, load_recipe
from descant.run.profile import Profile, load_profile

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "jobs" / "recipes" / "finetune_retriever" / "quickstart.yaml"
CANARY = "c4nary-b3c0mes-a-secret"
ID = re.compile(r"[a-z0-9][a-z0-9-]{2,62}")
SHELL_WORDS = ("a'b", 'a"b', "$(touch x)", "`id`", "a;b", "a\nb", "--x", "é ü", "*", "", "\\", "a b", "~")


@pytest.fixture
def quickstart() -> Recipe:
    return load_recipe(QUICKSTART)


def names(package: Package) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(package.data)) as archive:
        return archive.namelist()


def content(package: Package, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(package.data)) as archive:
        return archive.read(name)


def recipe_at(path: Path, *overrides: str) -> Recipe:
    return load_recipe(path, overrides)


def test_code_is_the_library_and_nothing_beside_it() -> None:
    root = Path(descant.__file__).parent
    expected = {
        f"descant/{path.relative_to(root).as_posix()}"
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert set(names(code_package())) == expected


def test_same_content_is_the_same_package(quickstart: Recipe) -> None:
    first, second = (recipe_package(quickstart, Profile())[0] for _ in range(2))
    assert first == second
    assert first.name == second.name
    assert recipe_package(quickstart, Profile(train={"workers": 1}))[0].name != first.name  # type: ignore[arg-type]


def test_recipe_travels_with_the_data_it_names_and_no_other(quickstart: Recipe) -> None:
    package, place = recipe_package(quickstart, Profile())
    found = names(package)
    assert place == "jobs/recipes/finetune_retriever/quickstart.yaml"
    assert content(package, place) == QUICKSTART.read_bytes()
    shipped = {name.split("/")[2] for name in found if name.startswith("jobs/data/")}
    assert shipped == {"arc_easy"}
    assert {"jobs/__init__.py", "jobs/finetune_retriever.py", "compute.yaml"} <= set(found)
    data = [path for path in (ROOT / "jobs" / "data" / "arc_easy").rglob("*") if path.is_file()]
    assert len([name for name in found if name.startswith("jobs/data/arc_easy/")]) == len(data)


def test_hidden_files_links_and_leftovers_stay_behind(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    shutil.copytree(ROOT / "jobs", jobs, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "id_rsa").write_text(CANARY)
    for name in (".env", ".git/config", "data/arc_easy/.env", "notes.txt", "key.pem", "__pycache__/x.pyc"):
        (jobs / name).parent.mkdir(exist_ok=True)
        (jobs / name).write_text(CANARY)
    (jobs / "data" / "arc_easy" / "link").symlink_to(tmp_path / "id_rsa")
    package, _ = recipe_package(recipe_at(jobs / "recipes/finetune_retriever/quickstart.yaml"), Profile())
    assert not any(CANARY.encode() in content(package, name) for name in names(package))
    (jobs / "data" / "arc_easy" / "plain.txt").write_text(CANARY)
    package, _ = recipe_package(recipe_at(jobs / "recipes/finetune_retriever/quickstart.yaml"), Profile())
    assert CANARY.encode() in content(package, "jobs/data/arc_easy/plain.txt"), "the canary would not be seen"


@pytest.mark.parametrize("path", ["../../../etc", "data/../../secret", "data/.ssh"])
def test_recipe_cannot_name_what_lies_outside_its_jobs(path: str) -> None:
    recipe = recipe_at(QUICKSTART, f"data.path=${{DESCANT_JOBS}}/{path}")
    with pytest.raises(PolicyError) as raised:
        recipe_package(recipe, Profile())
    assert raised.value.exit_code == 6


def test_missing_data_is_said_before_anything_is_sent() -> None:
    with pytest.raises(ConfigError, match="there is no"):
        recipe_package(recipe_at(QUICKSTART, "data.path=${DESCANT_JOBS}/data/nowhere"), Profile())


@pytest.mark.parametrize(
    "name", ["my recipe (1).yaml", "$(touch x).yaml", "ünï.yaml", "-rf.yaml", "a'b\".yaml"]
)
def test_recipe_of_any_name_gets_a_plain_one(tmp_path: Path, name: str) -> None:
    path = tmp_path / "jobs" / name
    shutil.copytree(ROOT / "jobs", tmp_path / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(QUICKSTART, path)
    package, place = recipe_package(recipe_at(path), Profile())
    assert re.fullmatch(r"jobs/recipes/finetune_retriever/[A-Za-z0-9._-]+\.yaml", place)
    assert place in names(package)


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in ROOT.glob("clusters/*/compute.yaml")))
def test_profile_arrives_as_it_was(quickstart: Recipe, tmp_path: Path, folder: str) -> None:
    profile = load_profile(ROOT / "clusters" / folder)
    package, _ = recipe_package(quickstart, profile)
    (tmp_path / "compute.yaml").write_bytes(content(package, "compute.yaml"))
    assert load_profile(tmp_path) == profile


def test_id_is_made_of_the_settings_and_the_store(quickstart: Recipe) -> None:
    same = submission_id(load_recipe(QUICKSTART), "/store")
    assert submission_id(quickstart, "/store") == same
    others = {
        submission_id(recipe_at(QUICKSTART, "seed=18"), "/store"),
        submission_id(quickstart, "/elsewhere"),
    }
    assert len(others | {same}) == 3
    assert ID.fullmatch(same)


@given(name=st.text(max_size=80))
def test_id_is_plain_whatever_the_job_is_called(name: str) -> None:
    recipe = load_recipe(QUICKSTART)
    renamed = Recipe(recipe.path, (), name, recipe.job, recipe.text, recipe.digest)
    first = submission_id(renamed, "/store")
    assert ID.fullmatch(first)
    assert ID.fullmatch(f"{first}-9999999")


@given(
    words=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))), max_size=3)
)
def test_command_is_split_into_what_it_was_made_of(words: list[str]) -> None:
    recipe = load_recipe(QUICKSTART)
    given_ = Recipe(recipe.path, tuple(words), recipe.job_name, recipe.job, recipe.text, recipe.digest)
    parts = shlex.split(entrypoint("py thon", given_, "jobs/x.yaml", "/a b", ["--force"]))
    overrides = [part for word in words for part in ("--set", word)]
    before = [
        "py thon",
        "-m",
        "descant.cli",
        "run",
        "jobs/x.yaml",
        "--store",
        "/a b",
        "--compute",
        "compute.yaml",
    ]
    assert parts == [*before, *overrides, "--force"]


def test_shell_runs_nothing_that_stands_in_a_value(quickstart: Recipe, tmp_path: Path) -> None:
    """Ray gives the command to a shell: here a real one."""
    script = tmp_path / "show.py"
    script.write_text("import json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    recipe = Recipe(quickstart.path, SHELL_WORDS, "x", quickstart.job, "", "")
    command = entrypoint(sys.executable, recipe, "p", "/s", []).replace("-m descant.cli", str(script), 1)
    shown = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert [word for word in json.loads(shown.stdout) if word in SHELL_WORDS] == list(SHELL_WORDS)
    assert sorted(tmp_path.iterdir()) == [script]


class OtherRay(BaseHTTPRequestHandler):
    """Says that it runs another Ray, and remembers what was asked of it."""

    asked: list[str]
    ray = "2.9.3"

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"ray_version": self.ray}).encode())

    do_POST = do_PUT = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other_ray(tmp_path: Path) -> Iterator[Cluster]:
    OtherRay.asked = []
    token = tmp_path / "token"
    token.touch(0o600)
    with ThreadingHTTPServer(("127.0.0.1", 0), OtherRay) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        api = ClusterApi(f"http://127.0.0.1:{running.server_port}", token)
        yield Cluster("other", api, "/store", None, "python", None)
        running.shutdown()


def test_other_version_of_ray_is_refused_with_both_named(other_ray: Cluster, quickstart: Recipe) -> None:
    with pytest.raises(DependencyError) as raised:
        submit(other_ray, quickstart, "/store", Profile(), [])
    assert raised.value.exit_code == 7
    assert OtherRay.ray in str(raised.value)
    assert version("ray") in str(raised.value)
    assert OtherRay.asked == ["GET /api/version"]


def test_cluster_that_takes_no_connection_ends_in_time(tmp_path: Path, quickstart: Recipe) -> None:
    """A backlog that is full answers nothing at all: the worst case of an address."""
    import socket

    token = tmp_path / "token"
    token.touch(0o600)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        clients = [socket.socket() for _ in range(8)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        api = ClusterApi(f"http://127.0.0.1:{full.getsockname()[1]}", token)
        started = time.monotonic()
        with pytest.raises(DependencyError, match="no answer"):
            submit(Cluster("x", api, None, None, "python", None), quickstart, "/s", Profile(), [])
        assert time.monotonic() - started < 15
        for client in clients:
            client.close()


@pytest.mark.parametrize(
    "override",
    [f"hub_token={CANARY}", f"data.api_key={CANARY}", f"data.path=https://me:{CANARY}@host/x"],
)
def test_secret_in_an_override_is_not_sent(other_ray: Cluster, quickstart: Recipe, override: str) -> None:
    recipe = Recipe(quickstart.path, (override,), "x", quickstart.job, "", "")
    with pytest.raises(PolicyError) as raised:
        submit(other_ray, recipe, "/store", Profile(), [])
    assert raised.value.exit_code == 6
    assert CANARY not in str(raised.value)
    assert OtherRay.asked == []


def test_password_in_a_recipe_is_not_sent(other_ray: Cluster) -> None:
    recipe = recipe_at(QUICKSTART, f"data.path=https://me:{CANARY}@host/x")
    bare = Recipe(recipe.path, (), recipe.job_name, recipe.job, "", "")
    with pytest.raises(PolicyError):
        submit(other_ray, bare, "/store", Profile(), [])
    assert OtherRay.asked == []


def described(folder: Path, **values: str) -> str:
    fields = {"url": "https://ray.example:8265", "token_file": "/token", "store": "/mnt/store"} | values
    folder.mkdir(exist_ok=True)
    access = "".join(f"  {key}: {value}\n" for key, value in fields.items())
    (folder / "cluster.yaml").write_text(f"kind: ray\naccess:\n{access}")
    return str(folder)


def test_cluster_is_read_from_its_folder(tmp_path: Path) -> None:
    where = described(
        tmp_path / "ours", url="https://ray.example:8265/", data="/mnt/data", python="/opt/bin/python"
    )
    (tmp_path / "ours" / "compute.yaml").write_text("train: {workers: 7}\n")
    cluster = reach(where)
    assert cluster.api.url == "https://ray.example:8265"
    assert (cluster.store, cluster.data, cluster.python) == (
        "/mnt/store",
        Path("/mnt/data"),
        "/opt/bin/python",
    )
    assert cluster.compute(None).train.workers == 7


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"url": "http://ray.example:8265"}, "in the clear"),
        ({"url": "http://10.0.0.7:8265"}, "in the clear"),
        ({"url": "https://me:secret@ray.example"}, "url"),
        ({"url": "ftp://ray.example"}, "url"),
        ({"store": "results"}, "absolute"),
        ({"store": "s3://key:secret@bucket/x"}, "no user"),
        ({"data": "data"}, "absolute"),
    ],
)
def test_cluster_that_would_be_unsafe_or_unclear_is_refused(
    tmp_path: Path, values: dict[str, str], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        reach(described(tmp_path / "bad", **values))


@pytest.mark.parametrize("url", ["http://127.0.0.1:8265", "http://localhost:8265", "http://[::1]:8265"])
def test_end_of_a_tunnel_may_be_plain_http(url: str) -> None:
    Access(url=url, token_file=Path("t"), store="/s")


def test_cluster_that_does_not_say_where_it_answers_is_refused() -> None:
    with pytest.raises(ConfigError, match="no section 'access'"):
        reach(str(ROOT / "clusters" / "kuberay"))


def test_cluster_that_nothing_describes_is_named() -> None:
    with pytest.raises(ConfigError, match=r"cluster\.yaml"):
        reach("nowhere")


def test_local_cluster_that_is_down_says_how_to_start_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESCANT_HOME", str(tmp_path))
    with pytest.raises(DependencyError, match="descant cluster up local"):
        reach("local")
    assert "DESCANT_HOME" in os.environ
