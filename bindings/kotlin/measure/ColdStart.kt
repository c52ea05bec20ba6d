// How long it takes from nothing to the first list, as an app in Kotlin has it: core/examples/cold_start.rs is the same in Rust.
// Argument: the directory of a device with one space. Prints three numbers of microseconds: until the library is loaded, from then
// to when the 50 newest messages are there, and the same for a second node in the same process.
import kotlin.system.exitProcess
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import org.clave.*

const val SHOWN = 50

/** Microseconds until the first list is there. */
suspend fun firstList(directory: String): Long {
    val begun = System.nanoTime()
    val node = Node.open(NodeOptions(directory))
    val first = node.spaces().single().timeline().updates(SHOWN.toUInt()).first()
    val taken = System.nanoTime() - begun
    val messages = (first.single() as TimelineDiff.Reset).items
    check(messages.size == SHOWN) { "${messages.size} messages" }
    node.shutdown()
    return taken / 1000
}

fun main(arguments: Array<String>) {
    val begun = System.nanoTime()
    version()
    val loading = (System.nanoTime() - begun) / 1000
    val (first, again) = runBlocking { firstList(arguments[0]) to firstList(arguments[0]) }
    println("$loading $first $again")
    exitProcess(0)
}
