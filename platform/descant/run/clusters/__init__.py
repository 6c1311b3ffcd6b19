"""Clusters: started on this machine, and asked over Ray's HTTP interface."""
