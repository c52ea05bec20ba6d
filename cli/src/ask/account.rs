//! The export of an account.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::place::{self, Place};
use crate::recovery;
use crate::request::{Ask, Network, Request, Secret};
use crate::screen::Screen;
use crate::session::Session;
use crate::show::{Show, show};

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
