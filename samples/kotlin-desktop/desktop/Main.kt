// A window for it. Usage: MainKt DIRECTORY [MULTIADDR to listen on, and nowhere else]
package org.clave.sample.desktop

import java.awt.*
import java.awt.event.*
import java.util.concurrent.Executor
import javax.swing.*
import javax.swing.border.Border
import javax.swing.event.*
import javax.swing.text.*
import kotlinx.coroutines.*
import kotlinx.coroutines.flow.collectLatest
import org.clave.*
import org.clave.sample.*

private val SIDE = Color(0xF4F6F8)
private val RULE = Color(0xDDE2E7)
private val INK = Color(0x1C2430)
private val FAINT = Color(0x6B7785)
private val ACCENT = Color(0x1F6FEB)
private val ALARM = Color(0xB42318)

/** Circles, the messages of one, and its note. Draws what [Team.screen] says, and tells [team] what the person does. */
class TeamPanel(private val team: Team, scope: CoroutineScope) : JPanel(BorderLayout()) {
    private val items = DefaultListModel<InboxItem>()
    private val circles = JList(items).named("circles").apply { background = SIDE }
    private val title = JLabel().named("title").apply { font = font.deriveFont(Font.BOLD, 18f) }
    private val messages = JTextPane().named("messages").apply { isEditable = false; border = room(12, 18) }
    private val input = JTextField().named("input").apply { border = BorderFactory.createCompoundBorder(line(1, 1, 1, 1), room(8, 10)) }
    private val trouble = JLabel().named("trouble").apply { foreground = ALARM }
    private val retry = button("Try again") { team.screen.value.trouble?.retry?.invoke() }
    private val note = JTextArea().named("note").apply { lineWrap = true; wrapStyleWord = true; isEnabled = false }
    private var drawn = Screen()
    /** Whose text the note's area shows; nobody's while this program itself changes it. */
    private var editor: NoteEditor? = null

    init {
        circles.cellRenderer = ListCellRenderer { _, item, _, selected, _ -> cell(item, selected) }
        circles.addListSelectionListener { circles.selectedValue?.circle?.let { if (it.id != drawn.circle?.id) team.show(it) } }
        input.addActionListener { send() }
        note.document.addUndoableEditListener { editor?.let { team.wrote(it, note.text) } }
        val create = button("New circle…") { ask("What is the new circle about?")?.let(team::createCircle) }
        val head = panel(title, button("Invite…") { team.invite { show("Send this to one person, within a day:", it) } }, room(14, 18))
        val foot = JPanel(BorderLayout(0, 8)).apply { isOpaque = false; border = room(10, 16) }
        foot.add(panel(trouble, retry, room(0, 2)), BorderLayout.PAGE_START)
        foot.add(panel(input, button("Send", ::send), room(0, 0)))
        val left = stack(JLabel("Circles").apply { foreground = FAINT }, circles, create, SIDE, 210, room(16, 12))
        val right = stack(JLabel(NOTE).apply { font = title.font }, note, JLabel("All of you write here, at once").apply { foreground = FAINT; font = font.deriveFont(12f) },
            Color.WHITE, 290, BorderFactory.createCompoundBorder(line(0, 1, 0, 0), room(14, 16)))
        add(left, BorderLayout.LINE_START)
        add(stack(head, messages, foot, Color.WHITE, 0, room(0, 0)))
        add(right, BorderLayout.LINE_END)
        scope.launch { team.screen.collect(::draw) }
        scope.launch { team.note.collectLatest(::follow) }
    }

    private fun send() {
        val text = input.text.trim()
        input.text = ""
        if (text.isNotEmpty()) team.send(text, failed = { input.text = text + input.text })
    }

    private fun draw(screen: Screen) {
        val before = drawn
        drawn = screen
        title.text = screen.circle?.name
        trouble.text = screen.trouble?.words
        retry.isVisible = screen.trouble?.retry != null
        trouble.parent.isVisible = screen.trouble != null
        if (screen.lines != before.lines) write(screen.lines)
        items.clear()
        items.addAll(screen.circles)
        circles.selectedIndex = screen.circles.indexOfFirst { it.circle.id == screen.circle?.id }
    }

    private fun write(lines: List<Line>) {
        messages.text = ""
        for (line in lines) {
            say("${if (line.isMine) "" else line.who}  ${line.time}  ${line.state}\n", if (line.failed) ALARM else FAINT, 12, line.isMine)
            say("${line.text}\n", if (line.isMine) ACCENT else INK, 15, line.isMine)
        }
        messages.caretPosition = messages.document.length
    }

