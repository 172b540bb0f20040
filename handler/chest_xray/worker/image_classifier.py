"""TorchServe's ImageClassifier, without the libraries that only its own transform and explanations
use: they take half of a worker's start and a quarter of its memory."""

import sys
from types import ModuleType
from typing import Any

_UNUSED = ("captum", "captum.attr", "torchvision", "torchvision.transforms")


class _StandIn(ModuleType):
    """Has every attribute and can be called, to no effect."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self


_stand_ins = {name: _StandIn(name) for name in _UNUSED if name not in sys.modules}
sys.modules.update(_stand_ins)
try:
    from ts.torch_handler.image_classifier import ImageClassifier
finally:
    for _name in _stand_ins:  # whoever imports them later gets the real ones
        del sys.modules[_name]

__all__ = ["ImageClassifier"]
