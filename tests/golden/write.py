"""Write the golden addresses anew: ``make golden``."""

import json
import sys

from tests.jobs.test_recipes import GOLDEN, RECIPES, addresses, name_of, needs_packs


def main() -> None:
    """Addresses of every recipe whose data is shipped."""
    golden = {name_of(path): addresses(path) for path in RECIPES if not needs_packs(path)}
    GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    sys.stdout.write(f"{GOLDEN}: {len(golden)} recipes\n")


if __name__ == "__main__":
    main()
