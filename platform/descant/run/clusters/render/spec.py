"""A cluster: one ``cluster.yaml``, of one of five kinds; how a job is spread over it is in ``compute.yaml``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from descant.core.errors import ConfigError
from descant.core.spec import Compute, build_spec
from descant.core.yaml_file import read_yaml
from descant.run.clusters.access import Access
from descant.run.clusters.names import cluster_names
from descant.run.clusters.render.fields import Cidr, Folder, Image, Label, NfsPath, Word


class Destination(Compute):
    """Something outside the cluster that its pods may reach."""

    cidr: Cidr
    """Its addresses, as ``10.0.0.1/32``."""
    port: int = Field(ge=1, le=65535)
    """Its TCP port."""


class FaultTolerance(Compute):
    """Ray's metadata in a Redis, so that workers outlive a head that is replaced."""

    address: Annotated[str, StringConstraints(pattern=r"\A[a-z0-9.-]+:[0-9]{1,5}\z")]
    """``host:port`` of the Redis."""
    reached: Destination
    """The same for the network policy, which knows addresses only."""
    secret: Label
    """The Kubernetes Secret with its password."""
    key: Word
    """The key of the password in that Secret."""


class Pod(Compute):
    """What one pod takes; requests and limits are the same."""

    cpus: int = Field(ge=1)
    """Cores."""
    memory_gigabytes: int = Field(ge=2)
    """Memory in GiB, with what lies in shared memory."""
    shared_memory_gigabytes: int = Field(ge=1)
    """Size of ``/dev/shm`` in GiB; four fifths of it hold Ray's objects."""

    @model_validator(mode="after")
    def _shared_memory_leaves_some(self) -> Self:
        if self.shared_memory_gigabytes >= self.memory_gigabytes:
            raise ValueError(
                "shared_memory_gigabytes must be less than memory_gigabytes, which it is part of"
            )
        return self


