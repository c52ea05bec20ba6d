// Three processes work together: this one, a second Swift process (Tests/Peer) and a Rust process (ffi/examples/counterpart.rs).

import Foundation
import XCTest

@testable import Clave

final class ScenarioTests: XCTestCase {
    func testThreeProcessesWorkTogether() async throws {
        let rust = try Other("CLAVE_COUNTERPART", directory())
        let his = directory()
        var peer = try Other("CLAVE_PEER", his)
        defer {
            rust.struckDown()
            peer.struckDown()
        }
        let link = String(try await rust.line().dropFirst("link ".count))
        let node = try await Node.create(options: options(), personName: "Джейн", deviceName: "Swift 1")
        let space = try await node.join(link, timeout: safety)
        let there = try await peer.ask("join \(try await space.invite(validFor: .seconds(3600)))")
        XCTAssertEqual(there, "团队 🥁")
        try await chat(space, peer, rust)
        try await notes(node, space, peer)
        try await files(space, peer)
        try await calendarAndSearch(space, peer)
        try await pausing(node, space, peer)
        peer = try await killedAndRestarted(space, peer, his)
        try await peer.ask("stop")
        try await peer.ends()
        try await devices(node, space)
        await node.shutdown()
        try await rust.ends()
    }

    private func chat(_ space: Space, _ peer: Other, _ rust: Other) async throws {
        let timeline = space.timeline()
        var updates = timeline.updates().makeAsyncIterator()
        let mine = try await timeline.send(body: "eins")
        let heard = try await rust.line()
        XCTAssertEqual(heard, "heard eins")
        try await peer.ask("sees echo: eins")
        try await peer.ask("send 二 🎉")
        try await timeline.edit(message: mine, body: "eins!")
        try await timeline.react(message: mine, reaction: "👍", present: true)
        var (shown, steps): ([Message], [TimelineDiff]) = ([], [])
        while !(shown.count >= 4 && shown.contains { $0.edited } && shown.contains { !$0.reactions.isEmpty }),
            let diffs = try await updates.next()
        {
            steps += diffs
            shown.apply(diffs)
        }
        guard case .reset = steps.first else { return XCTFail("the first step is \(steps[0])") }
        XCTAssertEqual(steps.filter { if case .reset = $0 { true } else { false } }.count, 1)
        XCTAssertEqual(shown.first { $0.id == mine }?.body, "eins!")
        try await peer.ask("sees echo: 二 🎉")
        let theirs = try await timeline.history(count: 10).first { !$0.author.isMe }
        await refused("not_allowed", retryable: false) {
            try await timeline.edit(message: theirs?.id ?? "", body: "not mine")
        }
        let unread = try await space.everybody().preview().unread
        XCTAssertGreaterThanOrEqual(unread, 2)
        try await space.everybody().markRead()
        let left = try await space.everybody().preview().unread
        XCTAssertEqual(left, 0)
    }

    private func notes(_ node: Node, _ space: Space, _ peer: Other) async throws {
        let note = try await space.everybody().createNote(title: "会议")
        let empty = try await note.snapshot()
        let begin = Splice(position: 0, delete: 0, insert: "你好世界")
        let mine = try await note.edit(version: empty.version, splices: [begin])
        let cursors = try await note.cursors(positions: [2])
        try await peer.ask("append 会议 ！")
        // Written on what was seen before that came.
        let before = Splice(position: 0, delete: 0, insert: "大家，")
        _ = try await note.edit(version: mine, splices: [before])
        for try await seen in note.snapshots() where seen.text == "大家，你好世界！" { break }
        let there = try await peer.ask("note 会议 大家，你好世界！")
        XCTAssertEqual(there, "大家，你好世界！")
        let positions = try await note.positions(cursors: cursors)
        XCTAssertEqual(positions, [5])
        await refused("argument.id", retryable: false) { try await note.edit(version: ["zz"], splices: []) }
        for try await inbox in node.inboxes() {
            XCTAssertEqual(inbox.map(\.circle.name), ["团队 🥁"])
            break
        }
    }

