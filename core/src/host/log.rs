//! What is logged, for a host that has no terminal.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Lines that may wait for the sink. What does not fit is dropped, and how many that were is told.
pub const LOG_LINES_WAITING_MAX: usize = 1_024;
/// The longest line, in bytes; the rest is cut off.
const LINE_BYTES_MAX: usize = 4_096;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// A mistake of this library.
    Error,
    /// A peer, the network or the disk went wrong.
    Warn,
    /// Something worth knowing.
    Info,
    /// What goes well.
    Debug,
    /// Everything.
    Trace,
}

/// Takes what is logged.
pub trait LogSink: Send + Sync {
    /// A line: from where in the library, and what. It never holds a secret, a name or what somebody wrote; it may hold
    /// addresses and short ids. Called by one thread at a time, which is there only while there are lines. A sink that blocks
    /// holds up nobody: lines are dropped then. One that panics loses that line.
    fn log(&self, level: LogLevel, target: &str, message: &str);
}

/// There is one sink for the process, and there is something already that takes what is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("something takes what is logged already: set one sink, once, when the process starts")]
pub struct LogSinkSet;

/// Has `sink` take what this library logs, up to a level, for as long as the process lives. Once, before any node.
///
/// # Errors
/// [`LogSinkSet`].
pub fn set_log_sink(sink: Arc<dyn LogSink>, level: LogLevel) -> Result<(), LogSinkSet> {
    let lines = Arc::new(Lines { sink, waiting: Mutex::default() });
    tracing::subscriber::set_global_default(Lining { lines, level: level.into() }).map_err(|_| LogSinkSet)
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

impl From<tracing::Level> for LogLevel {
    fn from(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::TRACE => Self::Trace,
        }
    }
}

struct Line {
    level: LogLevel,
    target: &'static str,
    message: String,
}

/// Lines on their way to the sink.
struct Lines {
    sink: Arc<dyn LogSink>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Line>,
    dropped: u64,
    /// Whether a thread hands them over.
    is_handing_over: bool,
}

thread_local! {
    /// Whether this thread is in the sink: what it logs there would never end.
    static IN_SINK: Cell<bool> = const { Cell::new(false) };
}

impl Lines {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(self: &Arc<Self>, line: Line) {
        let mut waiting = self.waiting();
        if waiting.lines.len() >= LOG_LINES_WAITING_MAX {
            waiting.dropped += 1;
            return;
        }
        waiting.lines.push_back(line);
        if !waiting.is_handing_over {
            let lines = self.clone();
            let started = thread::Builder::new().name("clave-log".to_owned()).spawn(move || lines.hand_over());
            // Without a thread they wait for the next line.
            waiting.is_handing_over = started.is_ok();
        }
    }

    /// Until there are none: no thread is left of a node that rests.
    fn hand_over(&self) {
        IN_SINK.set(true);
        loop {
            let mut waiting = self.waiting();
            let dropped = std::mem::take(&mut waiting.dropped);
            let Some(line) = waiting.lines.pop_front() else {
                waiting.is_handing_over = false;
                return;
            };
            drop(waiting);
            self.tell(&line);
            if dropped > 0 {
                let message = format!("{dropped} lines were dropped, because they came faster than they were taken");
                self.tell(&Line { level: LogLevel::Warn, target: module_path!(), message });
            }
        }
    }

    fn tell(&self, line: &Line) {
        let tell = AssertUnwindSafe(|| self.sink.log(line.level, line.target, &line.message));
        // There is nowhere to say that it panicked.
        let _ = catch_unwind(tell);
    }
}

/// What `tracing` gives its events to. Spans are nothing to it.
struct Lining {
    lines: Arc<Lines>,
    level: LevelFilter,
}

impl Subscriber for Lining {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        // What libraries below log is theirs, and may hold more than is right.
        let is_ours = target == "clave" || target.starts_with("clave_") || target.starts_with("clave::");
        is_ours && metadata.is_event() && *metadata.level() <= self.level && !IN_SINK.get()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    // Whether a thread is in the sink changes from call to call.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        if self.enabled(metadata) || IN_SINK.get() {
            tracing::subscriber::Interest::sometimes()
        } else {
            tracing::subscriber::Interest::never()
        }
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        self.lines.push(Line { level: (*metadata.level()).into(), target: metadata.target(), message: text.finish() });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// An event as a line: its message, then its fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn finish(mut self) -> String {
        self.message.push_str(&self.fields);
        let end = self.message.floor_char_boundary(LINE_BYTES_MAX);
        self.message.truncate(end);
        self.message
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a text does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
