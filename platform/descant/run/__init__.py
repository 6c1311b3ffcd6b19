"""Floor 4: plan a job, run what is missing, track it and register what came out."""
