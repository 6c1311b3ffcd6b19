"""What ``descant plan --cluster`` shows: what each step asks for, what the cluster has, what a worker needs."""

from typing import TYPE_CHECKING

from descant.artifacts.store import Store

if TYPE_CHECKING:
    from rich.console import Console

    from descant.run.clusters.reach import Cluster
    from descant.run.job import Job
    from descant.run.plan import Plan
    from descant.run.profile import Profile


def print_on_cluster(
    job: "Job", plan: "Plan", profile: "Profile", cluster: "Cluster", store: Store, console: "Console"
) -> None:
    """Raises what asking the cluster raises, and at the end ResourceError where a step can never be placed on it."""
    from descant.run.clusters.status import nodes_table, status_of
    from descant.run.compare.comparison import Comparison
    from descant.run.memory_plan import memory_of_steps, memory_table
    from descant.run.placement import asked_line, asked_of_job, refuse_without_room, rooms_of
    from descant.run.plan import plan_table

    status = status_of(cluster.api)
    rooms = rooms_of(status)
    asked = asked_of_job(job, store, profile)
    lines = {one.label: asked_line(one.request, rooms) for one in asked}
    console.print(plan_table(plan, lines))
    labels = {item.step.label for item in plan.steps}
    for label in lines.keys() - labels:
        console.print(f"{label} asks for {lines[label]}", highlight=False)
    console.print(f"\ncluster [bold]{cluster.name}[/bold]  {cluster.api.url}", highlight=False)
    console.print(nodes_table(status))
    if profile.autoscales:
        console.print("it adds nodes by itself: how many, and which, Ray does not tell", highlight=False)
    cells = job.corner_steps() if isinstance(job, Comparison) else ()
    memory = memory_of_steps([item.step for item in plan.missing], profile)
    memory |= memory_of_steps((s for s in cells if s.label not in labels), profile.of_trial())
    absent = sum(one is None for one in memory.values())
    if absent < len(memory):
        console.print()
        console.print(memory_table(memory))
    if absent:
        console.print(f"\n{absent} steps hold models that are not here, or not made yet", highlight=False)
    refuse_without_room(asked, rooms, profile)
