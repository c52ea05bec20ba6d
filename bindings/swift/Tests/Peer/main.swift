// A device in a process of its own, told what to do by lines on its standard input: `command argument…`. It answers each
// with one line, `ok …` or `error …`.

import Clave
import Foundation

actor Peer {
    private let directory: String
    private var node: Node?
    private var space: Space?

    init(directory: String) { self.directory = directory }

    func does(_ command: String, _ argument: String) async throws -> String {
        let network = NetworkOptions(listen: ["/ip4/127.0.0.1/tcp/0"], mdns: false)
        let options = NodeOptions(directory: directory, network: network)
        if command == "join" {
            let node = try await Node.create(options: options, personName: "小波", deviceName: "Swift 2")
            self.node = node
            let space = try await node.join(argument, timeout: .seconds(60))
            self.space = space
            return try await space.name()
        }
        if command == "open" {
            let node = try await Node.open(options: options)
            self.node = node
            space = try await node.spaces().first
            return ""
        }
        guard let node, let space else { return "join or open first" }
        return try await does(command, argument, node, space)
    }

    private func does(_ command: String, _ argument: String, _ node: Node, _ space: Space) async throws -> String {
        let circle = space.everybody()
        let words = argument.split(separator: " ", maxSplits: 1).map(String.init)
        switch command {
        case "send":
            return try await space.timeline().send(body: argument)
        case "sees":
            for try await shown in space.timeline().messages(count: 10_000)
            where shown.contains(where: { $0.body.contains(argument) }) {
                return ""
            }
        case "relayed":
            for try await shown in space.timeline().messages(count: 10_000)
            where shown.contains(where: { $0.body == argument && $0.state == .relayed }) {
                return ""
            }
        case "append":
            let note = try await called(words[0], node, circle)
            for try await seen in note.snapshots() where !seen.text.isEmpty {
                let end = UInt32(seen.text.unicodeScalars.count)
                _ = try await note.edit(version: seen.version, splices: [Splice(position: end, delete: 0, insert: words[1])])
                return ""
            }
        case "note":
            for try await seen in try await called(words[0], node, circle).snapshots() where seen.text == words[1] {
                return seen.markdown
            }
        case "get":
            let drive = circle.drive()
            let file = try await node.until { try await drive.entries().first { $0.name == argument } }
            let copy = directory + "/copy"
            _ = try await drive.get(file: file?.id ?? "", destination: copy).completed()
            return digest(FileManager.default.contents(atPath: copy) ?? Data())
        case "agenda":
            let found = try await node.until {
                try await circle.calendar().agenda(fromMs: 0, toMs: 400 * 86_400_000, zone: "Asia/Shanghai")
                    .occurrences.first { $0.summary == argument }
            }
            return "\(found?.startMs ?? -1) \(found?.location ?? "")"
        case "search":
            return try await space.search(search: Search(text: argument)).found.map { "\($0.kind)" }.joined(separator: ",")
        case "stop":
            await node.shutdown()
            return ""
        default:
            break
        }
        return "what is \(command)?"
    }

    private func called(_ title: String, _ node: Node, _ circle: Circle) async throws -> Note {
        let found = try await node.until { try await circle.notes().first { $0.title == title } }
        return try await circle.note(id: found?.id ?? "")
    }
}

/// FNV-1a, for want of a hash that is there on every system: the test compares two copies of its own.
func digest(_ data: Data) -> String {
    String(data.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }, radix: 16)
}

let peer = Peer(directory: CommandLine.arguments[1])
while let line = readLine() {
    let words = line.split(separator: " ", maxSplits: 1).map(String.init)
    do {
        let answer = try await peer.does(words[0], words.count > 1 ? words[1] : "")
        print("ok \(answer.replacingOccurrences(of: "\n", with: " "))")
    } catch {
        print("error \(error.localizedDescription)")
    }
    fflush(nil)
}
