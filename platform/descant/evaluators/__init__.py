"""Floor 2: from rankings and judgements to per-query scores, intervals and tests; no Ray, no MLflow."""
