//! Circles, and what a question is about.

use clave::{Circle, CircleInfo, Departure, Event, Node, PersonId, Scope, Space, Suite};
use tokio::sync::broadcast::Receiver;

use super::{next_event, pick, space};
use crate::failure::{Code, Failure};
use crate::reply::{self, Reply};
use crate::request::About;
use crate::time::moment;

/// What a question is about.
pub(super) struct Place {
    pub(super) space: Space,
    pub(super) circle: Circle,
    /// What the circle is called; the space's name, if it is everybody.
    pub(super) name: String,
    /// A chat of two.
    pub(super) direct: bool,
}

/// The circle that was named, of the space that was named or of any; or everybody in the space.
pub(super) async fn find(node: &Node, about: &About) -> Result<Place, Failure> {
    let Some(asked) = &about.circle else {
        let space = space::find(node, about.space.as_deref()).await?;
        let (circle, name) = (space.everybody().clone(), space.name().await?);
        return Ok(Place { space, circle, name, direct: false });
    };
    let spaces = match &about.space {
        Some(_) => vec![space::find(node, about.space.as_deref()).await?],
        None => node.spaces().await?,
    };
    let mut known = Vec::new();
    for space in spaces {
        // A circle whose space this device is not in stands for itself.
        if about.space.is_none() && space.space().await? != space.id() {
            let place = Place { circle: space.everybody().clone(), name: space.name().await?, direct: false, space };
            known.push(place);
            continue;
        }
        for info in space.circles().await? {
            let circle = space.circle(info.id).await?;
            known.push(Place { space: space.clone(), circle, name: info.name, direct: info.direct });
        }
    }
    pick(known, asked, "circle", |place| place.circle.id().to_string(), |place| &place.name)
}

pub(super) async fn create(
    place: &Place,
    name: &str,
    with: &[String],
    scope: Scope,
    suite: Suite,
) -> Result<Reply, Failure> {
    let mut people = Vec::new();
    for asked in with {
        people.push(person(&place.space, asked).await?.0);
    }
    let circle = place.space.create_circle_of(name, &people, scope, suite).await?;
    let created = place.space.circles().await?.into_iter().filter(|info| info.id == circle.id());
    Ok(Reply::Circles { circles: created.map(|info| shown(info, None)).collect() })
}

pub(super) async fn list(place: &Place) -> Result<Reply, Failure> {
    let mut circles = Vec::new();
    for info in place.space.circles().await? {
        let gone = departed(&place.space.circle(info.id).await?, &info.name).await?;
        circles.push(shown(info, gone));
    }
    Ok(Reply::Circles { circles })
}

pub(super) async fn leave(place: &Place) -> Result<Reply, Failure> {
    if place.direct {
        return Err(Failure::usage("a chat of two has nobody to leave to: it ends with the space"));
    }
    place.circle.leave().await?;
    Ok(Reply::Done)
}

pub(super) async fn direct(
    node: &Node,
    place: &Place,
    asked: &str,
    body: Option<&str>,
    count: usize,
) -> Result<Reply, Failure> {
    let (person, _) = person(&place.space, asked).await?;
    if person == node.profile().person {
        return Err(Failure::usage("that is you: a chat of two is with somebody else"));
    }
    match body {
        Some(body) => super::chat::send(node, &place.space.direct_chat(person).await?, body, None).await,
        None => match place.space.known_direct_chat(person).await? {
            Some(circle) => super::chat::history(&circle, count, None).await,
            None => Ok(Reply::Messages { messages: Vec::new() }),
        },
    }
}

/// Somebody in a circle, by name or by the beginning of their id.
pub(super) async fn person(circle: &Circle, asked: &str) -> Result<(PersonId, String), Failure> {
    let found = pick(circle.members().await?, asked, "person", |m| m.person.to_string(), |m| &m.name);
    let member = found.map_err(|failure| match failure.code {
        Code::NotFound => Failure::not_found(format!("there is nobody called “{asked}” here"))
            .hint("`clave members` says who is in; `clave invite` makes a link for somebody who is not"),
        _ => failure.hint("name them by the beginning of their id: `clave members --json` shows it"),
    })?;
    Ok((member.person, member.name))
}

fn shown(info: CircleInfo, removed: Option<String>) -> reply::Circle {
    reply::Circle {
        id: info.id.to_string(),
        name: info.name,
        space: info.space.to_string(),
        scope: if info.scope == Scope::Isolated { "isolated" } else { "nested" }.to_owned(),
        post_quantum: info.suite.is_post_quantum(),
        direct: info.direct,
        members: info.people,
        removed,
    }
}

/// How this device came to be out, if it is.
pub(super) async fn departed(circle: &Circle, name: &str) -> Result<Option<String>, Failure> {
    Ok(circle.departure().await?.map(|departure| sentence(&departure, name)))
}

/// Waits until this device is out of a circle, and says how that came; or why it cannot be waited for.
pub(super) async fn until_out(events: &mut Receiver<Event>, place: &Place) -> Failure {
    loop {
        if let Err(failure) = next_event(events, |event| matches!(event, Event::Removed { .. })).await {
            return failure;
        }
        match departed(&place.circle, &place.name).await {
            Ok(Some(departed)) => return Failure::new(Code::Refused, departed).reason("removed"),
            Ok(None) => {}
            Err(failure) => return failure,
        }
    }
}

fn sentence(departure: &Departure, name: &str) -> String {
    let happened = match departure {
        Departure::Left { time_ms } => format!("You left “{name}” ({})", moment(*time_ms)),
        Departure::Removed { by, time_ms } => {
            format!("You were removed from “{name}” by {by} ({})", moment(*time_ms))
        }
        Departure::Revoked { by, time_ms } => {
            format!("This device was taken out of “{name}” by {by} ({})", moment(*time_ms))
        }
        Departure::Expired { time_ms } => format!("Your stay in “{name}” ended ({})", moment(*time_ms)),
        Departure::SetAside { why } => {
            format!("You are not in “{name}”: {}", why.trim_end_matches('.'))
        }
        _ => format!("You are not in “{name}” any more"),
    };
    format!("{happened}. What you had stays readable; nothing more arrives.")
}
