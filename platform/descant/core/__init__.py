"""Floor 0: specs, fingerprints, records, seeds, measures and errors; pydantic, PyYAML and the standard library only."""
