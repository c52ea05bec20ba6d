// One device, or two in this process.

import Foundation
import XCTest

@testable import Clave

final class BasicTests: XCTestCase {
    func testTwoDevicesFindTogetherByAnInvitation() async throws {
        let alice = try await Node.create(options: options(), personName: "Alice", deviceName: "Swift")
        let bob = try await Node.create(options: options(), personName: "小波", deviceName: "Swift")
        let addresses = try await alice.listening()
        XCTAssertTrue(addresses.allSatisfy { $0.hasPrefix("/ip4/127.0.0.1/tcp/") }, "\(addresses)")
        let hers = try await alice.createSpace(name: "Team")
        let his = try await bob.join(try await hers.invite(validFor: .seconds(3600)), timeout: safety)
        XCTAssertEqual(his.id(), hers.id())
        _ = try await hers.timeline().send(body: "from Alice")
        _ = try await his.timeline().send(body: "from 小波")
        for space in [hers, his] {
            let seen = try await space.timeline().shown { $0.count == 2 }
            XCTAssertEqual(Set(seen.map(\.body)), ["from Alice", "from 小波"])
        }
        await alice.shutdown()
        await bob.shutdown()
    }

    func testErrorsArriveTypedWithCodeAndSentence() async throws {
        try await alone(passphrase: "correct horse") { node, timeline in
            let link = try await node.createSpace(name: "Other").invite(validFor: .seconds(3600))
            let tampered = link.dropLast(3) + (link.hasSuffix("AAA") ? "BBB" : "AAA")
            let reason = await refused("link.damaged", retryable: false) {
                try await node.join(String(tampered), timeout: safety)
            }
            XCTAssertEqual(
                reason, "this link is incomplete or was altered on its way: have it sent again, as a whole")
            await refused("link.not_a_link", retryable: false) { try await node.join("https://example.org", timeout: safety) }
            await refused("argument.name", retryable: false) { try await node.createSpace(name: "  ") }
            await refused("argument.id", retryable: false) { try await node.space(id: "nonsense") }
            await refused("argument.id", retryable: false) { try await timeline.history(count: 1, before: "nonsense") }
            await refused("identity.missing", retryable: false) { try await Node.open(options: options()) }
            do {
                _ = try await node.space(id: "nonsense")
            } catch ClaveError.Argument(let detail) {
                XCTAssertEqual(detail.code, "argument.id")
            }
        }
    }

    func testALoopThatIsLeftIsHeardNoMore() async throws {
        try await alone { _, timeline in
            var iterator: Watching<[TimelineDiff]>.Iterator? = timeline.updates().makeAsyncIterator()
            let first = try await iterator?.next()
            guard case .reset = first?.first else { return XCTFail("\(String(describing: first))") }
            weak var watch = iterator?.watch
            XCTAssertNotNil(watch)
            iterator = nil
            XCTAssertNil(watch)
            // A task that is cancelled while it waits ends, too.
            let waiting = Task {
                var batches = 0
                for try await _ in timeline.updates() { batches += 1 }
                return batches
            }
            waiting.cancel()
            let batches = try await waiting.value
            XCTAssertLessThanOrEqual(batches, 1)
            _ = try await timeline.send(body: "nobody listens")
        }
    }

    func testASlowReaderMissesNothing() async throws {
        try await alone { _, timeline in
            var updates = timeline.updates().makeAsyncIterator()
            var shown: [Message] = []
            for number in 0..<50 { _ = try await timeline.send(body: "\(number)") }
            while shown.count < 50, let diffs = try await updates.next() { shown.apply(diffs) }
            XCTAssertEqual(shown.map(\.body), (0..<50).map(String.init))
        }
    }

