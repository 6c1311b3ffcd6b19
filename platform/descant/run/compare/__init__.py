"""Comparisons of adaptation methods: equal tuning budgets, seeds, and what a paired test can tell apart."""
