//! Further devices of a person, over real libp2p on loopback.

use std::time::Duration;

use clave::{Error, Event, LINK_VALID, LinkCode, LinkProgress, LinkingError, NetworkConfig, Node, NodeConfig};

const SAFETY: Duration = Duration::from_secs(60);

fn config(directory: &std::path::Path, name: &str) -> NodeConfig {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    NodeConfig::new(directory.join(name)).online(NetworkConfig { listen, mdns: false, ..NetworkConfig::default() })
}

async fn device(directory: &std::path::Path, name: &str) -> Node {
    let node = Node::create(config(directory, name), name, "laptop").await.expect("a new directory");
    within(node.listening()).await.expect("it runs");
    node
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SAFETY, future).await.expect("it takes far less than a minute")
}

async fn bodies(node: &Node) -> Vec<String> {
    let space = node.spaces().await.expect("it runs").remove(0);
    space.timeline().history(100, None).await.expect("it runs").into_iter().map(|message| message.body).collect()
}

async fn reads(node: &Node, text: &str) {
    within(async {
        while !bodies(node).await.iter().any(|body| body == text) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_device_has_everything_and_takes_part() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (alice, bob) = (device(directory.path(), "Alice").await, device(directory.path(), "Bob").await);
    let hers = alice.create_space("团队").await.expect("a space");
    hers.timeline().send("before anybody").await.expect("a message");
    let link = hers.invite(Duration::from_secs(3_600)).await.expect("an invitation");
    within(bob.join(&link, SAFETY)).await.expect("the link is good");
    let second = alice.create_space("Second").await.expect("a space");

    let code = alice.link_device(LINK_VALID, false).await.expect("a code");
    let code: LinkCode = code.to_string().parse().expect("its own text");
    let mut circles = 0;
    let progress = |step| {
        if let LinkProgress::Receiving { total_circles, .. } = step {
            circles = total_circles;
        }
    };
    let phone = within(Node::link(config(directory.path(), "phone"), "phone", &code, SAFETY, progress)).await;
    let phone = phone.expect("the code is good");
    assert!(circles == 0 || circles == 2);
    assert_eq!(phone.profile().person, alice.profile().person);
    assert_eq!((phone.profile().person_name.as_str(), phone.profile().device_name.as_str()), ("Alice", "phone"));
    let mut spaces: Vec<_> = phone.spaces().await.expect("it runs").iter().map(|space| space.id()).collect();
    let mut expected = vec![hers.id(), second.id()];
    spaces.sort();
    expected.sort();
    assert_eq!(spaces, expected);

    let theirs = phone.space(hers.id()).await.expect("it was linked");
    within(async {
        while theirs.timeline().history(10, None).await.expect("it runs").is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    theirs.timeline().send("from the phone").await.expect("a message");
    reads(&bob, "from the phone").await;
    let message = bob.space(hers.id()).await.expect("he is in").timeline().history(1, None).await.expect("it runs");
    assert_eq!(message[0].author.name, "Alice");

    // Once.
    let again = within(Node::link(config(directory.path(), "tablet"), "tablet", &code, SAFETY, |_| {})).await;
    assert!(matches!(again.err(), Some(Error::Linking(LinkingError::Unknown | LinkingError::Used))));
    // And after a restart it is still whose it was.
    phone.shutdown().await;
    let phone = Node::open(config(directory.path(), "phone")).await.expect("it was linked");
    assert_eq!(phone.profile().person, alice.profile().person);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_code_links_once_it_was_confirmed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let alice = device(directory.path(), "Alice").await;
    alice.create_space("Team").await.expect("a space");
    let addresses = alice.listening().await.expect("it runs");

    for accept in [false, true] {
        let code = alice.link_device(LINK_VALID, true).await.expect("a code");
        let typed: LinkCode = code.typed().to_uppercase().replace('-', " ").parse().expect("as people type it");
        assert_eq!(typed.id(), code.id());
        let mut events = alice.events();
        let person = alice.clone();
        let confirm = tokio::spawn(async move {
            loop {
                if let Event::LinkRequested { link, device, device_name, sas } = events.recv().await.expect("it runs") {
                    assert_eq!(device_name, "phone");
                    person.confirm_link(link, device, accept).await.expect("its own code");
                    return sas;
                }
            }
        });
        let mut asked = None;
        let name = format!("phone-{accept}");
        let progress = |step| {
            if let LinkProgress::AwaitsConfirmation { person_name, sas } = step {
                asked = Some((person_name, sas));
            }
        };
        let typed = typed.at(addresses.clone());
        let linked = within(Node::link(config(directory.path(), &name), "phone", &typed, SAFETY, progress)).await;
        let shown = confirm.await.expect("it was asked");
        assert_eq!(asked, Some(("Alice".to_owned(), shown)), "both show the same");
        match accept {
            true => assert_eq!(linked.expect("she agreed").spaces().await.expect("it runs").len(), 1),
            false => {
                assert!(matches!(linked.err(), Some(Error::Linking(LinkingError::Declined))));
                let open = Node::open(config(directory.path(), &name)).await;
                assert!(matches!(open.err(), Some(Error::NotLinked)));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_code_that_is_no_good_says_why() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let alice = device(directory.path(), "Alice").await;
    let expired = alice.link_device(Duration::ZERO, false).await.expect("a code");
    let revoked = alice.link_device(LINK_VALID, false).await.expect("a code");
    alice.cancel_link(revoked.id()).await.expect("its own code");
    for (name, code, why) in [("a", expired, LinkingError::Expired), ("b", revoked, LinkingError::Declined)] {
        tokio::time::timeout(SAFETY, async {
            let linked = Node::link(config(directory.path(), name), "phone", &code, SAFETY, |_| {}).await;
            assert!(matches!(linked.err(), Some(Error::Linking(error)) if error == why), "{why}");
        })
        .await
        .expect("it takes far less");
    }
}
