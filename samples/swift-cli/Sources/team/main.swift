// Chat and one shared note in a terminal: a sample to copy.
//
//     team --dir ~/.team --name 王小明                  makes a space, and shows how to invite somebody
//     team --dir ~/.team --name 小波 --join 'clave://…'   joins it

import Clave
import Foundation

func argument(_ name: String) -> String? {
    let arguments = CommandLine.arguments
    return arguments.firstIndex(of: name).flatMap { $0 + 1 < arguments.count ? arguments[$0 + 1] : nil }
}

/// Opens this device or makes it, and gives a space to be in.
func begin() async throws -> (Node, Space) {
    let listen = argument("--listen")
    let options = NodeOptions(
        directory: argument("--dir") ?? NSHomeDirectory() + "/.team",
        // Without one, whoever can read the directory can read everything.
        passphrase: ProcessInfo.processInfo.environment["TEAM_PASSPHRASE"],
        network: NetworkOptions(listen: listen.map { [$0] }, mdns: listen == nil))
    let node =
        nodeExists(directory: options.directory)
        ? try await Node.open(options: options)
        : try await Node.create(options: options, personName: argument("--name") ?? NSUserName(), deviceName: "terminal")
    do {
        if let link = argument("--join") { return (node, try await node.join(link, timeout: .seconds(60))) }
        if let space = try await node.spaces().first { return (node, space) }
        let space = try await node.createSpace(name: argument("--space") ?? "我们的团队")
        // Whoever founds a circle makes its note, so that there is one and not two.
        _ = try await space.everybody().createNote(title: noteTitle)
        return (node, space)
    } catch {
        await node.shutdown()
        throw error
    }
}

/// What the person types, from a thread of its own: reading blocks. Not `readLine`, whose lock would keep `exit` waiting.
let typed = AsyncStream<String> { continuation in
    Thread {
        var unread = Data()
        while case let more = FileHandle.standardInput.availableData, !more.isEmpty {
            unread += more
            while let end = unread.firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: unread[..<end], as: UTF8.self)
                continuation.yield(line.trimmingCharacters(in: .whitespaces))
                unread = Data(unread[(end + 1)...])
            }
        }
        continuation.finish()
    }.start()
}

do {
    let (node, space) = try await begin()
    let team = Team(node: node, circle: space.everybody())
    try await team.open()
    say("  (/help says what can be done)")
    for await text in typed where !text.isEmpty {
        if text == "/quit" { break }
        do { try await team.obey(text) } catch { say("  ! \(words(error))") }
    }
    await team.close()
} catch {
    FileHandle.standardError.write(Data("team: \(words(error))\n".utf8))
    exit(1)
}
