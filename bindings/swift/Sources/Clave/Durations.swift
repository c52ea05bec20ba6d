// Swift's own durations where the generated code counts seconds.

import Foundation

extension Node {
    /// Takes up an invitation; gives up after `timeout`, and the link stays good.
    public func join(_ link: String, timeout: Duration) async throws -> Space {
        try await join(link: link, timeout: timeout.inSeconds)
    }

    /// Gets what happened meanwhile from whoever can be reached, for `deadline` at most.
    public func catchUp(within deadline: Duration) async throws -> CaughtUp {
        try await catchUp(deadline: deadline.inSeconds)
    }

    /// Makes a code to link a further device of this person with.
    public func linkDevice(validFor valid: Duration, confirm: Bool) async throws -> LinkCode {
        try await linkDevice(valid: valid.inSeconds, confirm: confirm)
    }

    /// Links this device to its person by a code from another of theirs.
    public static func link(
        _ options: NodeOptions, deviceName: String, code: String, timeout: Duration, listener: (any LinkListener)? = nil
    ) async throws -> Node {
        try await link(
            options: options, deviceName: deviceName, code: code, timeout: timeout.inSeconds, listener: listener)
    }
}

extension Space {
    /// Makes an invitation that works once, within `valid`, and returns its link.
    public func invite(validFor valid: Duration) async throws -> String {
        try await invite(valid: valid.inSeconds)
    }
}

extension Circle {
    /// Makes an invitation that works once, within `valid`, and returns its link.
    public func invite(validFor valid: Duration) async throws -> String {
        try await invite(valid: valid.inSeconds)
    }
}

extension Duration {
    fileprivate var inSeconds: TimeInterval {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
