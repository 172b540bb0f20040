"""The model file that ``torchserve_app.py`` archives: TorchServe wants it to define one class."""

from chest_xray_original import OriginalNet


class FilmNet(OriginalNet):
    """The original project's network, with its three outputs."""
