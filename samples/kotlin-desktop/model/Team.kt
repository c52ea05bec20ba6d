// What the windows of a computer and of a phone show alike: no Swing here, and no Android.
package org.clave.sample

import java.text.DateFormat
import java.util.Date
import kotlin.time.Duration.Companion.days
import kotlin.time.Duration.Companion.minutes
import kotlinx.coroutines.*
import kotlinx.coroutines.flow.*
import org.clave.*

const val NOTE = "共享笔记"

/** All that is on the screen, but for the note. */
data class Screen(
    val circles: List<InboxItem> = emptyList(),
    val circle: CircleInfo? = null,
    val lines: List<Line> = emptyList(),
    val trouble: Trouble? = null,
)

/** [state] says in words how far it has come, if this device sent it. */
data class Line(val who: String, val time: String, val text: String, val isMine: Boolean, val state: String, val failed: Boolean)

/** What went wrong, for people, and what tries it again, where that may help. */
data class Trouble(val words: String, val retry: (() -> Unit)?)

/** A device with what it shows. Used on the user interface's thread alone, which is [scope]'s: nothing here blocks it. */
class Team private constructor(private val node: Node, private val scope: CoroutineScope) {
    val screen = MutableStateFlow(Screen())
    val note = MutableStateFlow<NoteEditor?>(null)
    private var watching: Job? = null

    init {
        scope.launch { node.inboxes().collect { items -> screen.update { it.copy(circles = items) } } }
    }

    /** Shows another circle: its messages and its note, as they are and as they become. */
    fun show(info: CircleInfo) {
        watching?.cancel()
        note.value = null
        screen.update { it.copy(circle = info, lines = emptyList()) }
        watching = attempt({ show(info) }) {
            val circle = node.circle(info.id)
            coroutineScope {
                launch { follow(circle) }
                circle.timeline().messages().collect { messages ->
                    screen.update { it.copy(lines = messages.map(::line)) }
                    circle.markRead()
                }
            }
        }
    }

    private suspend fun follow(circle: Circle) {
        // It may not have arrived yet.
        val found = node.until { circle.notes().find { it.title == NOTE } }
        note.value = NoteEditor(circle.note(found.id))
    }

    /** Kept on this device, and shown; how far it comes from here its line says. [failed] if it could not be kept. */
    fun send(text: String, failed: () -> Unit): Job {
        val circle = screen.value.circle!!.id
        return attempt(null, failed) { node.circle(circle).timeline().send(text) }
    }

    /** Makes a link that lets one person in within a day. A link carries addresses, so this device has to be reachable. */
    fun invite(ready: (String) -> Unit): Job =
        attempt({ invite(ready) }) { node.listening(); screen.value.circle?.let { ready(node.circle(it.id).invite(1.days)) } }

    /** Makes a circle of everybody who is here now, and shows it. */
    fun createCircle(name: String): Job = attempt({ createCircle(name) }) {
        val space = node.space(screen.value.circle!!.space)
        val made = space.createCircle(name, space.members().filter { !it.isMe }.map { it.person })
        made.createNote(NOTE)
        show(node.inbox().first { it.circle.id == made.id() }.circle)
    }

    /** What the person wrote into the note's editor. */
    fun wrote(editor: NoteEditor, text: String): Job = attempt({ wrote(editor, text) }) { editor.wrote(text) }

    /** Out of sight: no thread, socket or file stays open. What is shown goes on by itself after [wake]. */
    suspend fun sleep() = node.pause()
    suspend fun wake() = node.resume()
    suspend fun close() = node.shutdown()

    private fun line(message: Message) = message.run {
        val time = DateFormat.getTimeInstance(DateFormat.SHORT).format(Date(sentMs.toLong()))
        Line(author.name, time, body, author.isMe, said(state), state is MessageState.Failed)
    }

    /** From this device it goes to whoever is connected, now or later; others' messages have no state. */
    private fun said(state: MessageState?) = when (state) {
        null -> ""
        is MessageState.Queued -> "on this device only"
        is MessageState.Relayed -> "✓ at a relay"
        is MessageState.Delivered -> if (state.everybody) "✓✓" else "✓ on ${state.devices} devices"
        is MessageState.Failed -> state.error + if (state.retryable) " (it is tried again by itself)" else ""
    }

    /** Tells in words what went wrong; whether trying again may help, the error knows. */
    private fun attempt(again: (() -> Unit)?, failed: () -> Unit = {}, work: suspend () -> Unit): Job = scope.launch {
        screen.update { it.copy(trouble = null) }
        try {
            work()
        } catch (error: ClaveException) {
            failed()
            screen.update { it.copy(trouble = Trouble(error.reason(), again.takeIf { error.isRetryable() })) }
        }
    }

    companion object {
        /** Opens the device, or makes it for [person]; joins by [link], or makes a space if there is none yet. */
        suspend fun open(options: NodeOptions, person: String, device: String, link: String?, scope: CoroutineScope): Team {
            val node = if (nodeExists(options.directory)) Node.open(options) else Node.create(options, person, device)
            try {
                val joined = link?.let { node.join(it, 1.minutes) }
                val space = joined ?: node.spaces().firstOrNull() ?: node.createSpace("我们的团队").also { it.everybody().createNote(NOTE) }
                return Team(node, scope).also { team -> team.show(node.inbox().first { it.circle.space == space.id() }.circle) }
            } catch (error: Throwable) {
                node.shutdown()
                throw error
            }
        }
    }
}
