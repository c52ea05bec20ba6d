//! Envelopes from anybody, relays among them.

use clave_engine::fuzzing;

use super::engine_frames::session;

/// Reads the bytes as an envelope.
pub fn run(data: &[u8]) {
    if let Some(id) = fuzzing::envelope(data) {
        assert_eq!(fuzzing::envelope(data), Some(id), "one content, two ids");
        let longer = [data, &[0]].concat();
        assert_ne!(fuzzing::envelope(&longer), Some(id), "two contents, one id");
    }
}

/// Envelopes of an honest session.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    session().entries.clone()
}
