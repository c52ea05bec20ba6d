// Runs the sample in this process and does at its window what lines on the standard input say; answers each with `ok …`.
// Usage: DriveKt DIRECTORY MULTIADDR
import java.awt.AWTEvent
import java.awt.Component
import java.awt.Container
import java.awt.EventQueue
import java.awt.Toolkit
import java.awt.Window
import java.awt.image.BufferedImage
import java.io.File
import java.util.concurrent.CompletableFuture
import java.util.concurrent.TimeUnit
import javax.imageio.ImageIO
import javax.swing.JButton
import javax.swing.JFrame
import javax.swing.JLabel
import javax.swing.JList
import javax.swing.SwingUtilities
import javax.swing.text.JTextComponent
import org.clave.InboxItem

/** Looks after each event whether what is waited for is there: whatever changes on the screen, an event does it. */
object Waiting : EventQueue() {
    private val waiting = mutableListOf<Pair<() -> Any?, CompletableFuture<Any>>>()

    override fun dispatchEvent(event: AWTEvent) {
        super.dispatchEvent(event)
        look()
    }

    private fun look() {
        waiting.removeAll { (look, found) -> look()?.let(found::complete) ?: false }
    }

    @Suppress("UNCHECKED_CAST")
    fun <T : Any> until(what: String, look: () -> T?): T {
        val found = CompletableFuture<Any>()
        SwingUtilities.invokeLater { waiting.add(look to found) }
        return try {
            found.get(60, TimeUnit.SECONDS) as T
        } catch (_: java.util.concurrent.TimeoutException) {
            error("no $what; there is ${all().mapNotNull { (it as? JTextComponent)?.text ?: (it as? JLabel)?.text }}")
        }
    }
}

fun all(): List<Component> = Window.getWindows().filter { it.isShowing }.flatMap(::inside)

fun inside(one: Component): List<Component> = listOf(one) + if (one is Container) one.components.flatMap(::inside) else emptyList()

inline fun <reified C : Component> showing(noinline fits: (C) -> Boolean): () -> C? =
    { all().filterIsInstance<C>().firstOrNull { it.isShowing && fits(it) } }

fun textOf(name: String): String? = all().firstOrNull { it.name == name && it.isShowing }?.let {
    when (it) {
        is JTextComponent -> it.text
        is JLabel -> it.text
        is JList<*> -> (0..<it.model.size).joinToString(" | ") { row ->
            (it.model.getElementAt(row) as InboxItem).run { "${circle.name} ${preview.unread}" }
        }
        else -> null
    }
}

fun does(command: String, name: String, text: String): String {
    when (command) {
        // Presses come when the button is there, and do not wait for what they lead to: that may be a dialog.
        "press" -> "$name $text".trim().let { button ->
            val found = Waiting.until("button $button", showing<JButton> { it.text == button && it.isEnabled })
            SwingUtilities.invokeLater(found::doClick)
        }
        "answer" -> {
            val field = Waiting.until("question", showing<JTextComponent> { it.name == "OptionPane.textField" })
            SwingUtilities.invokeAndWait { field.text = "$name $text".trim() }
            return does("press", "OK", "")
        }
        "type" -> Waiting.until("$name to type in", showing<JTextComponent> { it.name == name && it.isEnabled }).let { field ->
            SwingUtilities.invokeAndWait { field.document.insertString(field.document.length, text.replace("\\n", "\n"), null) }
        }
        "sees" -> text.replace("\\n", "\n").let { wanted ->
            return Waiting.until("$wanted in $name") { textOf(name)?.takeIf { wanted in it } }
        }
        "choose" -> SwingUtilities.invokeAndWait {
            @Suppress("UNCHECKED_CAST") val list = showing<JList<*>> { it.name == name }()!! as JList<InboxItem>
            list.selectedIndex = (0..<list.model.size).first { list.model.getElementAt(it).circle.name == text }
        }
        "shot" -> {
            val pane = Waiting.until("window", showing<JFrame> { true }).contentPane
            // As Swing draws it: on the screen another window may lie over it.
            val picture = BufferedImage(pane.width, pane.height, BufferedImage.TYPE_INT_RGB)
            SwingUtilities.invokeAndWait { picture.createGraphics().also(pane::paint).dispose() }
            ImageIO.write(picture, "png", File(text))
        }
        "close" -> SwingUtilities.invokeLater { Window.getWindows().forEach(Window::dispose) }
        else -> error("what is $command?")
    }
    return ""
}

fun main(arguments: Array<String>) {
    Toolkit.getDefaultToolkit().systemEventQueue.push(Waiting)
    org.clave.sample.desktop.main(arguments)
    for (line in generateSequence(::readLine)) {
        val words = line.split(' ', limit = 3) + listOf("", "")
        val answer = try { "ok ${does(words[0], words[1], words[2])}" } catch (error: Exception) { "error $error" }
        println(answer.replace('\n', ' '))
        System.out.flush()
    }
}
