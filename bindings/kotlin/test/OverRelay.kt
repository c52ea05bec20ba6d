// Two people who are never online together, and a real relay (clave-relay) that keeps for each what the other says.
import java.io.File
import kotlin.random.Random
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.milliseconds
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import org.clave.*

/** A relay on loopback, and its address. */
suspend fun relay(access: String = ""): Pair<Other, String> {
    val config = File(directory(), "relay.toml")
    config.writeText(
        """
        listen = ["/ip4/127.0.0.1/tcp/0"]
        data = "${config.parent}/data"
        $access
        [metrics]
        listen = "127.0.0.1:0"
        [log]
        level = "error"
        """.trimIndent(),
    )
    val relay = Other(relayProgram, "run", "--config", config.path)
    while (true) {
        val line = relay.line()
        if (line.startsWith(LISTENING)) return relay to line.removePrefix(LISTENING)
    }
}

const val LISTENING = "listening on "

/** The message as soon as it is so far. */
suspend fun Timeline.reached(id: String, enough: (MessageState?) -> Boolean): Message =
    messages(10_000u).first { all -> all.any { it.id == id && enough(it.state) } }.first { it.id == id }

suspend fun neverTogether() {
    val (server, address) = relay()
    val (hers, his) = online() to directory()
    val node = Node.create(hers, "Джейн", "JVM 1")
    var peer = secondJvm(his)
    try {
        val space = node.createSpace("团队 🥁")
        space.setRelays(listOf(address))
        val timeline = space.timeline()
        expect("the space's name there", peer.ask("join ${space.invite(1.hours)}"), "团队 🥁")
        peer.ask("stop")
        peer.ends()

        val content = File(directory(), "source").apply { writeBytes(Random(8).nextBytes(4 shl 20)) }
        space.everybody().drive().add(content.path, "计划.bin").await()
        val said = timeline.send("你不在的时候")
        timeline.reached(said) { it is MessageState.Relayed }
        while (space.everybody().waitingForRelays() > 0u) delay(50.milliseconds)
        node.pause()

        peer = secondJvm(his)
        peer.ask("open")
        peer.ask("sees 你不在的时候")
        expect("what arrived", peer.ask("get 计划.bin"), digest(content))
        peer.ask("send 我也在")
        peer.ask("relayed 我也在")
        peer.ask("stop")
        peer.ends()

        val caughtUp = node.catchUp(SAFETY)
        check(caughtUp.completed && caughtUp.relays == 1u) { "$caughtUp" }
        check(timeline.history(10u).any { it.body == "我也在" }) { "${timeline.history(10u)}" }
    } finally {
        peer.close()
        server.close()
        node.shutdown()
    }
}

/** A relay that is for some only says so, and takes what waited once it is shown its token. */
suspend fun refusedByARelay() {
    val (server, address) = relay("[access]\nmode = \"token\"\ntokens = [\"open sesame 芝麻开门\"]")
    val node = Node.create(online(), "Джейн", "JVM")
    try {
        val space = node.createSpace("团队 🥁")
        space.setRelays(listOf(address))
        val said = space.timeline().send("hört jemand?")
        val failed = space.timeline().reached(said) { it is MessageState.Failed }.state as MessageState.Failed
        check("token" in failed.error && !failed.retryable) { "$failed" }
        refused<ClaveException.Argument>("argument.token", false) { node.setRelayToken(address, " ") }
        node.setRelayToken(address, "open sesame 芝麻开门")
        space.timeline().reached(said) { it is MessageState.Relayed }
    } finally {
        server.close()
        node.shutdown()
    }
}
