// Three processes work together: this JVM, a second JVM (Peer.kt) and a Rust process (ffi/examples/counterpart.rs).
import java.io.BufferedReader
import java.io.File
import java.util.concurrent.TimeUnit
import kotlin.random.Random
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.toJavaDuration
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.clave.*

/** Another process, and what it says. */
class Other(vararg command: String) : AutoCloseable {
    val process: Process = ProcessBuilder(*command).redirectError(ProcessBuilder.Redirect.INHERIT).start()
    private val lines: BufferedReader = process.inputStream.bufferedReader(Charsets.UTF_8)

    suspend fun line(): String = withContext(Dispatchers.IO) { lines.readLine() ?: error("the other process ended") }

    suspend fun ask(what: String): String {
        tell(what)
        return answer()
    }

    suspend fun tell(what: String) = withContext(Dispatchers.IO) {
        process.outputStream.write("$what\n".toByteArray())
        process.outputStream.flush()
    }

    suspend fun answer(): String {
        val said = line()
        check(said.startsWith("ok")) { said }
        return said.removePrefix("ok").trim()
    }

    suspend fun ends() {
        process.outputStream.close()
        check(withContext(Dispatchers.IO) { process.waitFor(60, TimeUnit.SECONDS) }) { "it does not end" }
        check(process.exitValue() == 0) { "it ended with ${process.exitValue()}" }
    }

    override fun close() {
        process.destroyForcibly()
    }
}

fun secondJvm(directory: String): Other {
    val program = ProcessHandle.current().info().command().get()
    val options = java.lang.management.ManagementFactory.getRuntimeMXBean().inputArguments
    return Other(program, *options.toTypedArray(), "-Dstdout.encoding=UTF-8", "-Dfile.encoding=UTF-8",
        "-cp", System.getProperty("java.class.path"), "MainKt", "--peer", directory)
}

/** Says which step it is, so that a log shows where it stopped. */
suspend fun step(name: String, step: suspend () -> Unit) {
    val started = System.nanoTime()
    print("       $name")
    step()
    println(" ${(System.nanoTime() - started) / 1_000_000} ms")
}

suspend fun scenario() {
    val (hers, his) = online() to directory()
    Other(counterpart, directory()).use { rust ->
        val link = rust.line().removePrefix("link ")
        var peer = secondJvm(his)
        val node = Node.create(hers, "Джейн", "JVM 1")
        try {
            val space = node.join(link, SAFETY)
            expect("the space's name there", peer.ask("join ${space.invite(1.hours)}"), "团队 🥁")
            step("chat") { chat(space, peer, rust) }
            step("notes") { notes(node, space, peer) }
            step("files") { files(node, space, peer) }
            step("calendarAndSearch") { calendarAndSearch(space, peer) }
            step("pausing") { pausing(node, space, peer) }
            step("killedAndRestarted") { peer = killedAndRestarted(space, peer, his) }
            peer.ask("stop")
            peer.ends()
            step("devices") { devices(node, space) }
        } finally {
            peer.close()
            node.shutdown()
        }
        rust.process.outputStream.close()
        while (rust.line() != "bye") {}
        rust.ends()
    }
}

suspend fun chat(space: Space, peer: Other, rust: Other) = coroutineScope {
    val batches = mutableListOf<List<TimelineDiff>>()
    val seen = async {
        var messages = emptyList<Message>()
        space.timeline().updates().first { batches += it; messages = messages.after(it); messages.size >= 4 && messages.any { it.edited } && messages.any { it.reactions.isNotEmpty() } }
        messages
    }
    val mine = space.timeline().send("eins")
    rust.line().let { expect("heard by Rust", it, "heard eins") }
    peer.ask("sees echo: eins")
    peer.ask("send 二 🎉")
    // The counterpart answers that, too: three of them at least.
    space.timeline().edit(mine, "eins!")
    space.timeline().react(mine, "👍", true)
    val messages = seen.await()
    check(batches[0][0] is TimelineDiff.Reset && batches.flatten().count { it is TimelineDiff.Reset } == 1) { "$batches" }
    expect("what is shown", messages.find { it.id == mine }?.body, "eins!")
    peer.ask("sees echo: 二 🎉")
    refused<ClaveException.NotAllowed>("not_allowed", false) {
        space.timeline().edit(space.timeline().history(10u).first { !it.author.isMe }.id, "not mine")
    }
    val unread = space.everybody().preview().unread
    check(unread >= 2u) { "$unread" }
    space.everybody().markRead()
    expect("unread", space.everybody().preview().unread, 0u)
}

suspend fun notes(node: Node, space: Space, peer: Other) {
    val note = space.everybody().createNote("会议")
    val empty = note.snapshot()
    val mine = note.edit(empty.version, listOf(Splice(0u, 0u, "你好世界")))
    val cursor = note.cursors(listOf(2u))
    peer.ask("append 会议 ！")
    // Written on what was seen before that came.
    note.edit(mine, listOf(Splice(0u, 0u, "大家，")))
    val both = note.snapshots().first { it.text == "大家，你好世界！" }
    expect("there", peer.ask("note 会议 大家，你好世界！"), both.markdown.trim())
    expect("the cursor", note.positions(cursor), listOf(5u))
    refused<ClaveException.Argument>("argument.id", false) { note.edit(listOf("zz"), emptyList()) }
    expect("the list", space.everybody().notes().map { it.title }, listOf("会议"))
    check(node.inboxes().first().single().circle.name == "团队 🥁")
}

