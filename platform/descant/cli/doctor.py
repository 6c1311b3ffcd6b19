"""The command that looks a cluster over: ``descant doctor``."""

from descant.cli.jobs import ClusterName, store_on
from descant.cli.options import StorePlace, terminal


def doctor(cluster: ClusterName = "local", store: StorePlace = None) -> None:
    """Look a cluster over before jobs go there: token, versions, nodes, libraries, storage, disk; and what to do.

    Runs a small job that asks every node. Ends with 7 where something has to be done.
    """
    from descant.core.errors import DependencyError
    from descant.run.clusters.doctor import examine, findings_table
    from descant.run.clusters.reach import reach

    reached = reach(cluster)
    console = terminal()
    with console.status("asking every node …"):
        findings = list(examine(reached, store_on(reached, store)))
    console.print(findings_table(findings))
    problems = [finding.subject for finding in findings if finding.remedy]
    if problems:
        raise DependencyError(
            "E-CLU-UNFIT",
            f"cluster {cluster}",
            f"has to be mended: {', '.join(problems)}",
            "Nothing was changed.",
        )
