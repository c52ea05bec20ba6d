// What Kotlin has its own way for: flows, and its own durations. Everything else is the generated code beside this.
package org.clave

import kotlin.time.Duration
import kotlin.time.toJavaDuration
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.channels.awaitClose
import kotlinx.coroutines.channels.trySendBlocking
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.callbackFlow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.launch

/**
 * The [count] newest messages and everything that happens to them and after them, in batches of steps; the first step is
 * [TimelineDiff.Reset]. Ends when the node is shut down. While a collector is busy what happens is gathered, so that a slow
 * one gets few large batches and misses nothing.
 */
fun Timeline.updates(count: UInt = 50u): Flow<List<TimelineDiff>> =
    callbackFlow {
        val listener =
            object : TimelineListener {
                override fun onUpdate(diffs: List<TimelineDiff>) {
                    // Fails only when nobody collects any more.
                    trySendBlocking(diffs)
                }
            }
        val subscription = observe(count, listener)
        launch {
            subscription.finished()
            close()
        }
        awaitClose { subscription.use { it.cancel() } }
    }.buffer(Channel.RENDEZVOUS)

/** As [updates], each time the whole list, oldest first: what a screen shows. */
fun Timeline.messages(count: UInt = 50u): Flow<List<Message>> =
    flow {
        var messages = emptyList<Message>()
        updates(count).collect { diffs ->
            messages = messages.after(diffs)
            emit(messages)
        }
    }

/** The list that [diffs] lead to from this one. */
fun List<Message>.after(diffs: List<TimelineDiff>): List<Message> {
    val messages = toMutableList()
    for (diff in diffs) {
        when (diff) {
            is TimelineDiff.Reset -> messages.apply { clear() }.addAll(diff.items)
            is TimelineDiff.Append -> messages.addAll(diff.items)
            is TimelineDiff.Insert -> messages.add(diff.index.toInt(), diff.item)
            is TimelineDiff.Set -> messages[diff.index.toInt()] = diff.item
            is TimelineDiff.Remove -> messages.removeAt(diff.index.toInt())
        }
    }
    return messages
}

/** Takes up an invitation; gives up after [timeout], and the link stays good. */
suspend fun Node.join(link: String, timeout: Duration): Space = join(link, timeout.toJavaDuration())

/** Makes an invitation that works once, within [valid], and returns its link. */
suspend fun Space.invite(valid: Duration): String = invite(valid.toJavaDuration())
