package org.clave

import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock

/**
 * Stands between a text field and a [Note] that several people write: what is typed is an edit of the version that the field
 * shows, so nobody overwrites anybody. To be used on one thread, the user interface's. It is for the bare text: a block of
 * the note (a heading, an item of a list) shows as a line.
 */
class NoteEditor(private val note: Note) {
    private var shown: NoteSnapshot? = null
    private val turn = Mutex()

    /** Emits at once, and when the note changed, whoever did it: time to [refresh]. */
    val changes: Flow<Unit> = note.snapshots().map {}

    /** The field has this text now. What others wrote since stays. Does nothing before the first [refresh]. */
    suspend fun wrote(text: String) = turn.withLock {
        val before = shown
        if (before == null || text == before.text) return@withLock
        val version = note.edit(before.version, listOf(difference(before.text, text)))
        shown = before.copy(text = text, version = version)
    }

    /**
     * Has the field show what is new: [display] is handed the text, and what says where a cursor stands in it. If the person
     * typed meanwhile ([field] tells what is there), nothing is shown: that is for [wrote] first, which leads here again.
     */
    suspend fun refresh(field: () -> String, display: (String, (Int) -> Int) -> Unit) = turn.withLock {
        val fresh = note.snapshot().run { copy(text = text.replace(BLOCK, '\n')) }
        val before = field()
        if (before != (shown?.text ?: before)) return@withLock
        shown = fresh
        if (fresh.text != before) display(fresh.text) { cursor -> moved(cursor, before, fresh.text) }
    }

    private companion object {
        /** Stands in a note's text where a block begins. */
        const val BLOCK = '\uFFFC'

        /** One splice that leads from one text to another. */
        fun difference(old: String, new: String): Splice {
            // A note counts code points, Kotlin UTF-16 units.
            val (from, to) = old.codePoints().toArray() to new.codePoints().toArray()
            val most = minOf(from.size, to.size)
            val start = (0..<most).find { from[it] != to[it] } ?: most
            val end = (0..<most - start).find { from[from.size - 1 - it] != to[to.size - 1 - it] } ?: (most - start)
            return Splice(start.toUInt(), (from.size - start - end).toUInt(), String(to, start, to.size - start - end))
        }

        /** The cursor stays before what it stood before. */
        fun moved(cursor: Int, old: String, new: String): Int {
            val start = old.commonPrefixWith(new).length
            return if (cursor <= start) cursor else (cursor + new.length - old.length).coerceIn(start, new.length)
        }
    }
}
