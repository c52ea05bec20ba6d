//! The engine's thread.

use std::io;
use std::thread::JoinHandle;

use rayon::ThreadPoolBuilder;

use crate::{Error, StoreError};

/// Starts a thread that does `work` and ends.
///
/// It is the one thread of a rayon pool of its own: openmls computes with rayon, which would start its global pool
/// otherwise, a thread per core that nothing ever ends. From here it computes on this thread, where it would be waited for anyway.
pub(super) fn spawn(work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let mut thread = None;
    let pool = ThreadPoolBuilder::new()
        .num_threads(1)
        // The standard library has said so already; and rayon would end the process.
        .panic_handler(|_| tracing::error!("the engine's thread panicked"))
        .spawn_handler(|worker| {
            let named = std::thread::Builder::new().name("clave-engine".to_owned());
            thread = Some(named.spawn(|| worker.run())?);
            Ok(())
        })
        .build()
        .map_err(|_| Error::Store(StoreError::Io(io::ErrorKind::OutOfMemory)))?;
    pool.spawn(work);
    // The pool ends once the work is done.
    drop(pool);
    Ok(thread.expect("a pool of one thread starts one"))
}
