"""Floor 1: content-addressed results on disk, how they are committed, and the outside inputs they are made from."""
