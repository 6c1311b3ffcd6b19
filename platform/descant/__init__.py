"""descant: Ray-distributed training and evaluation of adapters and in-context retrievers."""

__version__ = "0.1.0"
