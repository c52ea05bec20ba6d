package org.clave.sample.android

import android.app.AlertDialog
import android.content.Intent
import android.graphics.Typeface
import android.os.Bundle
import android.text.Editable
import android.text.TextWatcher
import android.view.View
import android.widget.*
import androidx.activity.ComponentActivity
import androidx.activity.viewModels
import androidx.lifecycle.Lifecycle
import androidx.lifecycle.lifecycleScope
import androidx.lifecycle.repeatOnLifecycle
import kotlinx.coroutines.flow.collectLatest
import kotlinx.coroutines.flow.filterNotNull
import kotlinx.coroutines.launch
import org.clave.InboxItem
import org.clave.NoteEditor
import org.clave.sample.*

/** One screen: the circle on top, its messages, its note, and what to say. Draws what [Team.screen] says. */
class TeamActivity : ComponentActivity() {
    private val model: TeamViewModel by viewModels()
    private lateinit var circles: Spinner
    private lateinit var messages: TextView
    private lateinit var scroll: ScrollView
    private lateinit var note: EditText
    private lateinit var input: EditText
    private lateinit var trouble: Button
    private var items = emptyList<InboxItem>()
    /** Whose text the note's field shows; nobody's while this program itself changes it. */
    private var editor: NoteEditor? = null
    private var followed: NoteEditor? = null

    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        setContentView(views())
        if (model.team.value == null) if (model.isNew) welcome(null) else model.open("", null)
        lifecycleScope.launch {
            repeatOnLifecycle(Lifecycle.State.STARTED) {
                launch { model.refused.filterNotNull().collect(::welcome) }
                model.team.filterNotNull().collectLatest { team ->
                    launch { team.screen.collect { draw(team, it) } }
                    team.note.collectLatest(::follow)
                }
            }
        }
    }

    override fun onStart() { super.onStart(); model.visible() }

    override fun onStop() { super.onStop(); model.hidden() }

    private fun views(): View = LinearLayout(this).apply {
        orientation = LinearLayout.VERTICAL
        val edge = (16 * resources.displayMetrics.density).toInt()
        setPadding(edge, edge, edge, edge)
        circles = Spinner(context)
        messages = TextView(context).apply { textSize = 16f; setTextIsSelectable(true) }
        scroll = ScrollView(context).apply { addView(messages) }
        note = EditText(context).apply { hint = NOTE; isEnabled = false; minLines = 3; maxLines = 8 }
        input = EditText(context).apply { hint = "…"; isSingleLine = true }
        trouble = Button(context).apply { visibility = View.GONE }
        val wide = { weight: Float -> LinearLayout.LayoutParams(0, LinearLayout.LayoutParams.WRAP_CONTENT, weight) }
        addView(LinearLayout(context).apply { addView(circles, wide(1f)); addView(button("Invite") { it.invite(::share) }) })
        addView(scroll, LinearLayout.LayoutParams(LinearLayout.LayoutParams.MATCH_PARENT, 0, 1f))
        addView(TextView(context).apply { text = NOTE; typeface = Typeface.DEFAULT_BOLD })
        addView(note)
        addView(trouble)
        addView(LinearLayout(context).apply { addView(input, wide(1f)); addView(button("Send", ::send)) })
        circles.onItemSelectedListener = object : AdapterView.OnItemSelectedListener {
            override fun onItemSelected(parent: AdapterView<*>, view: View?, row: Int, id: Long) {
                val team = model.team.value ?: return
                val chosen = items.getOrNull(row)?.circle ?: return
                if (chosen.id != team.screen.value.circle?.id) team.show(chosen)
            }
            override fun onNothingSelected(parent: AdapterView<*>) {}
        }
        note.addTextChangedListener(object : TextWatcher {
            override fun afterTextChanged(text: Editable) { editor?.let { model.team.value?.wrote(it, text.toString()) } }
            override fun beforeTextChanged(text: CharSequence, start: Int, count: Int, after: Int) {}
            override fun onTextChanged(text: CharSequence, start: Int, before: Int, count: Int) {}
        })
    }

    private fun button(label: String, pressed: (Team) -> Unit) =
        Button(this).apply { text = label; setOnClickListener { model.team.value?.let(pressed) } }

    private fun send(team: Team) {
        val text = input.text.toString().trim()
        input.text.clear()
        if (text.isNotEmpty()) team.send(text, failed = { input.text.insert(0, text) })
    }

    private fun draw(team: Team, screen: Screen) {
        if (screen.circles != items) {
            items = screen.circles
            val names = items.map { it.circle.name + if (it.preview.unread > 0u) " (${it.preview.unread})" else "" }
            circles.adapter = ArrayAdapter(this, android.R.layout.simple_spinner_dropdown_item, names)
        }
        circles.setSelection(items.indexOfFirst { it.circle.id == screen.circle?.id }.coerceAtLeast(0))
        messages.text = screen.lines.joinToString("\n") { "${if (it.isMine) "" else it.who} ${it.time} ${if (it.failed) "✗ " else ""}${it.state}\n${it.text}\n" }
        scroll.post { scroll.fullScroll(View.FOCUS_DOWN) }
        val problem = screen.trouble
        trouble.visibility = if (problem == null) View.GONE else View.VISIBLE
        trouble.text = problem?.words
        trouble.setOnClickListener { problem?.retry?.invoke() }
    }

    /** Shows a note for as long as its circle is shown. */
    private suspend fun follow(next: NoteEditor?) {
        // The app was away for a while: the field still shows what this editor believes it shows.
        if (next !== followed) {
            editor = null
            note.setText("")
            note.isEnabled = false
            followed = next
        }
        next?.changes?.collect {
            next.refresh({ note.text.toString() }) { text, moved ->
                val cursor = moved(note.selectionStart.coerceAtLeast(0))
                editor = null
                note.setText(text)
                note.setSelection(cursor)
            }
            editor = next
            note.isEnabled = true
        }
    }

    /** Who are you, and were you invited? */
    private fun welcome(refused: String?) {
        val name = EditText(this).apply { hint = "Your name" }
        val link = EditText(this).apply { hint = "Invitation (leave it empty to make a space)" }
        val fields = LinearLayout(this).apply { orientation = LinearLayout.VERTICAL; addView(name); addView(link) }
        AlertDialog.Builder(this).setTitle("Team").setMessage(refused).setView(fields).setCancelable(false)
            .setPositiveButton(android.R.string.ok) { _, _ ->
                model.open(name.text.toString().trim(), link.text.toString().trim().ifEmpty { null })
            }.show()
    }

    private fun share(link: String) =
        startActivity(Intent.createChooser(Intent(Intent.ACTION_SEND).setType("text/plain").putExtra(Intent.EXTRA_TEXT, link), null))
}