class WorkerGroup(Pod):
    """Workers of one kind."""

    name: Label
    """The group's name."""
    gpus: int = Field(ge=0)
    """GPUs of NVIDIA."""
    least: int = Field(ge=0)
    """Pods that are always there."""
    most: int = Field(ge=1)
    """Pods that the autoscaler may start."""

    @model_validator(mode="after")
    def _least_is_at_most_most(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least = {self.least} is more than most = {self.most}")
        return self


class RayCluster(Compute):
    """A Ray that somebody else started."""

    kind: Literal["ray"]
    """Nothing to render."""
    access: Access
    """Where it answers."""


class KubeRayCluster(Compute):
    """A Ray on Kubernetes, under the KubeRay operator (1.5.1 or later)."""

    kind: Literal["kuberay"]
    """Files for kubectl."""
    name: Label
    """Name of the cluster that stays; a job's cluster is named after its recipe."""
    namespace: Label
    """Where everything is made."""
    operator_namespace: Label
    """Where the operator runs: it alone may reach the dashboard from outside."""
    image: Image
    """An image of clusters/image."""
    claim: Label
    """A PersistentVolumeClaim that all nodes can mount (ReadWriteMany): results, data and models."""
    head: Pod
    """The head; it gives out no CPU, so only drivers run there."""
    workers: list[WorkerGroup] = Field(min_length=1)
    """Groups of workers."""
    kubernetes_api: Destination | None = None
    """The Kubernetes API, which the autoscaler asks for pods; needed where a group has ``least`` below ``most``."""
    fault_tolerance: FaultTolerance | None = None
    """Left out: a lost head ends the job, which is tried again from the store."""
    retries: int = Field(ge=0)
    """New clusters after failures, before the job counts as failed. Finished parts are not made again."""
    deadline_hours: int = Field(ge=1)
    """All tries together."""
    kept_minutes: int = Field(ge=0)
    """How long the cluster of a finished job stays, to look at."""
    access: Access | None = None
    """Where the cluster that stays answers, for ``descant submit``."""

    @property
    def scales(self) -> bool:
        """Whether any group changes its size."""
        return any(group.least < group.most for group in self.workers)

    @model_validator(mode="after")
    def _autoscaler_reaches_the_api(self) -> Self:
        if self.scales and self.kubernetes_api is None:
            raise ValueError("a group with least below most needs kubernetes_api, which the autoscaler asks")
        return self


class SlurmCluster(Compute):
    """A Ray for the time of one Slurm job, on nodes that the job has for itself."""

    kind: Literal["slurm"]
    """A file for sbatch."""
    partition: Word
    """Slurm's partition."""
    account: Word
    """What the time is charged to."""
    checkout: Folder
    """A checkout of descant with a ``.venv``, at this path on every node."""
    storage: Folder
    """A shared folder for results, data and models."""
    nodes: int = Field(ge=1)
    """Nodes of the job."""
    cpus: int = Field(ge=1)
    """Cores of one node."""
    gpus: int = Field(ge=0)
    """GPUs of one node."""
    memory_gigabytes: int = Field(ge=1)
    """Memory of one node in GiB."""
    limit_minutes: int = Field(ge=30)
    """Time limit of one try."""
    notice_seconds: int = Field(ge=60)
    """How long before the limit the driver is asked to stop: enough to save a checkpoint."""
    retries: int = Field(ge=0)
    """How often a job that stopped in time is put back into the queue."""

    @property
    def access(self) -> None:
        """It ends with its job, so nothing can be submitted to it."""

    @property
    def scales(self) -> bool:
        """It has the nodes of its job."""
        return False


class Machine(Compute):
    """A machine of a cloud."""

    type: Word
    """The cloud's name for it."""
    cpus: int = Field(ge=1)
    """Cores."""
    gpus: int = Field(ge=0)
    """GPUs of NVIDIA."""


class CloudCluster(Compute):
    """A Ray that the cluster launcher (``ray up``) starts in a private network."""

    name: Label
    """Name of the cluster."""
    region: Word
    """The cloud's region."""
    zone: Word
    """The zone in it."""
    subnet: Word
    """Private, with a way out for images, reached by VPN or from inside: nothing gets a public address."""
    machine_image: Word
    """The image that machines boot; with Docker, and NVIDIA's drivers where there are GPUs."""
    disk_gigabytes: int = Field(ge=50)
    """Disk of each machine."""
    image: Image
    """A container image of clusters/image."""
    nfs: NfsPath
    """The shared file system (EFS, Filestore) for results, data and models."""
    head: Machine
    """The head; it gives out no CPU."""
    worker: Machine
    """Workers; spot machines, which the cloud may take back at any time."""
    least: int = Field(ge=0)
    """Workers that are always there."""
    most: int = Field(ge=1)
    """Workers that the autoscaler may start."""
    idle_minutes: int = Field(ge=1)
    """After how long an idle worker is given back."""
    access: Access | None = None
    """Where it answers once it is up, for ``descant submit``."""

    @property
    def scales(self) -> bool:
        """Whether the autoscaler may add workers."""
        return self.least < self.most

    @model_validator(mode="after")
    def _least_is_at_most_most(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least = {self.least} is more than most = {self.most}")
        return self


class AwsCluster(CloudCluster):
    """On Amazon's cloud."""

    kind: Literal["aws"]
    """Files for ``ray up``."""
    security_group: Annotated[str, StringConstraints(pattern=r"\Asg-[0-9a-f]+\z")]
    """Yours: Ray would make one that lets the whole world at port 22."""


class GcpCluster(CloudCluster):
    """On Google's cloud."""

    kind: Literal["gcp"]
    """Files for ``ray up``."""
    project: Label
    """The project."""


Rendered = KubeRayCluster | SlurmCluster | AwsCluster | GcpCluster
AnyCluster = Rendered | RayCluster
KINDS: dict[str, type[AnyCluster]] = {
    "ray": RayCluster,
    "kuberay": KubeRayCluster,
    "slurm": SlurmCluster,
    "aws": AwsCluster,
    "gcp": GcpCluster,
}


def find_folder(name: str) -> Path:
    """The folder that ``name`` means: a path, or a folder in ``./clusters``. Raises ConfigError where it is none."""
    for folder in (Path("clusters", name), Path(name)):
        if (folder / "cluster.yaml").is_file():
            return folder
    known = ", ".join(cluster_names())
    raise ConfigError(
        "E-CLU-FOLDER",
        name,
        f"neither ./clusters/{name} nor {name} is a folder with a cluster.yaml; there are: {known}",
        "Nothing was sent or written.",
    )


def load_cluster(folder: Path) -> AnyCluster:
    """Read ``cluster.yaml`` in ``folder``; raises ConfigError with file and line."""
    document = read_yaml(folder / "cluster.yaml")
    kind = document.values.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(
            "E-CLU-KIND",
            document.where(("kind",)),
            f"'kind' is {kind!r}, expected one of {', '.join(KINDS)}",
            "Nothing was written. Name the kind in the file's first line.",
        )
    return build_spec(KINDS[kind], document)


def capacity(cluster: Rendered) -> Sequence[tuple[int, int]]:
    """CPUs and GPUs of each node that gives some out, with all that the autoscaler may start."""
    if isinstance(cluster, KubeRayCluster):
        return [(group.cpus, group.gpus) for group in cluster.workers for _ in range(group.most)]
    if isinstance(cluster, SlurmCluster):
        return [(cluster.cpus, cluster.gpus)] * cluster.nodes
    return [(cluster.worker.cpus, cluster.worker.gpus)] * cluster.most
