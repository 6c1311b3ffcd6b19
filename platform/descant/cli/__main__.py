"""``python -m descant.cli``."""

from descant.cli import main

main()
