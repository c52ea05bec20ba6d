// The bindings' test: this JVM process against the real library, and against a Rust process (ffi/examples/counterpart.rs).
// Arguments: the counterpart's program, the relay's, a directory to work in. Prints a line per test and, last, how many passed and failed.
import java.io.File
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.TimeUnit
import kotlin.io.path.createTempDirectory
import kotlin.system.exitProcess
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeout
import kotlinx.coroutines.withTimeoutOrNull
import kotlinx.coroutines.yield
import org.clave.*

/** Everything here takes far less. */
val SAFETY = 60.seconds
const val TEXT = "你好，世界 — héllo 🎉 👩‍👩‍👧‍👦 नमस्ते \u0000 end"

lateinit var counterpart: String
lateinit var relayProgram: String
lateinit var work: File

fun directory(): String = createTempDirectory(work.toPath(), "node").toString()

fun options(directory: String = directory(), passphrase: String? = null) = NodeOptions(directory, passphrase)

fun online() =
    options().copy(network = NetworkOptions(listen = listOf("/ip4/127.0.0.1/tcp/0"), mdns = false))

suspend fun <T> alone(options: NodeOptions = options(), use: suspend (Node, Timeline) -> T): T {
    val node = Node.create(options, "Alice", "JVM")
    return try {
        use(node, node.createSpace("Team").timeline())
    } finally {
        node.shutdown()
    }
}

class Recorder(val then: () -> Unit = {}) : TimelineListener {
    val calls = ConcurrentLinkedQueue<List<TimelineDiff>>()

    fun messages() = calls.fold(emptyList<Message>()) { messages, diffs -> messages.after(diffs) }

    override fun onUpdate(diffs: List<TimelineDiff>) {
        calls.add(diffs)
        then()
    }
}

fun expect(what: String, actual: Any?, expected: Any?) = check(actual == expected) { "$what: $actual, not $expected" }

inline fun <reified E : ClaveException> refused(code: String, retryable: Boolean, call: () -> Unit): String {
    val error = try { call(); null } catch (error: ClaveException) { error }
    check(error is E) { "$error is no ${E::class.simpleName}" }
    expect("code", error.code(), code)
    expect("retryable", error.isRetryable(), retryable)
    expect("reason", error.reason(), error.message)
    expect("text", error.toString(), error.message)
    return error.message!!
}

suspend fun chatWithRust() {
    val rust = ProcessBuilder(counterpart, directory()).redirectError(ProcessBuilder.Redirect.INHERIT).start()
    val lines = rust.inputStream.bufferedReader(Charsets.UTF_8)
    suspend fun line() = withContext(Dispatchers.IO) { lines.readLine() ?: error("the Rust process ended") }
    val link = line().removePrefix("link ")
    val node = Node.create(online(), "Джейн", "JVM")
    try {
        val space = node.join(link, SAFETY)
        expect("name", space.name(), "团队 🥁")
        expect("members", space.members().map { Triple(it.name, it.role, it.isMe) },
            listOf(Triple("Rust 🦀", Role.OWNER, false), Triple("Джейн", Role.MEMBER, true)))
        val timeline = space.timeline()
        val batches = mutableListOf<List<TimelineDiff>>()
        val sent = timeline.send(TEXT)
        var messages = emptyList<Message>()
        timeline.updates().first { batches.add(it); messages = messages.after(it); messages.size == 2 }
        check(batches[0][0] is TimelineDiff.Reset) { "the first step is ${batches[0][0]}" }
        check(batches.drop(1).flatten().none { it is TimelineDiff.Reset }) { "a second Reset" }
        val (mine, answer) = messages.partition { it.author.isMe }.let { (mine, others) -> mine.single() to others.single() }
        expect("what was sent", mine.id to mine.body, sent to TEXT)
        expect("what Rust heard", line(), "heard $TEXT")
        expect("what Rust answered", answer.body, "echo: $TEXT")
        expect("who answered", answer.author.name, "Rust 🦀")
        expect("history", timeline.history(10u).map { it.body }.toSet(), setOf(TEXT, "echo: $TEXT"))
        expect("before", timeline.history(10u, before = messages[1].id), messages.take(1))
        val status = node.status()
        check(status.peers.size == 1 && status.receivedBytes > 0uL && status.storeBytes > 0uL) { "$status" }
        expect("refusals", status.refusals, emptyMap<String, ULong>())

        val late = Node.create(online(), "Late", "JVM")
        val reason = refused<ClaveException.Invitation>("invitation.used", false) { late.join(link, SAFETY) }
        check(reason.startsWith("this invitation was already used by someone else")) { reason }
        late.shutdown()
    } finally {
        node.shutdown()
        rust.outputStream.close()
    }
    expect("last line", line(), "bye")
    check(rust.waitFor(60, TimeUnit.SECONDS) && rust.exitValue() == 0) { "the Rust process failed" }
}

