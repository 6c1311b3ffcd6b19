"""A process with its libraries loaded that forks one to make a small result for every line it is given.

A line holds the store's folder and the object store's address, as JSON. Answered are the fork's id as it begins and its
status as it ends, a line each.
"""

import json
import os
import sys
from pathlib import Path

import s3fs  # noqa: F401 - what takes long

from tests.artifacts.build_one import build

for line in sys.stdin:
    root, address = json.loads(line)
    child = os.fork()
    if not child:
        os.environ["AWS_ENDPOINT_URL"] = address
        build(Path(root))
        os._exit(0)
    sys.stdout.write(f"{child}\n")
    sys.stdout.flush()
    sys.stdout.write(f"{os.waitpid(child, 0)[1]}\n")
    sys.stdout.flush()
