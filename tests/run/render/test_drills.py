"""Chaos drills: each hits the pods of rendered clusters and nothing else, ends by itself, and says what is expected."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from descant.run.clusters.render.network import NAME_LABEL, ROLE_LABEL, pod_labels
from tests.run.render.clusters import ROOT

DRILLS = sorted((ROOT / "clusters" / "kuberay" / "drills").glob("*.yaml"))
NAMESPACE = yaml.safe_load((ROOT / "clusters" / "kuberay" / "cluster.yaml").read_text())["namespace"]
SECONDS = {"s": 1, "m": 60}


def seconds(text: str) -> int:
    found = re.fullmatch(r"([0-9]+)([sm])", text)
    assert found, text
    return int(found[1]) * SECONDS[found[2]]


def selectors(value: Any) -> list[dict[str, Any]]:
    """Every selector anywhere inside ``value``."""
    if isinstance(value, list):
        return [found for each in value for found in selectors(each)]
    if not isinstance(value, dict):
        return []
    own = [value["selector"]] if "selector" in value else []
    return own + [found for key, each in value.items() if key != "selector" for found in selectors(each)]


@pytest.mark.parametrize("path", DRILLS, ids=lambda path: path.stem)
def test_drill_hits_our_pods_only_and_ends_before_it_starts_again(path: Path) -> None:
    drill = yaml.safe_load(path.read_text())
    spec = drill["spec"]
    field = spec["type"][0].lower() + spec["type"][1:]
    assert set(spec) == {"schedule", "historyLimit", "concurrencyPolicy", "type", field}
    assert drill["metadata"] == {"name": f"descant-{path.stem}", "namespace": NAMESPACE}
    found = selectors(spec)
    assert found
    for selector in found:
        assert selector["namespaces"] == [NAMESPACE]
        assert selector["labelSelectors"][NAME_LABEL] == pod_labels("any")[NAME_LABEL]
        assert selector["labelSelectors"][ROLE_LABEL] in ("head", "worker")
    every = seconds(spec["schedule"].removeprefix("@every "))
    if spec["type"] == "PodChaos":
        assert spec[field]["mode"] == "one"
        assert spec[field]["action"] == "pod-kill"
    else:
        assert seconds(spec[field]["duration"]) <= every / 2


@pytest.mark.parametrize("path", DRILLS, ids=lambda path: path.stem)
def test_drill_says_what_is_expected_and_that_it_was_not_run(path: Path) -> None:
    comment = "".join(line for line in path.read_text().splitlines(True) if line.startswith("#"))
    assert "# Expected: " in comment
    assert "Not run here." in comment


def test_there_are_drills_for_head_workers_and_network() -> None:
    assert {path.stem for path in DRILLS} == {"head-kill", "worker-kill", "partition", "delay"}
