// Many listeners made and dropped, many calls cancelled half way, listeners that call back in, from several threads: memory, handles
// and threads stay flat. `--leaks COUNT`; the count is of each.
import com.sun.jna.NativeLibrary
import java.io.File
import java.util.concurrent.atomic.AtomicInteger
import kotlin.io.path.createTempDirectory
import kotlin.system.exitProcess
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext
import kotlinx.coroutines.yield
import org.clave.*

const val THREADS = 4

/** What the process holds, as the system sees it. */
data class Held(val residentMb: Long, val files: Int, val threads: Int) {
    companion object {
        fun now(): Held {
            repeat(3) { System.gc(); System.runFinalization() }
            // What is free, and what the allocator (glibc's) would keep for the next time, goes back to the system first.
            NativeLibrary.getProcess().getFunction("malloc_trim").invokeInt(arrayOf(0L))
            val pages = File("/proc/self/statm").readText().split(' ')[1].toLong()
            return Held(pages * 4096 shr 20, File("/proc/self/fd").list()!!.size, File("/proc/self/task").list()!!.size)
        }
    }
}

/** So many times, on several threads at once. */
suspend fun often(count: Int, work: suspend (Int) -> Unit) = coroutineScope {
    repeat(THREADS) { thread -> launch(Dispatchers.Default) { for (n in thread..<count step THREADS) work(n) } }
}

suspend fun round(node: Node, timeline: Timeline, count: Int) {
    val called = AtomicInteger()
    often(count) {
        val listener = object : TimelineListener {
            override fun onUpdate(diffs: List<TimelineDiff>) { called.incrementAndGet() }
        }
        timeline.observe(5u, listener).use { observed -> if (it % 2 == 0) observed.cancel() }
    }
    often(count) {
        coroutineScope {
            val call = launch(start = kotlinx.coroutines.CoroutineStart.UNDISPATCHED) { node.listening() }
            call.cancel()
        }
    }
    // Calls back in, and ends itself from inside.
    often(count / 100) {
        val answered = kotlinx.coroutines.CompletableDeferred<Int>()
        val listener = object : TimelineListener {
            override fun onUpdate(diffs: List<TimelineDiff>) {
                answered.complete(runBlocking { timeline.history(1u).size + node.spaces().size })
            }
        }
        timeline.observe(1u, listener).use { check(answered.await() == 2) }
    }
}

fun leaks(count: Int): Nothing = runBlocking(Dispatchers.Default) {
    val directory = withContext(Dispatchers.IO) { createTempDirectory("clave-leaks") }
    val node = Node.create(NodeOptions(directory.toString()), "Ada", "JVM")
    val timeline = node.createSpace("Team").timeline()
    timeline.send("one")
    // What is made once, and what the allocators keep for the next time, is there after a round like the one that is looked at.
    round(node, timeline, count)
    println("after the first round: ${Held.now()}")
    round(node, timeline, count)
    val before = Held.now()
    val started = System.nanoTime()
    round(node, timeline, count)
    val seconds = (System.nanoTime() - started) / 1e9
    // Dropped listeners are let go of by tasks that may not have run yet.
    timeline.send("two")
    repeat(100) { yield() }
    val after = Held.now()
    println("$count listeners, $count cancelled calls, ${count / 100} that call back in: %.1f s; before $before, after $after".format(seconds))
    node.shutdown()
    directory.toFile().deleteRecursively()
    val flat = after.residentMb <= before.residentMb + 32 && after.files <= before.files + 4 && after.threads <= before.threads + 16
    println(if (flat) "flat" else "GREW")
    exitProcess(if (flat) 0 else 1)
}
