// A device in a JVM process of its own, told what to do by lines on its standard input: `command argument…`. It answers each
// with one line, `ok …` or `error code`.
import java.io.File
import java.security.MessageDigest
import kotlin.system.exitProcess
import kotlin.time.Duration.Companion.milliseconds
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.clave.*

fun digest(file: File): String = MessageDigest.getInstance("SHA-256").digest(file.readBytes()).joinToString("") { "%02x".format(it) }

/** Waits until something that documents tell is there. */
suspend fun <T : Any> Node.until(read: suspend () -> T?): T {
    read()?.let { return it }
    return changes().map { read() }.first { it != null }!!
}

suspend fun Circle.noteCalled(node: Node, title: String): Note = note(node.until { notes().find { it.title == title } }.id)

class Peer(private val directory: String) {
    private lateinit var node: Node
    private lateinit var space: Space
    private val circle get() = space.everybody()

    private fun options() =
        NodeOptions(directory, network = NetworkOptions(listen = listOf("/ip4/127.0.0.1/tcp/0"), mdns = false))

    suspend fun does(command: String, argument: String): String {
        when (command) {
            "join" -> {
                node = Node.create(options(), "小波", "JVM 2")
                space = node.join(argument, SAFETY)
                return space.name()
            }
            "open" -> {
                node = Node.open(options())
                space = node.spaces().single()
            }
            "send" -> return space.timeline().send(argument)
            "sees" -> return space.timeline().messages(10_000u).map { all -> all.count { argument in it.body } }.first { it > 0 }.toString()
            "relayed" -> space.timeline().messages(10_000u)
                .first { all -> all.any { it.body == argument && it.state is MessageState.Relayed } }
            "count" -> return space.timeline().messageCount().toString()
            "append" -> {
                val (title, text) = argument.split(' ', limit = 2)
                val note = circle.noteCalled(node, title)
                val seen = note.snapshots().first { it.text.isNotEmpty() }
                note.edit(seen.version, listOf(Splice(seen.text.codePointCount(0, seen.text.length).toUInt(), 0u, text)))
            }
            "note" -> {
                val (title, text) = argument.split(' ', limit = 2)
                return circle.noteCalled(node, title).snapshots().first { it.text == text }.markdown
            }
            "get" -> {
                val drive = circle.drive()
                val file = node.until { drive.entries().find { it.name == argument } }
                val copy = File(directory, "copy")
                // Given up as soon as anything is here; a second try goes on from there.
                val given = drive.get(file.id, copy.path)
                given.steps().first { it.doneBytes > 0uL || it.totalBytes > 0uL }
                given.cancel()
                try { given.finished(); return "was not cancelled" } catch (_: ClaveException.Cancelled) {}
                check(!copy.exists()) { "half a file" }
                val steps = mutableListOf<Progress>()
                val transfer = drive.get(file.id, copy.path)
                transfer.steps().collect(steps::add)
                transfer.await()
                check(steps.zipWithNext().all { (a, b) -> a.doneBytes <= b.doneBytes }) { "$steps" }
                return digest(copy)
            }
            "agenda" -> {
                val day = 86_400_000L
                return node.until {
                    circle.calendar().agenda(0, 400 * day, "Asia/Shanghai").occurrences.find { it.summary == argument }
                }.let { "${it.startMs} ${it.location}" }
            }
            "search" -> return space.search(Search(argument)).found.map { it.kind }.toSet().sorted().joinToString(",")
            "stop" -> node.shutdown()
            else -> error("what is $command?")
        }
        return ""
    }
}

fun peer(directory: String): Nothing = runBlocking {
    val peer = Peer(directory)
    for (line in generateSequence(::readLine)) {
        val (command, argument) = line.split(' ', limit = 2).let { it[0] to it.getOrElse(1) { "" } }
        val answer = try { "ok " + withTimeout(SAFETY) { peer.does(command, argument) } }
            catch (error: ClaveException) { "error ${error.code()}: ${error.message}" }
            catch (error: Throwable) { "error $error" }
        println(answer.replace('\n', ' '))
        System.out.flush()
    }
    exitProcess(0)
}
