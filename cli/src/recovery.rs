//! The recovery phrase in the terminal, and `clave init` with one.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use clave::{Node, NodeConfig, RecoveryPhrase};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::execute;
use crate::failure::Failure;
use crate::reply::{Profile, Reply, Restored};
use crate::screen::{Screen, Tagged, bold};
use crate::show::{Show, show};

/// Words in a row: six rows of four are easy to copy and to compare.
const ROW: usize = 4;
/// More than any phrase is long, so that no copy of a part is left behind by growing.
const ROOM: usize = 1024;

/// Takes the phrase from a file, from the next program, or from the person.
pub(crate) fn read_phrase(file: Option<&Path>) -> Result<RecoveryPhrase, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(ROOM));
    let failed = |error| Failure::failed(format!("the standard input could not be read: {error}"));
    if let Some(path) = file {
        let read = std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text));
        read.map_err(|error| Failure::file(path, &error))?;
    } else if io::stdin().is_terminal() {
        let mut terminal = io::stderr().lock();
        let asked = write!(terminal, "Your recovery phrase, {} words: ", RecoveryPhrase::WORDS);
        asked.and_then(|()| terminal.flush()).map_err(failed)?;
        // On paper they stand in rows: they may be typed so, until all are there or a line is empty.
        let mut stdin = io::stdin().lock();
        loop {
            let before = text.len();
            let read = stdin.read_line(&mut text).map_err(failed)?;
            let enough = text.split_whitespace().count() >= RecoveryPhrase::WORDS;
            if read == 0 || enough || text[before..].trim().is_empty() {
                break;
            }
        }
    } else {
        io::stdin().lock().read_to_string(&mut text).map_err(failed)?;
    }
    if file.is_none() && text.trim().is_empty() {
        return Err(Failure::usage("there is no recovery phrase on the standard input")
            .reason("phrase")
            .hint("type it in a terminal, or name a file that has it with --phrase-file"));
    }
    Ok(RecoveryPhrase::parse(&text)?)
}

/// Says who was made, and the phrase, this once.
pub(crate) fn created(profile: &Profile, phrase: &RecoveryPhrase, screen: &Screen) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Created<'a> {
        #[serde(flatten)]
        profile: &'a Profile,
        recovery_phrase: &'a str,
    }
    let words = phrase.words();
    if screen.json {
        return screen.value(&Tagged { r#type: "profile", value: Created { profile, recovery_phrase: &words } });
    }
    screen.say("")?;
    screen.say(
        "Your recovery phrase: with these 24 words you come back when all your devices are lost, with all that you \
         had if you also have an export (`clave account export FILE`).",
    )?;
    rows(&words, screen)?;
    screen.say(
        "Write them on paper now, and keep that where nobody else gets at it: whoever has them is you, and they are not \
         stored anywhere.",
    )
}

/// Shows the phrase that takes the place of another, before it does.
pub(crate) fn changed(phrase: &RecoveryPhrase, screen: &Screen) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Changed<'a> {
        recovery_phrase: &'a str,
    }
    let words = phrase.words();
    if screen.json {
        return screen.value(&Tagged { r#type: "recovery_phrase", value: Changed { recovery_phrase: &words } });
    }
    screen.say("Your new recovery phrase:")?;
    rows(&words, screen)?;
    screen.say("Write them on paper now: they are not stored anywhere.")
}

/// The words, numbered, a few in a row.
fn rows(words: &str, screen: &Screen) -> Result<(), Failure> {
    screen.say("")?;
    let words: Vec<_> = words.split(' ').collect();
    for (row, four) in words.chunks(ROW).enumerate() {
        let numbered = four.iter().enumerate().map(|(at, word)| format!("{:>2} {word:<8}", row * ROW + at + 1));
        let line = Zeroizing::new(numbered.collect::<Vec<_>>().join("   "));
        screen.say(&format!("    {}", bold(line.trim_end())))?;
    }
    screen.say("")
}

/// Comes back: from an export, or as the person of the phrase with nothing else.
pub(crate) async fn come_back(
    config: NodeConfig,
    phrase: &RecoveryPhrase,
    from: Source<'_>,
    device: &str,
    screen: &Screen,
) -> Result<(), Failure> {
    let directory = config.directory.display().to_string();
    let node = match from {
        Source::Export(file) => Box::pin(Node::restore_account(config, phrase, file, device)).await?,
        Source::PhraseAlone { name } => Box::pin(Node::restore_identity(config, phrase, name, device)).await?,
    };
    let restored = async {
        Ok(Restored {
            profile: Profile::from(node.profile()),
            directory,
            exported: matches!(from, Source::Export(_)),
            spaces: execute::spaces(&node).await?,
            rejoining: execute::rejoining(&node).await?,
            devices: execute::other_devices(&node).await?,
        })
    };
    let restored: Result<Restored, Failure> = restored.await;
    node.shutdown().await;
    show(&Reply::Restored(restored?), &Show::default(), screen)
}

/// What there is besides the phrase.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    Export(&'a Path),
    PhraseAlone { name: &'a str },
}
