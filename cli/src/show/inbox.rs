//! All circles at a glance, in words.

use crate::reply::Conversation;
use crate::screen::{bold, dim};
use crate::text::{cut, line, table};
use crate::time::moment;

/// Columns for the beginning of what was said last.
const TEXT_COLUMNS: usize = 60;

pub(super) fn inbox(items: &[Conversation]) -> Vec<String> {
    if items.is_empty() {
        return vec!["No circles yet: `clave space new NAME` founds a space, `clave join LINK` joins one.".to_owned()];
    }
    let mut words = table(&items.iter().map(conversation).collect::<Vec<_>>());
    if items.iter().any(|item| !item.current) {
        words.push(dim("Some messages are not counted yet: ask again in a moment."));
    }
    words
}

fn conversation(item: &Conversation) -> Vec<String> {
    let name = match &item.space {
        Some(space) => format!("{} / {}", line(space), line(&item.name)),
        None => line(&item.name),
    };
    let unread = match (item.unread, item.mentions) {
        (0, _) => String::new(),
        (unread, 0) => bold(&format!("{unread} unread")),
        (unread, mentions) => bold(&format!("{unread} unread, {mentions} for you")),
    };
    let newest = item.newest.as_ref().map(|newest| {
        let said = format!("{}: {}", line(&newest.author), line(&newest.text));
        (moment(newest.sent_ms), cut(&said, TEXT_COLUMNS))
    });
    let (time, said) = newest.unwrap_or_else(|| (String::new(), dim("no messages yet")));
    vec![name, unread, time, said]
}