    func testAListenerMayThrowAndMayCallBackIn() async throws {
        try await alone { node, timeline in
            let throwing = timeline.observe(count: 50, listener: Throwing())
            let reason = await refused("argument.listener", retryable: false) { try await throwing.finished() }
            XCTAssertTrue(reason.hasPrefix("the listener failed ("), reason)
            let (answers, answer) = AsyncStream<Int>.makeStream()
            let asking = Asking {
                let (done, count) = (DispatchSemaphore(value: 0), Box<Int>())
                Task {
                    count.value = (try? await timeline.history(count: 10))?.count
                    done.signal()
                }
                done.wait()
                answer.yield(count.value ?? -1)
            }
            let subscription = timeline.observe(count: 50, listener: asking)
            _ = try await timeline.send(body: "still here")
            for await count in answers where count == 1 { break }
            subscription.cancel()
            try await subscription.finished()
        }
    }

    func testACancelledTaskEndsItsCall() async throws {
        try await alone { node, timeline in
            // Offline: it would wait for ever.
            let (begun, begins) = AsyncStream<Void>.makeStream()
            let waiting = (0..<100).map { _ in
                Task {
                    begins.yield()
                    return try await node.listening()
                }
            }
            var count = 0
            for await _ in begun {
                count += 1
                if count == waiting.count { break }
            }
            waiting.forEach { $0.cancel() }
            for task in waiting { await cancelled { try await task.value } }
            // One that is cancelled before it calls does not get through either.
            let late = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                return try await node.listening()
            }
            await cancelled { try await late.value }
            _ = try await timeline.send(body: "still works")
        }
    }

    func testCancellingAtAnyMomentHarmsNothing() async throws {
        try await alone { _, timeline in
            _ = try await timeline.send(body: "still here")
            // Some are cancelled before they begin, some while they are polled, some when they are done.
            let calls = (0..<2_000).map { number in
                Task {
                    let call = Task { try await timeline.history(count: 1).count }
                    for _ in 0..<number % 20 { await Task.yield() }
                    call.cancel()
                    return await call.result
                }
            }
            for call in calls {
                switch await call.value {
                case let .success(count): XCTAssertEqual(count, 1)
                case let .failure(error): XCTAssertTrue(error is CancellationError, "\(error)")
                }
            }
            let after = try await timeline.history(count: 10)
            XCTAssertEqual(after.count, 1)
        }
    }

    func testACancelledTaskGivesItsTransferUp() async throws {
        try await alone { node, timeline in
            let folder = directory()
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try Data(count: 8 << 20).write(to: URL(fileURLWithPath: folder + "/zeros"))
            let transfer = try await node.spaces()[0].everybody().drive().add(source: folder + "/zeros", name: "zeros", folder: nil)
            let waiting = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                return try await transfer.completed()
            }
            await cancelled { try await waiting.value }
            await refused("cancelled", retryable: false) { try await transfer.finished() }
        }
    }

    func testShutdownLetsGo() async throws {
        let options = options()
        XCTAssertFalse(nodeExists(directory: options.directory))
        let node = try await Node.create(options: options, personName: "Alice", deviceName: "Swift")
        XCTAssertTrue(nodeExists(directory: options.directory))
        let timeline = try await node.createSpace(name: "Team").timeline()
        _ = try await timeline.send(body: "你好")
        await refused("store.busy", retryable: true) { try await Node.open(options: options) }
        var updates = timeline.updates().makeAsyncIterator()
        _ = try await updates.next()
        await node.shutdown()
        let after = try await updates.next()
        XCTAssertNil(after)
        await refused("stopped", retryable: false) { try await timeline.send(body: "too late") }
        let again = try await Node.open(options: options)
        XCTAssertEqual(again.profile(), node.profile())
        let history = try await again.spaces()[0].timeline().history(count: 10)
        XCTAssertEqual(history.map(\.body), ["你好"])
        await again.shutdown()
    }
}

private final class Throwing: TimelineListener {
    struct Bug: Error {}

    func onUpdate(diffs: [TimelineDiff]) throws { throw Bug() }
}

private final class Asking: TimelineListener {
    private let ask: @Sendable () -> Void

    init(_ ask: @escaping @Sendable () -> Void) { self.ask = ask }

    func onUpdate(diffs: [TimelineDiff]) { ask() }
}

/// Written before a semaphore is signalled, read behind it.
private final class Box<Value>: @unchecked Sendable {
    var value: Value?
}
