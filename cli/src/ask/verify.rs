//! `clave verify`: two calls with a question to the person in between.

use std::io::{BufRead as _, Write as _};
use std::time::Duration;

use super::{Question, unexpected};
use crate::args::Verify;
use crate::failure::{Code, Failure};
use crate::place::Place;
use crate::reply::Reply;
use crate::request::{About, Ask, Network, Request};
use crate::screen::Screen;
use crate::session::Session;
use crate::show::{Show, show};
use crate::text;
use crate::wire::Line;

/// How often an answer that is neither yes nor no is asked for again.
const TRIES_MAX: usize = 3;

/// What needs no comparing: one question.
pub(super) fn alone(verify: &Verify) -> Option<Question> {
    let person = verify.person.clone();
    Some(Question::new(match (verify.number, verify.mark, verify.unmark) {
        (true, ..) => Ask::SafetyNumber { person },
        (_, true, _) => Ask::MarkVerified { person, verified: true },
        (.., true) => Ask::MarkVerified { person, verified: false },
        _ => return None,
    }))
}

/// Shows what both have to see, asks whether they do, and tells the other side.
pub(super) async fn compare(place: &Place, about: About, verify: Verify, screen: &Screen) -> Result<(), Failure> {
    let mut session = Session::open(place, Network::Online).await?;
    let done = with(&mut session, about, &verify, screen).await;
    session.close().await;
    done
}

async fn with(session: &mut Session, about: About, verify: &Verify, screen: &Screen) -> Result<(), Failure> {
    let ask = Ask::VerifyCompare { person: verify.person.clone() };
    let reply = call(session, &about, ask, verify.timeout, screen).await?;
    show(&reply, &Show::default(), screen)?;
    let Reply::Compare(compare) = reply else { return Err(unexpected()) };
    let device = compare.device;
    let same = tokio::task::spawn_blocking(|| answer("Do both of you see the same, in the same order?"));
    match same.await.map_err(|_| Failure::interrupted())? {
        Some(true) => {
            let reply = call(session, &about, Ask::VerifyConfirm { device }, verify.timeout, screen).await?;
            show(&reply, &Show::default(), screen)
        }
        answer => {
            call(session, &about, Ask::VerifyCancel { device }, verify.timeout, screen).await?;
            Err(match answer {
                Some(false) => Failure::new(
                    Code::Refused,
                    "you saw something else: then somebody may sit between the two of you. Nobody is marked as verified",
                )
                .reason("differs")
                .hint("do not trust this connection, and compare safety numbers: clave verify --number PERSON"),
                _ => Failure::usage("nobody said whether they match: nobody is marked as verified")
                    .hint("answer yes or no"),
            })
        }
    }
}

async fn call(
    session: &mut Session,
    about: &About,
    ask: Ask,
    timeout: Duration,
    screen: &Screen,
) -> Result<Reply, Failure> {
    let request = Request { about: about.clone(), ask };
    let take = |line| {
        if let Line::Warning(words) = line {
            screen.warn(&text::line(&words));
        }
        Ok(())
    };
    tokio::time::timeout(timeout, session.call(&request, take)).await.unwrap_or_else(|_| {
        Err(Failure::unreachable(format!("the other side did not answer within {timeout:?}")).hint(
            "both have to be online at the same time; safety numbers need no connection: clave verify --number PERSON",
        ))
    })
}

/// Whether the person says yes or no; nothing, if they say neither.
pub(super) fn answer(question: &str) -> Option<bool> {
    for _ in 0..TRIES_MAX {
        let mut terminal = std::io::stderr().lock();
        let _ = write!(terminal, "{question} [yes/no] ").and_then(|()| terminal.flush());
        drop(terminal);
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim().to_lowercase().as_str() {
            "yes" | "y" => return Some(true),
            "no" | "n" => return Some(false),
            _ => {}
        }
    }
    None
}
