//! Progress bars, on the standard error, for people only.

use indicatif::{ProgressBar, ProgressStyle};

/// How far something is. Shown only if it takes a while, and only in a terminal.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar that says what is done.
    pub(crate) fn new(what: &str, json: bool) -> Self {
        if json {
            return Self(ProgressBar::hidden());
        }
        // Without a terminal on stderr, indicatif hides it by itself.
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        bar.set_message(what.to_owned());
        Self(bar)
    }

    pub(crate) fn set(&self, done_bytes: u64, total_bytes: u64) {
        self.0.set_length(total_bytes);
        self.0.set_position(done_bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// How many of something were seen, where nobody knows how many there are. Shown only in a terminal.
#[derive(Clone)]
pub(crate) struct Count(ProgressBar);

impl Count {
    /// A count of what `what` says.
    pub(crate) fn new(what: &str, json: bool) -> Self {
        if json {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        bar.set_style(
            ProgressStyle::with_template("{spinner} {pos} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar.set_message(what.to_owned());
        Self(bar)
    }

    pub(crate) fn set(&self, seen: u64) {
        self.0.set_position(seen);
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
