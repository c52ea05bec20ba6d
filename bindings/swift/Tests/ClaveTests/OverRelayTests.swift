// Two people who are never online together, and a real relay (clave-relay) that keeps for each what the other says.

import Foundation
import XCTest

@testable import Clave

final class OverRelayTests: XCTestCase {
    func testWhoIsNeverOnlineTogetherTalksOverARelay() async throws {
        let (relay, address) = try await startRelay()
        let his = directory()
        var peer = try Other("CLAVE_PEER", his)
        defer {
            relay.struckDown()
            peer.struckDown()
        }
        let node = try await Node.create(options: options(), personName: "Джейн", deviceName: "Swift 1")
        let space = try await node.createSpace(name: "团队 🥁")
        try await space.setRelays(addresses: [address])
        let there = try await peer.ask("join \(try await space.invite(validFor: .seconds(3600)))")
        XCTAssertEqual(there, "团队 🥁")
        try await peer.ask("stop")
        try await peer.ends()

        let said = try await space.timeline().send(body: "你不在的时候")
        _ = try await space.timeline().reached(said) { $0 == .relayed }
        try await node.pause()

        peer = try Other("CLAVE_PEER", his)
        try await peer.ask("open")
        try await peer.ask("sees 你不在的时候")
        try await peer.ask("send 我也在")
        try await peer.ask("relayed 我也在")
        try await peer.ask("stop")
        try await peer.ends()

        let caughtUp = try await node.catchUp(within: safety)
        XCTAssertTrue(caughtUp.completed && caughtUp.relays == 1, "\(caughtUp)")
        let bodies = try await space.timeline().history(count: 10).map(\.body)
        XCTAssertTrue(bodies.contains("我也在"), "\(bodies)")
        await node.shutdown()
    }

    /// A relay that is for some only says so, and takes what waited once it is shown its token.
    func testARelayThatIsForSomeOnlyIsShownItsToken() async throws {
        let (relay, address) = try await startRelay(access: "[access]\nmode = \"token\"\ntokens = [\"open sesame 芝麻开门\"]")
        defer { relay.struckDown() }
        let node = try await Node.create(options: options(), personName: "Джейн", deviceName: "Swift")
        let space = try await node.createSpace(name: "团队 🥁")
        try await space.setRelays(addresses: [address])
        let said = try await space.timeline().send(body: "hört jemand?")
        let state = try await space.timeline().reached(said) { if case .failed = $0 { true } else { false } }
        guard case .failed(let error, let retryable) = state else { return XCTFail("\(String(describing: state))") }
        XCTAssertTrue(error.contains("token") && !retryable, error)
        await refused("argument.token", retryable: false) { try await node.setRelayToken(relay: address, token: " ") }
        try await node.setRelayToken(relay: address, token: "open sesame 芝麻开门")
        _ = try await space.timeline().reached(said) { $0 == .relayed }
        await node.shutdown()
    }

    /// A relay on loopback, and its address.
    private func startRelay(access: String = "") async throws -> (Other, String) {
        let folder = directory()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let config = """
            listen = ["/ip4/127.0.0.1/tcp/0"]
            data = "\(folder)/data"
            \(access)
            [metrics]
            listen = "127.0.0.1:0"
            [log]
            level = "error"
            """
        try config.write(toFile: folder + "/relay.toml", atomically: true, encoding: .utf8)
        let relay = try Other("CLAVE_RELAY", "run", "--config", folder + "/relay.toml")
        let start = "listening on "
        while true {
            let line = try await relay.line()
            if line.hasPrefix(start) { return (relay, String(line.dropFirst(start.count))) }
        }
    }
}

extension Timeline {
    /// The message's state as soon as it is so far.
    fileprivate func reached(_ id: String, _ enough: (MessageState?) -> Bool) async throws -> MessageState? {
        for try await shown in messages(count: 10_000) {
            if let message = shown.first(where: { $0.id == id }), enough(message.state) { return message.state }
        }
        throw Missing(what: "the message")
    }
}
