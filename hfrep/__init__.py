"""hfrep: pretrain, adapt and prompt small transformers, with runs that prove themselves."""

__version__ = "0.1.0"
