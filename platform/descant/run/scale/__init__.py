"""What a job would take at another size: time, memory, storage, cost and failures, from measured rates."""
