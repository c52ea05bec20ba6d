"""Clave: end-to-end encrypted teamwork without a server. Everything that waits is a coroutine of asyncio.

The generated classes (`Node`, `Space`, `Circle`, `Timeline`, …) are all here; beside them what Python has its own way for:
`updates`, `messages`, `inboxes`, `snapshots`, `changes` and `steps` are asynchronous iterators. Close one (`aclose`, or
`contextlib.aclosing`) when it is left before its end.
"""

from ._clave import *  # noqa: F403
from ._clave import __all__ as _generated
from .streams import apply, changes, inboxes, messages, snapshots, steps, updates, until

__all__ = [*_generated, "apply", "changes", "inboxes", "messages", "snapshots", "steps", "until", "updates"]
