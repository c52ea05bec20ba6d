//! Where words go: results to the standard output, failures and progress to the standard error.

use std::io::{self, IsTerminal as _, Write as _};

use clap::CommandFactory as _;
use console::Style;
use serde::Serialize;

use crate::failure::Failure;
use crate::text;

/// A value that says what it is, as every answer does.
#[derive(Serialize)]
pub(crate) struct Tagged<'a, T: Serialize> {
    pub(crate) r#type: &'a str,
    #[serde(flatten)]
    pub(crate) value: T,
}

/// The two outputs of this process, and what they can take.
pub(crate) struct Screen {
    /// JSON was asked for.
    pub(crate) json: bool,
}

impl Screen {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// A line for people. What others wrote in it has to be made harmless before.
    pub(crate) fn say(&self, line: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { out(line.as_bytes(), true) }
    }

    /// A value for scripts.
    pub(crate) fn value(&self, value: &impl Serialize) -> Result<(), Failure> {
        out(text::json(&serde_json::to_string(value)?).as_bytes(), true)
    }

    /// A document as it is, for a file or the next program. A terminal gets it harmless.
    pub(crate) fn document(&self, document: &str) -> Result<(), Failure> {
        let text = if io::stdout().is_terminal() { text::lines(document) } else { document.to_owned() };
        out(text.as_bytes(), false)
    }

    /// A failure, for whoever reads.
    pub(crate) fn failure(&self, failure: &Failure) {
        #[derive(Serialize)]
        struct Exit<'a> {
            exit: u8,
            #[serde(flatten)]
            failure: &'a Failure,
        }
        let mut words = if self.json {
            let tagged = Tagged { r#type: "error", value: Exit { exit: failure.code.exit(), failure } };
            text::json(&serde_json::to_string(&tagged).unwrap_or_default())
        } else {
            let mark = Style::new().for_stderr().red().bold().apply_to("clave:");
            let mut words = format!("{mark} {}", text::lines(&failure.message));
            if let Some(hint) = &failure.hint {
                words.push_str(&format!("\n       {}", text::lines(hint)));
            }
            words
        };
        words.push('\n');
        // There is nowhere to complain to if that fails.
        let _ = io::stderr().lock().write_all(words.as_bytes());
    }

    /// A warning, for people.
    pub(crate) fn warn(&self, words: &str) {
        if !self.json {
            let mark = Style::new().for_stderr().yellow().bold().apply_to("Note:");
            let _ = writeln!(io::stderr().lock(), "{mark} {words}");
        }
    }

    /// A line for people beside the answer.
    pub(crate) fn note(&self, words: &str) {
        if !self.json {
            let _ = writeln!(io::stderr().lock(), "{words}");
        }
    }

    pub(crate) fn completions(&self, shell: clap_complete::Shell) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut crate::args::Cli::command(), "clave", &mut script);
        out(&script, false)
    }
}

/// A reader that has had enough (`clave … | head`) ends the command quietly.
fn out(bytes: &[u8], end_line: bool) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(bytes)
        .and_then(|()| if end_line { stdout.write_all(b"\n") } else { Ok(()) })
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.map_err(|error| Failure::failed(format!("the output could not be written: {error}"))),
    }
}

/// Less important words.
pub(crate) fn dim(words: &str) -> String {
    Style::new().dim().apply_to(words).to_string()
}

/// Important words.
pub(crate) fn bold(words: &str) -> String {
    Style::new().bold().apply_to(words).to_string()
}
