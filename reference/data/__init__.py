"""Course data made from CIFAR-10: `python -m reference.data build` and `measure`; `load_split` reads it back."""

from reference.data.layout import CLASSES, DataError, load_split

__all__ = ["CLASSES", "DataError", "load_split"]