    private func files(_ space: Space, _ peer: Other) async throws {
        let source = directory()
        let content = Data((0..<(4 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) })
        try content.write(to: URL(fileURLWithPath: source))
        let drive = space.everybody().drive()
        let adding = try drive.add(source: source, name: "计划.bin", folder: nil)
        var last = Clave.Progress(doneBytes: 0, totalBytes: 0)
        for await step in adding.steps() { last = step }
        let file = try await adding.completed()[0]
        XCTAssertEqual(last, Clave.Progress(doneBytes: UInt64(content.count), totalBytes: UInt64(content.count)))
        let hash = content.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        let arrived = try await peer.ask("get 计划.bin")
        XCTAssertEqual(arrived, String(hash, radix: 16))
        let folder = try await drive.createFolder(name: "归档")
        try await drive.moveTo(id: file, folder: folder)
        let paths = try await drive.entries().map(\.path)
        XCTAssertEqual(paths, ["/归档", "/归档/计划.bin"])
        let missing = try drive.add(source: "/nowhere/to be found", name: "x", folder: nil)
        let reason = await refused("file", retryable: false) { try await missing.completed() }
        XCTAssertTrue(reason.contains("/nowhere/to be found"), reason)
    }

    private func calendarAndSearch(_ space: Space, _ peer: Other) async throws {
        let calendar = space.everybody().calendar()
        let weekly = EventPatch(summary: "周会", location: "三楼")
        try await calendar.add(uid: "uid-1@clave.test", start: "1970-06-01T09:00[Asia/Shanghai]", patch: weekly)
        // Day 151 of 1970 at nine; Shanghai is eight hours ahead.
        let start = 151 * 86_400_000 + (9 - 8) * 3_600_000
        let there = try await peer.ask("agenda 周会")
        XCTAssertEqual(there, "\(start) 三楼")
        await refused("not_found", retryable: true) { try await calendar.remove(uid: "nobody@clave.test") }
        let found = try await peer.ask("search 你好世界")
        XCTAssertEqual(found, "note")
    }

    private func pausing(_ node: Node, _ space: Space, _ peer: Other) async throws {
        let timeline = space.timeline()
        let watching = Task {
            var resets = 0
            for try await batch in timeline.updates(count: 10_000) {
                resets += batch.filter { if case .reset = $0 { true } else { false } }.count
            }
            return resets
        }
        let traffic = Task { for number in 0..<60 { try await peer.ask("send traffic \(number)") } }
        for round in 0..<5 {
            try await node.pause()
            XCTAssertTrue(node.isPaused())
            await refused("paused", retryable: true) { try await timeline.send(body: "no") }
            try await node.resume()
            _ = try await timeline.send(body: "between \(round)")
        }
        try await node.pause()
        try await traffic.value
        let all = try await node.catchUp(within: safety)
        XCTAssertTrue(all.completed && all.reached == 2, "\(all)")
        let bodies = Set(try await timeline.history(count: 10_000).map(\.body))
        XCTAssertTrue((0..<60).allSatisfy { bodies.contains("traffic \($0)") }, "some are lost")
        try await peer.ask("sees between 4")
        watching.cancel()
        let resets = try await watching.value
        XCTAssertEqual(resets, 1)
    }

    /// The process is killed while it writes. What it said was durable is there, and it goes on.
    private func killedAndRestarted(_ space: Space, _ peer: Other, _ directory: String) async throws -> Other {
        let acknowledged = (0..<20).map { "before the end \($0)" }
        for body in acknowledged { try await peer.ask("send \(body)") }
        try peer.tell("send the last word")
        peer.struckDown()
        let again = try Other("CLAVE_PEER", directory)
        try await again.ask("open")
        for body in acknowledged { try await again.ask("sees \(body)") }
        try await again.ask("send back again")
        _ = try await space.timeline().shown { Set($0).isSuperset(of: acknowledged + ["back again"]) }
        return again
    }

    private func devices(_ node: Node, _ space: Space) async throws {
        let code = try await node.linkDevice(validFor: .seconds(3600), confirm: false)
        let second = try await Node.link(options(), deviceName: "Swift tablet", code: code.text, timeout: safety)
        XCTAssertEqual(second.profile().person, node.profile().person)
        let there = try await second.spaces()[0]
        XCTAssertEqual(there.id(), space.id())
        let device = second.profile().device
        _ = try await node.until { try await node.devices().first { $0.device == device } }
        _ = try await space.timeline().send(body: "for both")
        _ = try await there.timeline().shown { $0.contains("for both") }
        try await node.revokeDevice(device: device)
        let left = try await node.devices().map(\.name)
        XCTAssertEqual(left, ["Swift 1"])
        _ = try await second.until { try await second.inbox().first { $0.circle.removed } }
        _ = try await space.timeline().send(body: "not for it")
        let seen = try await there.timeline().history(count: 10).map(\.body)
        XCTAssertFalse(seen.contains("not for it"))
        await second.shutdown()
    }
}
