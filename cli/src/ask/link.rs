//! `clave device link`: a code, then a question to the person before anything is given.

use std::time::Duration;

use super::{millis, unexpected, verify};
use crate::failure::{Code, Failure};
use crate::place::Place;
use crate::reply::{LinkAsked, Reply};
use crate::request::{About, Ask, Network, Request};
use crate::screen::Screen;
use crate::session::Session;
use crate::show::{Show, show};
use crate::text;
use crate::wire::Line;

/// Shows a code, then the device that uses it, and asks whether it is to be let in.
pub(super) async fn link(
    place: &Place,
    about: About,
    valid: Duration,
    qr: bool,
    screen: &Screen,
) -> Result<(), Failure> {
    let mut session = Session::open(place, Network::Online).await?;
    let done = with(&mut session, about, valid, qr, screen).await;
    session.close().await;
    done
}

async fn with(session: &mut Session, about: About, valid: Duration, qr: bool, screen: &Screen) -> Result<(), Failure> {
    let show_as = Show { qr, ..Show::default() };
    let valid_ms = millis(valid);
    let take = |line| match line {
        Line::Item(reply) => show(&reply, &show_as, screen),
        Line::Warning(words) => {
            screen.warn(&text::line(&words));
            Ok(())
        }
        _ => Ok(()),
    };
    let ask = |ask| Request { about: about.clone(), ask };
    let reply = session.call(&ask(Ask::DeviceLink { valid_ms, confirm: true }), take).await?;
    show(&reply, &show_as, screen)?;
    let Reply::LinkAsked(LinkAsked { link, device, .. }) = reply else { return Err(unexpected()) };
    let answer = tokio::task::spawn_blocking(|| verify::answer("Is it yours, and does it show the same?"));
    let answer = answer.await.map_err(|_| Failure::interrupted())?;
    let accept = answer == Some(true);
    let reply = session.call(&ask(Ask::DeviceLinkConfirm { link, device, accept, valid_ms }), take).await?;
    match answer {
        Some(true) => show(&reply, &show_as, screen),
        Some(false) => Err(Failure::new(
            Code::Refused,
            "the device was turned away, and the code is worth nothing now",
        )
        .reason("declined")
        .hint("somebody else may have seen the code: make another with `clave device link`, and show it to nobody")),
        None => Err(Failure::usage(
            "nobody said whether it is yours: it was turned away, and the code is worth nothing now",
        )
        .hint("answer yes or no; in scripts, `clave device link --yes` lets in whoever has the code")),
    }
}
