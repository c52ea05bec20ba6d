//! The stream of a channel, before anything knows what its frames are.

use clave_transport::{FRAME_BYTES_MAX, fuzzing};

/// Reads the bytes as a stream of frames.
pub fn run(data: &[u8]) {
    let (frames, clean) = fuzzing::read(data);
    assert!(frames.iter().all(|frame| frame.len() <= FRAME_BYTES_MAX));
    let written = fuzzing::write(&frames);
    assert!(data.starts_with(&written), "frames that nobody sent");
    assert_eq!(clean, written.len() == data.len(), "a clean end inside a frame, or the reverse");
}

/// Streams of some frames, of none, and of one that is too long.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    vec![
        fuzzing::write(&[vec![], vec![1], vec![2; 300], b"frame".to_vec()]),
        Vec::new(),
        u32::try_from(FRAME_BYTES_MAX + 1).expect("it is small").to_be_bytes().to_vec(),
    ]
}
