// What Kotlin has its own way for: flows, and its own durations. Everything else is the generated code beside this.
package org.clave

import kotlin.time.Duration
import kotlin.time.toJavaDuration
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.channels.ProducerScope
import kotlinx.coroutines.channels.awaitClose
import kotlinx.coroutines.channels.trySendBlocking
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.callbackFlow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.launch

/**
 * The [count] newest messages and everything that happens to them and after them, in batches of steps; the first step is
 * [TimelineDiff.Reset]. Goes on over pauses, and ends when the node is shut down. While a collector is busy what happens is
 * gathered, so that a slow one gets few large batches and misses nothing. [pager] is handed what shows more of it.
 */
fun Timeline.updates(count: UInt = 50u, pager: (ObservedTimeline) -> Unit = {}): Flow<List<TimelineDiff>> =
    observed {
        val listener =
            object : TimelineListener {
                override fun onUpdate(diffs: List<TimelineDiff>) = hand(diffs)
            }
        val observed = observe(count, listener).also(pager)
        Ending(observed::finished) { observed.use { it.cancel() } }
    }

/** As [updates], each time the whole list, oldest first: what a screen shows. */
fun Timeline.messages(count: UInt = 50u, pager: (ObservedTimeline) -> Unit = {}): Flow<List<Message>> =
    flow {
        var messages = emptyList<Message>()
        updates(count, pager).collect { diffs ->
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

/** The inbox, each time the whole list, those circles first in which something was said last. */
fun Node.inboxes(): Flow<List<InboxItem>> =
    flow {
        val items = mutableListOf<InboxItem>()
        observed<List<InboxDiff>> {
                val listener =
                    object : InboxListener {
                        override fun onInbox(diffs: List<InboxDiff>) = hand(diffs)
                    }
                subscribed(observeInbox(listener))
            }
            .collect { diffs ->
                for (diff in diffs) {
                    when (diff) {
                        is InboxDiff.Reset -> items.apply { clear() }.addAll(diff.items)
                        is InboxDiff.Append -> items.addAll(diff.items)
                        is InboxDiff.Insert -> items.add(diff.index.toInt(), diff.item)
                        is InboxDiff.Set -> items[diff.index.toInt()] = diff.item
                        is InboxDiff.Remove -> items.removeAt(diff.index.toInt())
                    }
                }
                emit(items.toList())
            }
    }

/** The note as it is, and again each time it changed, whoever did it. */
fun Note.snapshots(): Flow<NoteSnapshot> = observed {
    val listener =
        object : NoteListener {
            override fun onNote(note: NoteSnapshot) = hand(note)
        }
    subscribed(observe(listener))
}

/** Who else is in the note, and where, and again each time that changed. */
fun Note.presence(): Flow<List<Present>> = observed { subscribed(observePresence(telling { hand(it) })) }

/** Who else is writing, and again each time somebody begins or stops. */
fun Timeline.typists(): Flow<List<Present>> = observed { subscribed(observeTyping(telling { hand(it) })) }

private fun telling(hand: (List<Present>) -> Unit) =
    object : PresenceListener {
        override fun onPresence(present: List<Present>) = hand(present)
    }

/** Everything that happens from now on: ask again for what is shown of it. */
fun Node.changes(): Flow<Change> = observed {
    val listener =
        object : ChangeListener {
            override fun onChange(change: Change) = hand(change)
        }
    subscribed(observe(listener))
}

/** How far a transfer is, until it is over. Collecting it or not makes no difference to the transfer. */
fun Transfer.steps(): Flow<Progress> =
    flow {
        var last: Progress? = progress()
        while (last != null) {
            emit(last)
            last = progressAfter(last)
        }
    }

/** Waits for the end of a transfer; whoever stops waiting gives it up. */
suspend fun Transfer.await(): List<String> =
    try {
        finished()
    } catch (cancelled: CancellationException) {
        cancel()
        throw cancelled
    }

/** Takes up an invitation; gives up after [timeout], and the link stays good. */
suspend fun Node.join(link: String, timeout: Duration): Space = join(link, timeout.toJavaDuration())

/** Gets what happened meanwhile from whoever can be reached, for [deadline] at most; see [Node.catchUp]. */
suspend fun Node.catchUp(deadline: Duration): CaughtUp = catchUp(deadline.toJavaDuration())

/** Makes a code to link a further device of this person with; see [Node.linkDevice]. */
suspend fun Node.linkDevice(valid: Duration, confirm: Boolean): LinkCode = linkDevice(valid.toJavaDuration(), confirm)

/** Makes an invitation that works once, within [valid], and returns its link. */
suspend fun Space.invite(valid: Duration): String = invite(valid.toJavaDuration())

/** Makes an invitation that works once, within [valid], and returns its link. */
suspend fun Circle.invite(valid: Duration): String = invite(valid.toJavaDuration())

/** When an observation is over, and how to end it. */
private class Ending(val finished: suspend () -> Unit, val cancel: () -> Unit)

private fun subscribed(subscription: Subscription) =
    Ending(subscription::finished) { subscription.use { it.cancel() } }

/** Waits for the collector: the listener may. Fails only when nobody collects any more. */
private fun <T> ProducerScope<T>.hand(item: T) {
    trySendBlocking(item)
}

private fun <T> observed(begin: ProducerScope<T>.() -> Ending): Flow<T> =
    callbackFlow {
            val ending = begin()
            launch {
                ending.finished()
                close()
            }
            awaitClose { ending.cancel() }
        }
        .buffer(Channel.RENDEZVOUS)
