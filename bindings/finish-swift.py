#!/usr/bin/env python3
"""What UniFFI leaves out of the Swift that it generates: a task that is cancelled cancels the call it awaits. Usage: finish-swift.py SWIFT.

As its Kotlin and its Python do it, with the same functions of the library: the call's future is dropped, and the call throws
`CancellationError`. Calls that throw nothing have no way to say so, and go on to their end. The handler cannot come after `freeFunc`: Swift
lets nobody out of `withTaskCancellationHandler` while its handler runs."""

import pathlib
import re
import sys

path = pathlib.Path(sys.argv[1])
text = path.read_text()


def change(before, after):
    global text
    if text.count(before) != 1:
        sys.exit(f"UniFFI writes asynchronous calls another way now, this has to follow: {before!r}")
    text = text.replace(before, after)


throwing = text.count("try  await uniffiRustCallAsync(")
text, done = re.subn(
    r"(try  await uniffiRustCallAsync\((?:(?!uniffiRustCallAsync).)*?\n)( +)(freeFunc: ffi_clave_ffi_rust_future_)free(_\w+,\n)",
    r"\1\2\3free\4\2cancelFunc: ffi_clave_ffi_rust_future_cancel\4",
    text,
    flags=re.S,
)
if done == 0 or done != throwing:
    sys.exit("UniFFI writes asynchronous calls another way now, this has to follow")
change(
    "    freeFunc: (UInt64) -> (),\n    liftFunc",
    "    freeFunc: (UInt64) -> (),\n    cancelFunc: (@Sendable (UInt64) -> ())? = nil,\n    liftFunc",
)
poll = re.search(r"    var pollResult: Int8;\n(    repeat \{\n.*?\n    \} while pollResult != UNIFFI_RUST_FUTURE_POLL_READY\n)", text, re.S)
if not poll:
    sys.exit("UniFFI polls another way now, this has to follow")
change(
    poll[0],
    "    await withTaskCancellationHandler {\n        var pollResult: Int8\n"
    + re.sub(r"^(?=.)", "    ", poll[1], flags=re.M)
    + "    } onCancel: {\n        cancelFunc?(rustFuture)\n    }\n",
)
change('fatalError("Cancellation not supported yet")', "throw CancellationError()")
path.write_text(text)
