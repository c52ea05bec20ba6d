//! People with devices and logs of their own, who meet when the test says so.

use clave_crypto::{DeviceId, DeviceKey, Entropy, PersonId, PersonKey, Suite};
use clave_engine::OperationId;
use clave_engine::membership::{
    Action, DeviceEntry, DeviceStanding, Insertion, KeyPackages, Log, Operation, PersonEntry, Reason, Role, Scope,
};

/// What everybody's clock says.
pub(crate) const NOW_MS: u64 = 1_790_000_000_000;

/// Somebody with one device and a view of the circle.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) person: PersonKey,
    pub(crate) device: DeviceKey,
    pub(crate) log: Log,
}

pub(crate) struct Circle {
    pub(crate) entropy: Entropy,
    pub(crate) genesis: Operation,
}

pub(crate) fn entry(name: &str, person: &PersonKey, device: &DeviceKey) -> PersonEntry {
    let device = DeviceEntry::new(person, device, format!("{name}'s phone"), KeyPackages::default());
    PersonEntry { person: person.id(), name: name.to_owned(), devices: vec![device], invitation: None, recovery: None }
}

/// Alice's new circle, with Alice in it.
pub(crate) fn alice() -> (Circle, Peer) {
    let mut entropy = Entropy::from_seed([42; 32]);
    let (person, device) = (PersonKey::generate(&mut entropy), DeviceKey::generate(&mut entropy));
    let founder = entry("Alice", &person, &device);
    let genesis = Action::Genesis {
        name: "Band".to_owned(),
        nonce: [7; 16],
        founder,
        parent: None,
        scope: Scope::Nested,
        suite: Suite::default(),
    };
    let log = Log::found(&device, genesis, NOW_MS).expect("Alice may found a circle");
    let genesis = log.operations().next().expect("the genesis is in").clone();
    (Circle { entropy, genesis }, Peer { name: "Alice", person, device, log })
}

impl Circle {
    /// Somebody who is not in yet and has seen nothing.
    pub(crate) fn stranger(&mut self, name: &'static str) -> Peer {
        let (person, device) = (PersonKey::generate(&mut self.entropy), DeviceKey::generate(&mut self.entropy));
        let log = Log::new(clave_engine::CircleId::from_bytes(*self.genesis.id().as_bytes()));
        Peer { name, person, device, log }
    }

    /// Somebody whom `by` brings in, and who has seen what `by` has.
    pub(crate) fn joins(&mut self, name: &'static str, role: Role, by: &mut Peer) -> Peer {
        let mut peer = self.stranger(name);
        by.does(add(&peer, role));
        peer.hears(by);
        peer
    }
}

pub(crate) fn add(peer: &Peer, role: Role) -> Action {
    Action::AddPerson { newcomer: entry(peer.name, &peer.person, &peer.device), role }
}

pub(crate) fn remove(peer: &Peer) -> Action {
    Action::RevokePerson { person: peer.id(), keep_heads: Vec::new(), keep_changes: Vec::new() }
}

pub(crate) fn set_role(peer: &Peer, role: Role) -> Action {
    Action::SetRole { person: peer.id(), role, keep_heads: Vec::new() }
}

impl Peer {
    pub(crate) fn id(&self) -> PersonId {
        self.person.id()
    }

    pub(crate) fn device_id(&self) -> DeviceId {
        self.device.id()
    }

    /// Does something that is allowed as far as this peer can see.
    pub(crate) fn does(&mut self, action: Action) -> OperationId {
        let operation =
            self.log.new_operation(&self.device, action, NOW_MS).expect("allowed as far as the peer can see");
        self.takes(operation)
    }

    /// Does something without asking whether it is allowed.
    pub(crate) fn forces(&mut self, action: Action) -> OperationId {
        let heads = self.log.heads();
        self.forces_after(heads, action)
    }

    /// Does something as though nothing but `parents` and what was before them had happened.
    pub(crate) fn forces_after(&mut self, parents: Vec<OperationId>, action: Action) -> OperationId {
        let operation = Operation::sign(&self.device, parents, NOW_MS, action);
        self.takes(operation)
    }

    pub(crate) fn takes(&mut self, operation: Operation) -> OperationId {
        let id = operation.id();
        assert_eq!(self.log.insert(operation), Insertion::Inserted(vec![id]));
        id
    }

    /// Learns everything that `other` knows.
    pub(crate) fn hears(&mut self, other: &Self) {
        for operation in other.log.operations() {
            assert!(!matches!(self.log.insert(operation.clone()), Insertion::Refused(_)));
        }
    }

    pub(crate) fn role(&self, other: &Self) -> Option<Role> {
        self.log.membership().people.get(&other.id()).map(|person| person.role)
    }

    pub(crate) fn standing(&self, other: &Self) -> DeviceStanding {
        self.log.membership().device_standing(other.device_id())
    }

    /// Why an operation is set aside.
    pub(crate) fn reason(&self, operation: OperationId) -> Option<Reason> {
        let set_aside = &self.log.membership().set_aside;
        set_aside.iter().find(|set_aside| set_aside.operation == operation).map(|set_aside| set_aside.reason)
    }

    /// The sentence that says why an operation is set aside.
    pub(crate) fn sentence(&self, operation: OperationId) -> String {
        let set_aside = &self.log.membership().set_aside;
        let set_aside = set_aside.iter().find(|set_aside| set_aside.operation == operation);
        self.log.explain(set_aside.expect("the operation is set aside"))
    }
}

/// Everybody learns what everybody knows, and all must agree.
pub(crate) fn meet(peers: &mut [&mut Peer]) {
    for _ in 0..2 {
        for at in 1..peers.len() {
            let (before, after) = peers.split_at_mut(at);
            before[0].hears(after[0]);
            after[0].hears(before[0]);
        }
    }
    for peer in &peers[1..] {
        assert_eq!(peer.log.heads(), peers[0].log.heads());
        assert_eq!(peer.log.membership(), peers[0].log.membership());
    }
}
