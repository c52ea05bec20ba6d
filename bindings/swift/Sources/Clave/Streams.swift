// What Swift has its own way for: sequences to await, and descriptions of errors. Everything else is the generated code.

import Foundation

extension Timeline {
    /// The `count` newest messages and everything that happens to them and after them, in batches of steps; the first step
    /// is `.reset`. Ends when the node is shut down; ending the iteration ends the observation.
    public func updates(count: UInt32 = 50) -> AsyncThrowingStream<[TimelineDiff], Error> {
        AsyncThrowingStream { continuation in
            let subscription = observe(count: count, listener: Forwarder(continuation: continuation))
            continuation.onTermination = { _ in subscription.cancel() }
            Task {
                do {
                    try await subscription.finished()
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
        }
    }
}

private final class Forwarder: TimelineListener {
    private let continuation: AsyncThrowingStream<[TimelineDiff], Error>.Continuation

    init(continuation: AsyncThrowingStream<[TimelineDiff], Error>.Continuation) {
        self.continuation = continuation
    }

    func onUpdate(diffs: [TimelineDiff]) throws {
        continuation.yield(diffs)
    }
}

extension Array where Element == Message {
    /// Does the steps of one batch.
    public mutating func apply(_ diffs: [TimelineDiff]) {
        for diff in diffs {
            switch diff {
            case let .reset(items): self = items
            case let .append(items): append(contentsOf: items)
            case let .insert(index, item): insert(item, at: Int(index))
            case let .set(index, item): self[Int(index)] = item
            case let .remove(index): remove(at: Int(index))
            }
        }
    }
}

extension ClaveError: LocalizedError {
    /// What happened and what to do next.
    public var errorDescription: String? { reason() }
}
