// Sequences to await, over listeners. Everything else is the generated code, and Durations.swift.

import Foundation

extension Timeline {
    /// The `count` newest messages and everything that happens to them and after them, in batches of steps; the first step
    /// is `.reset`. `pager` is handed what shows more of it.
    public func updates(
        count: UInt32 = 50, pager: @escaping @Sendable (ObservedTimeline) -> Void = { _ in }
    ) -> Watching<[TimelineDiff]> {
        watching(count, pager) { hand in TimelineTeller(hand.give) }
    }

    /// As `updates`, each time the whole list, oldest first: what a screen shows.
    public func messages(
        count: UInt32 = 50, pager: @escaping @Sendable (ObservedTimeline) -> Void = { _ in }
    ) -> Watching<[Message]> {
        watching(count, pager) { hand in
            let shown = Shown<Message>()
            return TimelineTeller { diffs in
                shown.items.apply(diffs)
                hand.give(shown.items)
            }
        }
    }

    private func watching<Element>(
        _ count: UInt32, _ pager: @escaping @Sendable (ObservedTimeline) -> Void,
        _ listener: @escaping @Sendable (Hand<Element>) -> TimelineTeller
    ) -> Watching<Element> {
        Watching { hand in
            let observed = self.observe(count: count, listener: listener(hand))
            pager(observed)
            return Observation(cancel: observed.cancel, finished: observed.finished)
        }
    }
}

extension Node {
    /// The inbox, each time the whole list, those circles first in which something was said last.
    public func inboxes() -> Watching<[InboxItem]> {
        Watching { hand in
            let shown = Shown<InboxItem>()
            let teller = InboxTeller { diffs in
                shown.items.apply(diffs)
                hand.give(shown.items)
            }
            return self.observeInbox(listener: teller).observation
        }
    }

    /// Everything that happens from now on: ask again for what is shown of it.
    public func changes() -> Watching<Change> {
        Watching { hand in self.observe(listener: ChangeTeller(hand.give)).observation }
    }

    /// Waits until `read` gives something: asked now, and whenever something happened. Gives nothing if the node is shut
    /// down before.
    public func until<Found: Sendable>(
        isolation: isolated (any Actor)? = #isolation, _ read: () async throws -> Found?
    ) async throws -> Found? {
        // It listens before anything is read.
        var changes = changes().makeAsyncIterator()
        repeat {
            if let found = try await read() { return found }
        } while try await changes.next() != nil
        return nil
    }
}

extension Note {
    /// The note as it is, and again each time it changed, whoever did it.
    public func snapshots() -> Watching<NoteSnapshot> {
        Watching { hand in self.observe(listener: NoteTeller(hand.give)).observation }
    }
}

extension Transfer {
    /// How far it is, until it is over. Reading it or not makes no difference to the transfer.
    public func steps() -> AsyncStream<Progress> {
        let last = Shown<Progress>()
        return AsyncStream {
            guard let before = last.items.popLast() else {
                last.items = [self.progress()]
                return last.items[0]
            }
            guard let next = await self.progressAfter(than: before) else { return nil }
            last.items = [next]
            return next
        }
    }

    /// Waits for the end; whoever stops waiting gives it up.
    public func completed() async throws -> [String] {
        try await withTaskCancellationHandler {
            try await finished()
        } onCancel: {
            cancel()
        }
    }
}

extension Note {
    /// Who else is in the note, and where, and again each time that changed.
    public func presence() -> AsyncThrowingStream<[Present], Error> {
        streamed { observePresence(listener: $0) }
    }
}

extension Timeline {
    /// Who else is writing, and again each time somebody begins or stops.
    public func typists() -> AsyncThrowingStream<[Present], Error> {
        streamed { observeTyping(listener: $0) }
    }
}

private func streamed(
    _ observe: (PresenceListener) -> Subscription
) -> AsyncThrowingStream<[Present], Error> {
    AsyncThrowingStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
        let subscription = observe(PresenceForwarder(continuation: continuation))
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

private final class PresenceForwarder: PresenceListener {
    private let continuation: AsyncThrowingStream<[Present], Error>.Continuation

    init(continuation: AsyncThrowingStream<[Present], Error>.Continuation) {
        self.continuation = continuation
    }

    func onPresence(present: [Present]) throws {
        continuation.yield(present)
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

extension Array where Element == InboxItem {
    /// Does the steps of one batch.
    public mutating func apply(_ diffs: [InboxDiff]) {
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

extension Subscription {
    fileprivate var observation: Observation { Observation(cancel: cancel, finished: finished) }
}

/// What was shown last. Only one touches it at a time: calls of a listener come one at a time, and so do those of an iterator.
private final class Shown<Item>: @unchecked Sendable {
    var items: [Item] = []
}

private final class TimelineTeller: TimelineListener {
    private let tell: @Sendable ([TimelineDiff]) -> Void

    init(_ tell: @escaping @Sendable ([TimelineDiff]) -> Void) { self.tell = tell }

    func onUpdate(diffs: [TimelineDiff]) { tell(diffs) }
}

private final class InboxTeller: InboxListener {
    private let tell: @Sendable ([InboxDiff]) -> Void

    init(_ tell: @escaping @Sendable ([InboxDiff]) -> Void) { self.tell = tell }

    func onInbox(diffs: [InboxDiff]) { tell(diffs) }
}

private final class NoteTeller: NoteListener {
    private let tell: @Sendable (NoteSnapshot) -> Void

    init(_ tell: @escaping @Sendable (NoteSnapshot) -> Void) { self.tell = tell }

    func onNote(note: NoteSnapshot) { tell(note) }
}

private final class ChangeTeller: ChangeListener {
    private let tell: @Sendable (Change) -> Void

    init(_ tell: @escaping @Sendable (Change) -> Void) { self.tell = tell }

    func onChange(change: Change) { tell(change) }
}
