// What the terminal shows of a device.

import Clave
import Foundation

let noteTitle = "共享笔记"
let help = """
      anything        is said in the circle that is shown
      /circles        your circles, and what is unread
      /go NUMBER      shows another circle
      /circle NAME    makes a circle of everybody who is here now
      /invite         makes a link that lets one person in, within a day
      /note           shows the note of this circle
      /add TEXT       adds a line to it
      /change A => B  puts B in the place of A in it
      /again          sends again what could not be kept
      /quit
      · kept here   ✓ at a relay, or some have it   ✓✓ everybody has it   ✗ nobody takes it
    """

actor Team {
    private let node: Node
    private var inbox: [InboxItem] = []
    private var circle: Circle
    private var messages: [Message] = []
    private var note: Note?
    private var unsent: [(Circle, String)] = []
    private var watching: [Task<Void, Never>] = []
    private var following: Task<Void, Never>?

    init(node: Node, circle: Circle) {
        self.node = node
        self.circle = circle
    }

    func open() async throws {
        following = watch { try await $0.followInbox() }
        try await go(circle)
    }

    func close() async {
        for task in watching + [following].compactMap({ $0 }) { task.cancel() }
        await node.shutdown()
    }

    /// Does something until it is cancelled, and says in words what goes wrong.
    private func watch(_ work: @escaping @Sendable (Team) async throws -> Void) -> Task<Void, Never> {
        Task {
            do { try await work(self) } catch is CancellationError {} catch { say("  ! \(words(error))") }
        }
    }

    // What changes by itself.

    /// The list of circles, with what is unread.
    private func followInbox() async throws {
        for try await items in node.inboxes() {
            inbox = items
            for item in items where item.preview.unread > 0 && item.circle.id != circle.id() {
                guard let newest = item.preview.newest else { continue }
                say("  (\(item.circle.name): \(item.preview.unread) unread; \(newest.name): \(newest.text))")
            }
        }
    }

    /// The messages: the first step is a reset with what there is, all others change that list.
    private func followTimeline(_ circle: Circle) async throws {
        for try await diffs in circle.timeline().updates() {
            for diff in diffs {
                switch diff {
                case let .reset(items), let .append(items): items.forEach { say(line($0)) }
                case let .insert(_, item): say(line(item))  // somebody was away when they said it
                case let .set(index, item):
                    // Changed by its author, or our own has come further: the mark says how far.
                    let changed = item.body != messages[Int(index)].body && !item.withdrawn
                    say(line(item) + (changed ? "  (changed)" : ""))
                case .remove: break
                }
                messages.apply([diff])
            }
            try await circle.markRead()
        }
    }

    /// The shared note, whoever changes it.
    private func followNote(_ circle: Circle) async throws {
        // It may not have arrived yet.
        let found = try await node.until { try await circle.notes().first { $0.title == noteTitle } }
        guard let found else { return }
        let note = try await circle.note(id: found.id)
        self.note = note
        var before: String?
        for try await snapshot in note.snapshots() where snapshot.markdown != before {
            before = snapshot.markdown
            show(note: snapshot.markdown)
        }
    }

    private func show(note markdown: String) {
        say("  ┌ \(noteTitle)")
        let lines = markdown.split(separator: "\n")
        for text in lines.isEmpty ? ["(empty)"] : lines { say("  │ \(text)") }
    }

    // What the person asks for.

    func obey(_ text: String) async throws {
        let words = text.split(separator: " ", maxSplits: 1).map(String.init)
        switch (words[0], words.count > 1 ? words[1] : "") {
        case _ where !text.hasPrefix("/"): await send(text, in: circle)
        case ("/circles", _): showCircles()
        case let ("/go", number):
            guard let row = Int(number), inbox.indices.contains(row - 1) else { return say(help) }
            try await go(try await node.circle(id: inbox[row - 1].circle.id))
        case let ("/circle", name) where !name.isEmpty: try await createCircle(name)
        case ("/invite", _):
            // A link carries addresses: be reachable first.
            _ = try await node.listening()
            say("  send this to one person: \(try await circle.invite(validFor: .seconds(86_400)))")
        case ("/note", _):
            guard let note else { return say("  the note is not here yet") }
            show(note: try await note.snapshot().markdown)
        case let ("/add", text) where !text.isEmpty:
            try await edit { now in
                Splice(position: UInt32(now.count), delete: 0, insert: (now.isEmpty ? "" : "\n") + text)
            }
        case let ("/change", change):
            let parts = change.components(separatedBy: " => ")
            guard parts.count == 2 else { return say(help) }
            let old = Array(parts[0].unicodeScalars)
            try await edit { now in
                let starts = (0..<max(0, now.count - old.count + 1)).first { now[$0..<$0 + old.count].elementsEqual(old) }
                return starts.map { Splice(position: UInt32($0), delete: UInt32(old.count), insert: parts[1]) }
            }
        case ("/again", _):
            let again = unsent
            unsent = []
            for (circle, body) in again { await send(body, in: circle) }
        default: say(help)
        }
    }

    /// Shows another circle.
    private func go(_ next: Circle) async throws {
        watching.forEach { $0.cancel() }
        (circle, messages, note) = (next, [], nil)
        say("── \(try await next.name())")
        watching = [watch { try await $0.followTimeline(next) }, watch { try await $0.followNote(next) }]
    }

    /// On its way, then kept on this device, or not even that. How far it comes from here, its state says (`mark`).
    private func send(_ body: String, in circle: Circle) async {
        say("⋯ \(body)")
        do {
            _ = try await circle.timeline().send(body: body)
        } catch {
            unsent.append((circle, body))
            say("✗ \(body): \(words(error))")
        }
    }

    /// Edits the note as it was when we looked; what others wrote since stays. A note counts Unicode scalars.
    private func edit(_ splice: ([Unicode.Scalar]) -> Splice?) async throws {
        guard let note else { return say("  ! the note is not here yet: it comes with the first member who is online") }
        let snapshot = try await note.snapshot()
        guard let made = splice(Array(snapshot.text.unicodeScalars)) else { return say("  ! the note does not say that") }
        _ = try await note.edit(version: snapshot.version, splices: [made])
    }

    private func showCircles() {
        for (number, item) in inbox.enumerated() {
            let unread = item.preview.unread > 0 ? ", \(item.preview.unread) unread" : ""
            say("  \(number + 1)  \(item.circle.name) (\(item.circle.people) people\(unread))")
        }
    }

    private func createCircle(_ name: String) async throws {
        let space = try await node.space(id: try await circle.space())
        let people = try await space.members().filter { !$0.isMe }.map(\.person)
        let made = try await space.createCircle(name: name, people: people)
        _ = try await made.createNote(title: noteTitle)
        try await go(made)
    }
}

