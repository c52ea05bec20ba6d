//! A relay's sessions: frames in any order, a store that answers in any order or fails, time that passes.

/// Runs the bytes as a program for three sessions over one store in memory.
pub fn run(data: &[u8]) {
    clave_relay::fuzzing::sessions(data);
}

/// Programs of devices that mean it well.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    clave_relay::fuzzing::seeds()
}
