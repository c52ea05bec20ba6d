//! Editing a note in the person's own editor.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use crate::failure::Failure;

/// Hands a text to the editor; `None` if it came back as it was.
pub(crate) async fn edit(markdown: &str, title: &str) -> Result<Option<String>, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("the text could not be handed to an editor: {error}"));
    // The temporary file holds the note in clear: it is its owner's only, and goes as soon as the editor is closed.
    let stem: String = title.chars().filter(|c| c.is_alphanumeric()).take(24).collect();
    let mut file =
        tempfile::Builder::new().prefix(&format!("{stem}-")).suffix(".md").tempfile_in(directory()).map_err(failed)?;
    file.write_all(markdown.as_bytes()).and_then(|()| file.flush()).map_err(failed)?;
    let editor = editor();
    let mut words = editor.to_string_lossy().split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter();
    let program = words.next().ok_or_else(|| Failure::usage("VISUAL or EDITOR is empty"))?;
    let status = tokio::process::Command::new(&program)
        .args(words)
        .arg(file.path())
        .stdin(Stdio::inherit())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|error| {
            Failure::failed(format!("the editor “{program}” could not be started: {error}"))
                .hint("say which to use with EDITOR, for example EDITOR=nano")
        })?;
    if !status.success() {
        return Err(Failure::failed(format!("the editor “{program}” failed ({status}); the note is as it was")));
    }
    // By its path: many editors write a new file in place of the old one.
    let edited = std::fs::read_to_string(file.path()).map_err(failed)?;
    Ok((edited != markdown).then_some(edited))
}

/// In memory, where the system offers that.
fn directory() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    runtime.filter(|directory| directory.is_dir()).unwrap_or_else(std::env::temp_dir)
}

fn editor() -> OsString {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| if cfg!(windows) { "notepad" } else { "vi" }.into())
}
