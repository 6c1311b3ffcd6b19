"""Floor 2: encoders, from a pinned reference to unit vectors."""
