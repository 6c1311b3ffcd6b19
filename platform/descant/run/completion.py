"""What the shell offers for the name of a registered version, without importing MLflow (seconds)."""

import sqlite3
from pathlib import Path

DATABASE = "mlflow.db"


def sources(root: Path, incomplete: str) -> list[str]:
    """The versions in the store's own database that begin with ``incomplete``: by alias, then by number.

    Nothing where there is no such database, or where runs are kept on a server.
    """
    database = root / DATABASE
    if not database.is_file():
        return []
    connection = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=0.5)
    try:
        aliases = connection.execute("SELECT name, alias FROM registered_model_aliases ORDER BY name, alias")
        found = [f"models:/{name}@{alias}" for name, alias in aliases]
        versions = connection.execute(
            "SELECT name, version FROM model_versions WHERE current_stage != 'Deleted_Internal' ORDER BY name, version"
        )
        found += [f"models:/{name}/{number}" for name, number in versions]
    except sqlite3.Error:  # busy, or of another MLflow: no suggestion is better than an error at the prompt
        return []
    finally:
        connection.close()
    return [source for source in found if source.startswith(incomplete)]
