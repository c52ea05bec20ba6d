//! Searching.

use clave::{DocumentKind, Search};

use super::circle::{Place, person};
use crate::failure::Failure;
use crate::reply::{Found, Reply};
use crate::request;
use crate::wire::Out;

/// With more documents than that to read, it takes so long that something has to be said.
const MANY: usize = 50;

pub(super) async fn search(
    place: &Place,
    in_circle: bool,
    asked: &request::Search,
    out: &Out,
) -> Result<Reply, Failure> {
    let circles = if in_circle { vec![place.circle.id()] } else { place.space.search_circles().await? };
    let mut search = Search { count: asked.count, ..Search::new(&asked.text) };
    if let Some(name) = &asked.from {
        search.person = Some(person(&place.circle, name).await?.0);
    }
    search.kinds = asked.kinds.iter().filter_map(|name| kind_of(name)).collect();
    (search.from_ms, search.until_ms) = (asked.since_ms, asked.until_ms);
    // What came since the last search is read first.
    let mut left = place.space.index_next(&circles).await?;
    if left > MANY {
        out.warn(format!("{left} documents came or changed since the last search: reading them first")).await?;
    }
    while left > 0 {
        left = place.space.index_next(&circles).await?;
    }
    let page = place.space.search_in(&circles, &search).await?;
    let mut found = Vec::new();
    for hit in page.found {
        let everybody = hit.circle == place.space.id();
        let circle = if everybody { None } else { Some(place.space.circle(hit.circle).await?.name().await?) };
        let id = match hit.kind {
            DocumentKind::Note => hit.document.to_string(),
            _ => hit.name(),
        };
        found.push(Found {
            kind: name_of(hit.kind).to_owned(),
            id,
            circle,
            author: hit.author.map(Into::into),
            time_ms: hit.time_ms,
            snippet: hit.snippet,
            matches: hit.matches.into_iter().map(|range| (range.start, range.end)).collect(),
            cut_before: hit.cut.0,
            cut_behind: hit.cut.1,
        });
    }
    Ok(Reply::Found { found, more: page.next.is_some() })
}

const KINDS: [(DocumentKind, &str); 4] = [
    (DocumentKind::Timeline, "message"),
    (DocumentKind::Note, "note"),
    (DocumentKind::Calendar, "event"),
    (DocumentKind::Drive, "file"),
];

fn kind_of(name: &str) -> Option<DocumentKind> {
    KINDS.into_iter().find(|(_, own)| *own == name).map(|(kind, _)| kind)
}

fn name_of(kind: DocumentKind) -> &'static str {
    KINDS.into_iter().find(|(own, _)| *own == kind).map_or("document", |(_, name)| name)
}
