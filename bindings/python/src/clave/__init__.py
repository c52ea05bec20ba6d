"""Clave: end-to-end encrypted teamwork without a server. Everything that waits is a coroutine of asyncio.

The generated classes (`Node`, `Space`, `Circle`, `Timeline`, …) are all here; beside them what Python has its own way for:
`updates`, `messages`, `inboxes`, `snapshots`, `present`, `typists`, `changes` and `steps` are asynchronous iterators. Close one (`aclose`, or
`contextlib.aclosing`) when it is left before its end.
"""

from . import _clave
from ._clave import *  # noqa: F403
from .streams import apply, changes, inboxes, messages, present, snapshots, steps, typists, updates, until

__all__ = ["apply", "changes", "inboxes", "messages", "present", "snapshots", "steps", "typists", "until", "updates"]
# In these words, since mypy reads them.
__all__ += _clave.__all__
