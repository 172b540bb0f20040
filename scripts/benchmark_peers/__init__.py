"""Other servers around the same work, to be measured next to ours by the verb ``benchmark``.

Each module is a program that serves until it is killed, on ``PORT`` of the loopback with
``WORKERS`` processes, doing the ``CODE`` of ``work.py``; and it tells the driver, which has none of
its packages, what to install and how to ask it:

- ``REQUIREMENTS``: pinned packages, installed into a folder of their own,
- ``PATH``: of the URL that predicts,
- ``request(image)``: headers and body of a request with this encoded image.
"""
