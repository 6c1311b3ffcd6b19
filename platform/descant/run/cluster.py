"""Reaching Ray: the cluster that RAY_ADDRESS names, or one started here with token authentication on."""

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from descant.artifacts.lease import LEASE, lease
from descant.core.errors import BusyError, DependencyError
from descant.run.private_ray import (
    ENVIRONMENT,
    INNER,
    PREFIX,
    new_folder,
    refuse_unsafe_environment,
    temporary_folder,
    token_environment,
)
from descant.run.profile import RayCompute


@contextmanager
def ray_session(compute: RayCompute) -> Iterator[None]:
    """A connected Ray for the time of the block; the one that is connected already is used as it is.

    A local one gets its own folder with mode 0700, a 256-bit token in a file with mode 0600 and a dashboard on the
    loopback address; Ray's other ports still bind every interface. Raises PolicyError when an environment variable
    would let data files run code, DependencyError when RAY_ADDRESS does not answer and when Ray is lost in the block.
    """
    refuse_unsafe_environment()
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        yield
        return
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    address = os.environ.get("RAY_ADDRESS")
    with _cluster(address) if address else _started(compute), _losses_explained(address or "the local Ray"):
        yield


@contextmanager
def _losses_explained(address: str) -> Iterator[None]:
    """What Ray raises when its own processes or nodes are gone; what tasks raise stays as it is."""
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except RayTaskError:
        raise
    except RayError as error:
        problem = f"was lost ({type(error).__name__}: {str(error).strip().splitlines()[0][:200]})"
        raise DependencyError(
            "E-RAY-LOST", address, problem, "Everything finished is kept; run the same command to resume."
        ) from error


@contextmanager
def _cluster(address: str) -> Iterator[None]:
    import ray

    try:
        ray.init(
            address=address, logging_level=logging.WARNING, log_to_driver=False, runtime_env=_of_workers()
        )
    except (ConnectionError, RuntimeError) as error:
        problem = f"no Ray cluster answers ({str(error).splitlines()[0][:200]})"
        raise DependencyError("E-RAY-ADDRESS", address, problem, "Check RAY_ADDRESS, or unset it.") from None
    try:
        yield
    finally:
        ray.shutdown()


def _of_workers() -> dict[str, dict[str, str]]:
    """What workers on other nodes have to find in their environment: the store, where models are kept."""
    return {"env_vars": {name: os.environ[name] for name in ("DESCANT_STORE",) if name in os.environ}}


@contextmanager
def _started(compute: RayCompute) -> Iterator[None]:
    with _home() as home:
        if "RAY_AUTH_MODE" not in os.environ:
            os.environ |= token_environment(home / "token")
        import ray  # reads the token's environment as it is imported

        try:
            ray.init(
                address="local",
                num_cpus=compute.num_cpus,
                object_store_memory=compute.object_store_megabytes << 20,
                include_dashboard=True,
                dashboard_host="127.0.0.1",
                log_to_driver=False,
                logging_level=logging.WARNING,
                _temp_dir=str(home / INNER),
            )
            yield
        finally:
            ray.shutdown()


@contextmanager
def _home() -> Iterator[Path]:
    """A folder for one Ray, mode 0700, gone afterwards; those of drivers that were killed are removed first."""
    for left in temporary_folder().glob(f"{PREFIX}*/{LEASE}"):
        with contextlib.suppress(BusyError, PermissionError), lease(left.parent):
            shutil.rmtree(left.parent, ignore_errors=True)
    home = new_folder()
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(home)  # for Ray's processes, which leave their own temporary folders behind
    try:
        with lease(home):
            yield home
    finally:
        os.environ.pop("TMPDIR") if before is None else os.environ.update(TMPDIR=before)
        shutil.rmtree(home, ignore_errors=True)
