//! What is shown without loading a document.

use std::collections::BTreeMap;

use clave_engine::crdt::{DocumentKind, Message, MessageId, Node, NodeId};
use clave_engine::crypto::PersonId;
use clave_engine::fuzzing::inside;
use clave_engine::{CircleId, DocumentId};

use super::Check;
use crate::{Who, World};

/// From 2027-04-01 to 2027-05-01: when events of the simulated teams are.
const SPAN_MS: (i64, i64) = (1_806_537_600_000, 1_809_129_600_000);

impl World {
    /// Whether what is stored of each member follows from the documents, derived anew; and whether what an application is
    /// shown is what one finds by reading everything.
    pub(super) fn check_views(&mut self, circle: CircleId, members: &[Who], faults: &mut Vec<String>) {
        for who in members {
            let name = self.device(*who).name.clone();
            let mut differs = |what: String| faults.push(Check::Views.fault(&format!("{name}: {what}")));
            match inside::misderived(self.engine(*who), circle) {
                Ok(wrong) => {
                    wrong.iter().for_each(|(_, kind)| differs(format!("something else follows from a {kind}")))
                }
                Err(error) => differs(error.to_string()),
            }
            let (shown, found) = (self.shown(*who, circle), self.found(*who, circle));
            if shown != found {
                differs(format!("shown is {shown:?}, found {found:?}"));
            }
        }
    }

    fn shown(&mut self, who: Who, circle: CircleId) -> Shown {
        let calendar = DocumentId::well_known(circle, DocumentKind::Calendar, 0);
        let engine = self.engine(who);
        let preview = engine.preview(circle).expect("a member");
        let agenda = engine.agenda(circle, calendar, SPAN_MS, "Asia/Shanghai").expect("the zone is known");
        Shown {
            messages: preview.messages,
            newest: preview.newest.map(|newest| newest.id),
            unread: preview.unread,
            mentions: preview.mentions,
            titles: engine.titles(circle).expect("a member").into_iter().collect(),
            occurrences: agenda.occurrences.len(),
            nodes: listed(engine, circle),
        }
    }

    /// The same, by reading all documents.
    fn found(&mut self, who: Who, circle: CircleId) -> Shown {
        let me = self.device(who).person;
        let engine = self.engine(who);
        let read = engine.preview(circle).expect("a member").read;
        let mut shown = Shown::default();
        for info in engine.documents(circle).expect("a member") {
            let document = engine.document(circle, info.id, info.kind).expect("it is there");
            match info.kind {
                DocumentKind::Timeline => {
                    let messages = document.timeline().expect("a chat").messages(..);
                    shown.messages += messages.len();
                    for message in messages.iter().filter(|message| !message.withdrawn) {
                        shown.newest = shown.newest.max(Some(message.id));
                        let others = author(engine, circle, message) != Some(me);
                        if others && read.is_none_or(|read| message.id > read) {
                            shown.unread += 1;
                            shown.mentions += usize::from(message.mentions.contains(me.as_bytes()));
                        }
                    }
                }
                DocumentKind::Note => {
                    shown.titles.insert(info.id, document.note().expect("a note").title());
                }
                DocumentKind::Calendar => {
                    let calendar = document.calendar().expect("a calendar");
                    let agenda = calendar.agenda(SPAN_MS.0, SPAN_MS.1, "Asia/Shanghai").expect("the zone is known");
                    shown.occurrences += agenda.occurrences.len();
                }
                DocumentKind::Drive => {
                    let tree = document.drive().expect("a drive").tree();
                    shown.nodes.extend(tree.nodes().cloned().map(|node| (node.id, node)));
                }
                _ => {}
            }
        }
        shown
    }
}

/// Everything in the drive of a circle, folder by folder.
fn listed(engine: &mut clave_engine::Engine, circle: CircleId) -> BTreeMap<NodeId, Node> {
    let drive = DocumentId::well_known(circle, DocumentKind::Drive, 0);
    let (mut nodes, mut folders) = (BTreeMap::new(), vec![NodeId::ROOT, NodeId::TRASH]);
    while let Some(folder) = folders.pop() {
        for node in engine.folder(circle, drive, folder).expect("it is there") {
            folders.extend(Some(node.id).filter(NodeId::is_folder));
            nodes.insert(node.id, node);
        }
    }
    nodes
}

/// What an application shows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    messages: usize,
    newest: Option<MessageId>,
    unread: usize,
    mentions: usize,
    titles: BTreeMap<DocumentId, String>,
    occurrences: usize,
    nodes: BTreeMap<NodeId, Node>,
}

fn author(engine: &clave_engine::Engine, circle: CircleId, message: &Message) -> Option<PersonId> {
    let stays = &engine.membership(circle).expect("a member").stays;
    let device = stays.keys().find(|device| message.author.belongs_to(device.as_bytes()))?;
    engine.person_behind(circle, device).expect("a member").map(|(person, _)| person)
}
