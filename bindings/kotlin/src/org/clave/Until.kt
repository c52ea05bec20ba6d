package org.clave

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.launch

/**
 * Waits until [read] gives something: asked now, and whenever something happened. It listens before it asks, so that nothing is
 * missed in between. Ends with the node: then [read] says so, or this is cancelled.
 */
suspend fun <T : Any> Node.until(read: suspend () -> T?): T = coroutineScope {
    val happened = Channel<Unit>(Channel.CONFLATED)
    val listener =
        object : ChangeListener {
            override fun onChange(change: Change) {
                happened.trySend(Unit)
            }
        }
    observe(listener).use { subscription ->
        val ending = launch {
            subscription.finished()
            happened.close()
        }
        try {
            var found = read()
            while (found == null) {
                if (happened.receiveCatching().isClosed) throw CancellationException("the node was shut down")
                found = read()
            }
            found
        } finally {
            ending.cancel()
            subscription.cancel()
        }
    }
}