    private fun say(text: String, color: Color, size: Int, isMine: Boolean) {
        val style = SimpleAttributeSet()
        StyleConstants.setForeground(style, color)
        StyleConstants.setFontSize(style, size)
        StyleConstants.setAlignment(style, if (isMine) StyleConstants.ALIGN_RIGHT else StyleConstants.ALIGN_LEFT)
        StyleConstants.setSpaceBelow(style, if (size > 12) 8f else 1f)
        val start = messages.document.length
        messages.document.insertString(start, text, style)
        messages.styledDocument.setParagraphAttributes(start, text.length, style, false)
    }

    /** Shows a note for as long as its circle is shown. */
    private suspend fun follow(next: NoteEditor?) {
        editor = null
        note.text = ""
        note.isEnabled = false
        next?.changes?.collect {
            next.refresh({ note.text }) { text, moved ->
                val cursor = moved(note.caretPosition)
                editor = null
                note.text = text
                note.caretPosition = cursor
            }
            editor = next
            note.isEnabled = true
        }
    }
}

/** A circle, and what is unread in it. */
private fun cell(item: InboxItem, selected: Boolean): Component {
    fun label(text: String, ink: Color) = JLabel(text).apply { foreground = if (selected) Color.WHITE else ink }
    val unread = if (item.preview.unread > 0u) "${item.preview.unread}" else ""
    return panel(label(item.circle.name, INK), label(unread, ACCENT), room(8, 10)).apply { isOpaque = selected; background = ACCENT }
}

fun <C : JComponent> C.named(name: String): C = also { it.name = name }

private fun room(y: Int, x: Int) = BorderFactory.createEmptyBorder(y, x, y, x)
private fun line(top: Int, left: Int, bottom: Int, right: Int) = BorderFactory.createMatteBorder(top, left, bottom, right, RULE)
private fun button(text: String, pressed: () -> Unit) = JButton(text).named(text).apply { addActionListener { pressed() } }

private fun panel(wide: JComponent, end: JComponent, room: Border) =
    JPanel(BorderLayout(8, 0)).apply { border = room; isOpaque = false; add(wide); add(end, BorderLayout.LINE_END) }

private fun stack(top: JComponent, middle: JComponent, bottom: JComponent, color: Color, width: Int, room: Border) =
    JPanel(BorderLayout(0, 8)).apply {
        background = color
        border = room
        if (width > 0) preferredSize = Dimension(width, 0)
        add(top, BorderLayout.PAGE_START)
        add(JScrollPane(middle).apply { border = null; viewport.background = color })
        add(bottom, BorderLayout.PAGE_END)
    }

private fun ask(question: String): String? = JOptionPane.showInputDialog(null, question)?.trim()?.ifEmpty { null }
private fun show(sentence: String, link: String) =
    JOptionPane.showMessageDialog(null, arrayOf(sentence, JTextField(link, 40).named("link").apply { isEditable = false }), "Invite", JOptionPane.PLAIN_MESSAGE)

fun main(arguments: Array<String>) {
    val network = arguments.getOrNull(1)?.let { NetworkOptions(listen = listOf(it), mdns = false) } ?: NetworkOptions()
    // Without a passphrase whoever can read the directory can read everything.
    val options = NodeOptions(arguments[0], System.getenv("TEAM_PASSPHRASE"), network)
    // Everything happens on Swing's thread, as it does on Android's main thread.
    val scope = CoroutineScope(Executor(SwingUtilities::invokeLater).asCoroutineDispatcher() + SupervisorJob())
    scope.launch {
        System.setProperty("awt.useSystemAAFontSettings", "on")
        UIManager.setLookAndFeel(UIManager.getInstalledLookAndFeels().first { it.name == "Nimbus" }.className)
        UIManager.getLookAndFeelDefaults()["defaultFont"] = Font(Font.SANS_SERIF, Font.PLAIN, 14) // falls back for 中文
        val name = if (nodeExists(options.directory)) "" else ask("What is your name?") ?: return@launch scope.cancel()
        var link = if (nodeExists(options.directory)) null else ask("The link you were invited by (leave it empty to make a space)")
        var opened: Team? = null
        while (opened == null) {
            try {
                opened = Team.open(options, name, "desktop", link, scope)
            } catch (error: ClaveException) {
                link = ask("${error.reason()}\nAnother link, or nothing for a space of your own:")
            }
        }
        val frame = JFrame("Team")
        frame.contentPane = TeamPanel(opened, scope)
        frame.minimumSize = Dimension(980, 620)
        frame.defaultCloseOperation = JFrame.DISPOSE_ON_CLOSE
        frame.addWindowListener(object : WindowAdapter() {
            override fun windowClosed(event: WindowEvent) { scope.launch { opened.close(); scope.cancel() } }
        })
        frame.isVisible = true
    }
}
