// What the tests share: devices on loopback, and processes beside this one.

import Foundation
import XCTest

@testable import Clave

/// Everything here takes far less.
let safety = Duration.seconds(60)

let offline: NetworkOptions? = nil
let loopback = NetworkOptions(listen: ["/ip4/127.0.0.1/tcp/0"], mdns: false)

func directory() -> String {
    NSTemporaryDirectory() + "clave-swift-" + UUID().uuidString
}

func options(_ network: NetworkOptions? = loopback, passphrase: String? = nil) -> NodeOptions {
    NodeOptions(directory: directory(), passphrase: passphrase, network: network)
}

/// A device of its own, offline, with a space.
func alone(passphrase: String? = nil, _ use: (Node, Timeline) async throws -> Void) async throws {
    let options = options(offline, passphrase: passphrase)
    let node = try await Node.create(options: options, personName: "Alice", deviceName: "Swift")
    let space = try await node.createSpace(name: "Team")
    do {
        try await use(node, space.timeline())
    } catch {
        await node.shutdown()
        throw error
    }
    await node.shutdown()
    try FileManager.default.removeItem(atPath: options.directory)
}

/// That `call` is refused with this code; gives the sentence.
@discardableResult
func refused<T>(
    _ code: String, retryable: Bool, line: UInt = #line, _ call: () async throws -> T
) async -> String {
    do {
        _ = try await call()
        XCTFail("it was not refused", line: line)
    } catch let error as ClaveError {
        XCTAssertEqual(error.code(), code, line: line)
        XCTAssertEqual(error.isRetryable(), retryable, line: line)
        XCTAssertEqual(error.localizedDescription, error.reason(), line: line)
        return error.reason()
    } catch {
        XCTFail("\(error)", line: line)
    }
    return ""
}

/// That `call` ends because its task was cancelled.
func cancelled<T>(line: UInt = #line, _ call: () async throws -> T) async {
    do {
        _ = try await call()
        XCTFail("it went on to its end", line: line)
    } catch {
        XCTAssertTrue(error is CancellationError, "\(error)", line: line)
    }
}

extension Timeline {
    /// The list as soon as it is as wanted.
    func shown(count: UInt32 = 10_000, _ enough: ([String]) -> Bool) async throws -> [Message] {
        for try await messages in messages(count: count) where enough(messages.map(\.body)) {
            return messages
        }
        throw Missing(what: "messages")
    }
}

struct Missing: Error {
    let what: String
}

/// Another process, and what it says. A line is waited for on a thread of its own, never on one of Swift's few.
final class Other: @unchecked Sendable {
    let process = Process()
    private let (input, output) = (Pipe(), Pipe())
    private let queue = DispatchQueue(label: "lines of another process")
    // On the queue only.
    private var unread = Data()

    /// `program` is the name of the environment's variable that says where it lies.
    init(_ program: String, _ arguments: String...) throws {
        guard let path = ProcessInfo.processInfo.environment[program] else {
            throw Missing(what: "\(program): run the tests by linux.sh, which sets it")
        }
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.standardInput = input
        process.standardOutput = output
        try process.run()
    }

    func line() async throws -> String {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { [self] in
                while true {
                    if let end = unread.firstIndex(of: 10) {
                        let line = String(decoding: unread[unread.startIndex..<end], as: UTF8.self)
                        unread = Data(unread[(end + 1)...])
                        return continuation.resume(returning: line)
                    }
                    let more = output.fileHandleForReading.availableData
                    if more.isEmpty { return continuation.resume(throwing: Missing(what: "the other process ended")) }
                    unread.append(more)
                }
            }
        }
    }

    func tell(_ what: String) throws {
        try input.fileHandleForWriting.write(contentsOf: Data((what + "\n").utf8))
    }

    @discardableResult
    func ask(_ what: String, file: StaticString = #filePath, at line: UInt = #line) async throws -> String {
        try tell(what)
        let said = try await self.line()
        XCTAssertTrue(said.hasPrefix("ok"), "\(what): \(said)", file: file, line: line)
        return String(said.dropFirst(2)).trimmingCharacters(in: .whitespaces)
    }

    /// Its input ends, and it ends by itself.
    func ends() async throws {
        try input.fileHandleForWriting.close()
        while (try? await line()) != nil {}
        process.waitUntilExit()
        XCTAssertEqual(process.terminationStatus, 0)
    }

    /// No word of farewell.
    func struckDown() {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
    }
}
