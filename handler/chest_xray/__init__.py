"""The service, without the server: row -> image source -> bytes -> grayscale -> tensor -> logits -> prediction -> body.

One module per arrow, in that order: ``request``, ``fetch``, ``image``, ``transform``,
(the network), ``prediction``, ``response``; ``batch`` walks them for the rows of one batch.
Nothing here imports TorchServe.
"""