suspend fun twoOnTheJvm() {
    val (alice, bob) = Node.create(online(), "Alice", "JVM") to Node.create(online(), "小波", "JVM")
    check(alice.listening().single().startsWith("/ip4/127.0.0.1/tcp/"))
    val hers = alice.createSpace("Team")
    val his = bob.join(hers.invite(1.hours), SAFETY)
    expect("id", his.id(), hers.id())
    hers.timeline().send("from Alice")
    his.timeline().send("from 小波")
    for (space in listOf(hers, his)) {
        val seen = space.timeline().messages().first { it.size == 2 }
        expect("bodies", seen.map { it.body }.toSet(), setOf("from Alice", "from 小波"))
    }
    alice.shutdown()
    bob.shutdown()
}

suspend fun typedErrors() = alone(options(passphrase = "correct horse")) { node, timeline ->
    val link = node.createSpace("Other").invite(1.hours)
    val tampered = link.dropLast(3) + (if (link.endsWith("AAA")) "BBB" else "AAA")
    val reason = refused<ClaveException.Link>("link.damaged", false) { node.join(tampered, SAFETY) }
    expect("sentence", reason,
        "this link is incomplete or was altered on its way: have it sent again, as a whole")
    refused<ClaveException.Link>("link.not_a_link", false) { node.join("https://example.org", SAFETY) }
    refused<ClaveException.Argument>("argument.name", false) { node.createSpace("  ") }
    refused<ClaveException.Argument>("argument.id", false) { node.space("nonsense") }
    refused<ClaveException.Argument>("argument.id", false) { timeline.history(1u, "nonsense") }
    refused<ClaveException.Identity>("identity.missing", false) { Node.open(options()) }
    val bad = online().copy(network = NetworkOptions(listen = listOf("nowhere")))
    refused<ClaveException.Network>("network.address", false) { Node.create(bad, "A", "B") }
}

suspend fun cancelStops() = alone { _, timeline ->
    val (cancelled, witness) = Recorder() to Recorder()
    val subscription = timeline.observe(50u, cancelled)
    timeline.send("heard")
    while (cancelled.messages().isEmpty()) yield()
    subscription.cancel()
    subscription.finished()
    val calls = cancelled.calls.size
    timeline.observe(50u, witness).use {
        for (n in 0..<20) timeline.send("unheard $n")
        while (witness.messages().size < 21) yield()
    }
    expect("calls after cancel", cancelled.calls.size, calls)
    // A collector that has had enough leaves nothing behind that would keep the node from shutting down.
    expect("one batch", timeline.updates().take(1).toList().size, 1)
}

suspend fun listenersMayMisbehave() = alone { node, timeline ->
    val throws = timeline.observe(50u, Recorder { error("a bug in the app") })
    val reason = refused<ClaveException.Argument>("argument.listener", false) { throws.finished() }
    check(reason.startsWith("the listener failed (java.lang.IllegalStateException: a bug in the app)")) { reason }
    // One that calls back in, and waits for the answer.
    val answers = ConcurrentLinkedQueue<Int>()
    val back = timeline.observe(50u, Recorder { runBlocking { answers.add(timeline.history(10u).size + node.spaces().size) } })
    while (answers.isEmpty()) yield()
    expect("answer from inside a listener", answers.peek(), 1)
    timeline.send("still here")
    while (answers.last() != 2) yield()
    back.cancel()
}

