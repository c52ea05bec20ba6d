// What stands between a listener, which is called on a thread of the node's, and whoever awaits what it is told.

import Foundation

/// What something is and becomes, as a sequence to await. Watching begins with the first iterator and ends with it: leave
/// the loop, cancel the task, or let go of the iterator.
///
/// While its reader is busy what happens is gathered, so that a slow one gets few large batches and misses nothing. It ends
/// when the node is shut down, and goes on over pauses.
public struct Watching<Element: Sendable>: AsyncSequence, Sendable {
    let begin: @Sendable (Hand<Element>) -> Observation

    public func makeAsyncIterator() -> Iterator {
        Iterator(watch: Watch(begin))
    }

    /// One reader: one task at a time.
    public struct Iterator: AsyncIteratorProtocol, Sendable {
        let watch: Watch<Element>

        public mutating func next() async throws -> Element? {
            try await watch.hand.take()
        }
    }
}

/// A subscription, whatever the generated code calls it.
struct Observation: Sendable {
    let cancel: @Sendable () -> Void
    let finished: @Sendable () async throws -> Void
}

/// Observes for as long as it is there.
final class Watch<Element: Sendable>: Sendable {
    let hand = Hand<Element>()
    private let observation: Observation

    init(_ begin: (Hand<Element>) -> Observation) {
        observation = begin(hand)
        Task { [hand, observation] in
            do {
                try await observation.finished()
                hand.end(.success(nil))
            } catch {
                hand.end(.failure(error))
            }
        }
    }

    deinit {
        hand.end(.success(nil))
        observation.cancel()
    }
}

/// Hands over one thing at a time; whoever gives waits for whoever takes.
///
/// A reader is resumed with nothing locked: `end` is called while Swift holds locks of the reader's task, which resuming takes too.
final class Hand<Element: Sendable>: @unchecked Sendable {
    // All below only while it is locked.
    private let condition = NSCondition()
    private var item: Element?
    private var reader: CheckedContinuation<Element?, any Error>?
    private var ending: Result<Element?, any Error>?

    /// Waits until what was given before is taken, or nobody wants anything any more.
    func give(_ given: Element) {
        let waiting = condition.withLock { () -> CheckedContinuation<Element?, any Error>? in
            while item != nil && ending == nil { condition.wait() }
            if ending == nil && reader == nil { item = given }
            return takeReader()
        }
        waiting?.resume(returning: given)
    }

    /// The next thing; nothing at the end, which the task's being cancelled is too.
    func take() async throws -> Element? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let there = condition.withLock { () -> Result<Element?, any Error>? in
                    if let taken = item {
                        item = nil
                        condition.broadcast()
                        return .success(taken)
                    }
                    if ending == nil {
                        precondition(reader == nil, "two tasks read one iterator: give each its own")
                        reader = continuation
                    }
                    return ending
                }
                if let there { continuation.resume(with: there) }
            }
        } onCancel: {
            end(.success(nil))
        }
    }

    /// Lets everybody who waits go.
    func end(_ how: Result<Element?, any Error>) {
        let waiting = condition.withLock { () -> CheckedContinuation<Element?, any Error>? in
            if ending != nil { return nil }
            ending = how
            condition.broadcast()
            return takeReader()
        }
        waiting?.resume(with: how)
    }

    private func takeReader() -> CheckedContinuation<Element?, any Error>? {
        defer { reader = nil }
        return reader
    }
}
