"""Floor 3: stages turn upstream results into a new result, on Ray Data or Ray Train."""