func say(_ text: String) {
    // Not `print`: what it writes is kept back where nobody looks at a terminal.
    FileHandle.standardOutput.write(Data("\(text)\n".utf8))
}

func line(_ message: Message) -> String {
    let time = DateFormatter()
    time.dateFormat = "HH:mm"
    let sent = time.string(from: Date(timeIntervalSince1970: Double(message.sentMs) / 1000))
    let text = "\(mark(message.state)) \(sent) \(message.author.name): \(message.withdrawn ? "(withdrawn)" : message.body)"
    guard case let .failed(error, retryable) = message.state else { return text }
    return text + "  (\(error)\(retryable ? "; it is tried again by itself" : ""))"
}

/// How far a message has come that this device sent; others have no state.
func mark(_ state: MessageState?) -> String {
    switch state {
    case nil: " "
    case .queued: "·"  // on this device only, until somebody can be reached
    case .delivered(_, _, everybody: true): "✓✓"
    case .relayed, .delivered: "✓"  // a relay keeps it for whoever is away, or some have it
    case .failed: "✗"  // no relay takes it, and nobody has it; kept for whoever is online with us
    }
}

/// What a person is told. `error.code()` is for programs: `invitation.used` and the like.
func words(_ error: any Error) -> String {
    guard let error = error as? ClaveError else { return error.localizedDescription }
    return error.reason() + (error.isRetryable() ? "  (trying again may help)" : "")
}