suspend fun files(node: Node, space: Space, peer: Other) {
    val source = File(directory(), "source").apply { writeBytes(Random(7).nextBytes(16 shl 20)) }
    val drive = space.everybody().drive()
    val adding = drive.add(source.path, "计划.bin")
    val last = adding.steps().run { var last = Progress(0u, 0u); collect { last = it }; last }
    val file = adding.await().single()
    expect("progress", last, Progress(source.length().toULong(), source.length().toULong()))
    expect("what arrived", peer.ask("get 计划.bin"), digest(source))
    val folder = drive.createFolder("归档")
    drive.moveTo(file, folder)
    expect("where it is", drive.entries().map { it.path }, listOf("/归档", "/归档/计划.bin"))
    drive.rename(file, "方案.bin")
    drive.trash(file)
    expect("in the trash", drive.entries().single { it.id == file }.trashed, true)
    drive.restore(file)
    expect("restored", drive.resolve("/归档/方案.bin"), file)
    val missing = drive.add("/nowhere/to be found", "x")
    val reason = refused<ClaveException.File>("file", false) { missing.await() }
    check("/nowhere/to be found" in reason) { reason }
    check(node.debugDump().startsWith("clave ")) { "no dump" }
}

suspend fun calendarAndSearch(space: Space, peer: Other) {
    val calendar = space.everybody().calendar()
    calendar.add("uid-1@clave.test", "1970-06-01T09:00[Asia/Shanghai]", EventPatch(summary = "周会", location = "三楼"))
    val start = java.time.ZonedDateTime.parse("1970-06-01T09:00+08:00[Asia/Shanghai]").toInstant().toEpochMilli()
    expect("there", peer.ask("agenda 周会"), "$start 三楼")
    calendar.update("uid-1@clave.test", EventPatch(location = "四楼"))
    check("LOCATION:四楼" in calendar.exportIcs())
    refused<ClaveException.NotFound>("not_found", true) { calendar.remove("nobody@clave.test") }
    refused<ClaveException.Argument>("argument.invalid", false) { calendar.add("u", "soon", EventPatch()) }
    expect("found", peer.ask("search 你好世界"), "NOTE")
    val found = space.search(Search("方案")).found.single()
    expect("a file", found.kind, DocumentKind.DRIVE)
    val match = found.matches.single()
    expect("where", found.snippet.substring(match.start.toInt(), match.end.toInt()), "方案")
}

suspend fun pausing(node: Node, space: Space, peer: Other) = coroutineScope {
    val timeline = space.timeline()
    var resets = 0
    val watching = launch {
        timeline.updates(10_000u).collect { batch -> resets += batch.count { it is TimelineDiff.Reset } }
    }
    val traffic = async { for (number in 0..<60) peer.ask("send traffic $number") }
    var refused = 0
    repeat(5) {
        node.pause()
        check(node.isPaused())
        refused<ClaveException.Paused>("paused", true) { timeline.send("no") }
        refused++
        node.resume()
        timeline.send("between $it")
    }
    node.pause()
    print(" paused")
    traffic.await()
    print(" heard")
    val nothing = node.catchUp(Duration.ZERO)
    check(!nothing.completed || nothing.reached == 0u) { "$nothing" }
    val all = node.catchUp(SAFETY)
    check(all.completed && all.reached == 2u) { "$all" }
    print(" caught up")
    val bodies = timeline.history(10_000u).map { it.body }.toSet()
    check((0..<60).all { "traffic $it" in bodies }) { "some are lost: $bodies, ${node.debugDump()}" }
    print(" complete")
    peer.ask("sees between 4")
    timeline.send("after")
    timeline.messages(10_000u).first { all -> all.any { it.body == "after" } }
    watching.cancel()
    check(resets <= 1) { "$resets resets" }
    expect("refused", refused, 5)
}

/** The process is killed while it writes. What it said was durable is there, and it goes on. */
suspend fun killedAndRestarted(space: Space, peer: Other, directory: String): Other {
    val acknowledged = (0..<20).map { peer.ask("send before the end $it"); "before the end $it" }
    peer.tell("send the last word")
    peer.process.destroyForcibly().waitFor()
    val again = secondJvm(directory)
    again.ask("open")
    for (body in acknowledged) again.ask("sees $body")
    again.ask("send back again")
    space.timeline().messages(10_000u).first { all -> all.any { it.body == "back again" } }
    val bodies = space.timeline().messages(10_000u).first { all -> acknowledged.all { body -> all.any { it.body == body } } }
    check(bodies.size > 20)
    return again
}

suspend fun devices(node: Node, space: Space) {
    val code = node.linkDevice(1.hours, false)
    val second = Node.link(online(), "JVM tablet", code.text, SAFETY.toJavaDuration(), null)
    try {
        expect("whose", second.profile().person, node.profile().person)
        val there = second.spaces().single()
        expect("the same space", there.id(), space.id())
        val device = second.profile().device
        node.until { node.devices().find { it.device == device } }
        space.timeline().send("for both")
        there.timeline().messages(10_000u).first { all -> all.any { it.body == "for both" } }
        node.revokeDevice(device)
        expect("devices left", node.devices().map { it.name }, listOf("JVM 1"))
        second.until { second.inbox().single().circle.takeIf { it.removed } }
        space.timeline().send("not for it")
        check(there.timeline().history(10_000u).none { it.body == "not for it" })
        check(space.everybody().audit().any { "revoked" in it.sentence }) { "${space.everybody().audit().map { it.sentence }}" }
    } finally {
        second.shutdown()
    }
}
