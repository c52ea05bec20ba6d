//! The export of an account, and its recovery phrase.

use std::path::{Path, PathBuf};

use clave::Node;

use crate::args::Backup;
use crate::failure::Failure;
use crate::place::{self, Place};
use crate::progress::Bar;
use crate::recovery;
use crate::request::{Ask, Network, Request, Secret};
use crate::screen::Screen;
use crate::session::Session;
use crate::show::{Show, show};
use crate::wire::Line;

pub(super) async fn export(
    place: &Place,
    file: &Path,
    with_files: bool,
    phrase_file: Option<PathBuf>,
    screen: &Screen,
) -> Result<(), Failure> {
    let file = place::absolute(file)?;
    // Before the phrase is asked for: whoever has nothing to export types no secret.
    let mut session = Session::open(place, Network::Offline).await?;
    let asked = async {
        // On a thread of its own, so that ctrl-c ends the waiting.
        let reading = tokio::task::spawn_blocking(move || recovery::read_phrase(phrase_file.as_deref()));
        let phrase = reading.await.map_err(Failure::failed)??;
        let ask = Ask::AccountExport { file, phrase: Secret::new(&phrase.words()), with_files };
        session.call(&Request::new(ask), |_| Ok(())).await
    };
    let reply = asked.await;
    session.close().await;
    show(&reply?, &Show::default(), screen)
}

pub(super) async fn back_up(place: &Place, backup: Backup, screen: &Screen) -> Result<(), Failure> {
    let Backup { file, keep, without_files, phrase_file } = backup;
    let file = place::absolute(&file)?;
    let mut session = Session::open(place, Network::Offline).await?;
    let asked = async {
        let reading = tokio::task::spawn_blocking(move || recovery::read_phrase(phrase_file.as_deref()));
        let phrase = reading.await.map_err(Failure::failed)??;
        let ask = Ask::Backup { file, phrase: Secret::new(&phrase.words()), with_files: !without_files, keep };
        let bar = Bar::new("Backing up", screen.json);
        let progress = |line| {
            if let Line::Progress { done_bytes, total_bytes } = line {
                bar.set(done_bytes, total_bytes);
            }
            Ok(())
        };
        session.call(&Request::new(ask), progress).await
    };
    let reply = asked.await;
    session.close().await;
    show(&reply?, &Show::default(), screen)
}

/// Shows the new words before they count: a phrase that nobody has seen must never be the only one.
pub(super) async fn new_phrase(place: &Place, phrase_file: Option<PathBuf>, screen: &Screen) -> Result<(), Failure> {
    let mut session = Session::open(place, Network::Offline).await?;
    let changed = async {
        let reading = tokio::task::spawn_blocking(move || recovery::read_phrase(phrase_file.as_deref()));
        let former = reading.await.map_err(Failure::failed)??;
        let check = Ask::PhraseCheck { phrase: Secret::new(&former.words()) };
        session.call(&Request::new(check), |_| Ok(())).await?;
        let next = Node::draw_phrase()?;
        recovery::changed(&next, screen)?;
        let (former, next) = (Secret::new(&former.words()), Secret::new(&next.words()));
        session.call(&Request::new(Ask::PhraseChange { former, next }), |_| Ok(())).await
    };
    let changed = changed.await;
    session.close().await;
    changed.map(drop).map_err(|failure| failure.hint("the former phrase is the one that counts, if it was yours"))?;
    if screen.json {
        return Ok(());
    }
    screen.say(
        "It counts from now on: everywhere as soon as others hear of it. With the former phrase nobody comes back any more. It \
         still opens the exports that were made before, and no other phrase does.",
    )?;
    screen.say("Next: clave account export FILE, and do away with the older exports and the former words.")
}