suspend fun cancelledCalls() = alone { node, timeline ->
    // Offline: it would wait for ever.
    repeat(100) {
        val given = withTimeoutOrNull(1.milliseconds) { node.listening() }
        expect("addresses", given, null)
    }
    timeline.send("still works")
    coroutineScope {
        launch { refused<ClaveException.Stopped>("stopped", false) { node.listening() } }
        yield()
        node.shutdown()
    }
}

suspend fun shutdownLetsGo() {
    val before = threads()
    val options = online()
    check(!nodeExists(options.directory))
    val node = Node.create(options, "Alice", "JVM")
    check(nodeExists(options.directory))
    val timeline = node.createSpace("Team").timeline()
    timeline.send(TEXT)
    check(!before.containsAll(threads())) { "how are they called?" }
    refused<ClaveException.Store>("store.busy", true) { Node.open(options) }
    coroutineScope {
        // It ends with the node.
        val started = CompletableDeferred<Unit>()
        launch { timeline.updates().onEach { started.complete(Unit) }.collect() }
        started.await()
        repeat(2) { launch { node.shutdown() } }
    }
    refused<ClaveException.Stopped>("stopped", false) { timeline.send("too late") }
    val again = Node.open(options)
    expect("profile", again.profile(), node.profile())
    expect("history", again.spaces().single().timeline().history(10u).map { it.body }, listOf(TEXT))
    again.shutdown()
    // futures-timer's, of which there is one per process, may have begun meanwhile.
    check((threads() - before).size <= 1) { "still running: ${threads() - before}" }
}

/** The library's threads in this process, by their ids, as the system sees them. */
fun threads(): Set<String> =
    File("/proc/self/task").listFiles().orEmpty()
        .filter { try { File(it, "comm").readText().startsWith("clave") } catch (_: java.io.IOException) { false } }
        .map { it.name }.toSet()

fun main(arguments: Array<String>) {
    if (arguments[0] == "--peer") peer(arguments[1])
    if (arguments[0] == "--leaks") leaks(arguments[1].toInt())
    counterpart = arguments[0]
    relayProgram = arguments[1]
    work = File(arguments[2])
    println("clave ${version()}, Kotlin ${KotlinVersion.CURRENT}, Java ${Runtime.version().feature()}")
    val tests = listOf<Pair<String, suspend () -> Unit>>(
        "a JVM process and a Rust process talk to each other" to ::chatWithRust,
        "two JVM processes and a Rust process work together" to ::scenario,
        "two JVM processes that are never online together talk over a relay" to ::neverTogether,
        "a relay that is for some only is shown its token" to ::refusedByARelay,
        "two devices on the JVM find together by an invitation" to ::twoOnTheJvm,
        "errors arrive typed, with code and sentence" to { typedErrors() },
        "a cancelled subscription is silent" to { cancelStops() },
        "a listener may throw, and may call back in" to { listenersMayMisbehave() },
        "a cancelled call harms nothing" to { cancelledCalls() },
        "shutdown lets go of the directory and of every thread" to ::shutdownLetsGo,
    )
    var failed = 0
    for ((name, test) in tests) {
        val started = System.nanoTime()
        val error = try { runBlocking(Dispatchers.Default) { withTimeout(SAFETY) { test() } }; null } catch (error: Throwable) { error }
        println("${if (error == null) "ok    " else "FAILED"} $name (${(System.nanoTime() - started) / 1_000_000} ms)")
        error?.printStackTrace(System.out)
        if (error != null) failed++
    }
    println("${tests.size - failed} passed, $failed failed")
    exitProcess(if (failed == 0) 0 else 1)
}
