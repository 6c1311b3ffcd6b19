"""Files for clusters that other tools own: kubectl, sbatch and ``ray up``; rendered, checked, never applied."""
