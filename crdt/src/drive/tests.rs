use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::testing::{Net, Step, steps};
use crate::{Actor, Applied, ChangeFault, inspect_change};

fn actor(byte: u8) -> Actor {
    Actor::new([byte; 32], [0; 4], 0)
}

fn file(n: u8) -> FileVersion {
    FileVersion {
        manifest: [n; 32],
        manifest_key: [n + 1; 32],
        bytes: u64::from(n) * 1_000,
        blake3: [n + 2; 32],
        modified_ms: 1_790_000_000_000,
        media_type: "text/plain".into(),
    }
}

/// Two devices that know the same drive: `/工作` and `/家`, and in the first `计划.md`.
struct Pair {
    alice: Document,
    bob: Document,
    work: NodeId,
    home: NodeId,
    plan: NodeId,
}

fn pair() -> Pair {
    let mut alice = Document::new(DocumentKind::Drive, actor(1));
    let mut drive = alice.drive().unwrap();
    let work = drive.mkdir(NodeId::ROOT, "工作", [2; 16]).unwrap();
    let home = drive.mkdir(NodeId::ROOT, "家", [4; 16]).unwrap();
    let plan = drive.add_file(work, "计划.md", [6; 16], &file(1)).unwrap();
    alice.commit(0).unwrap();
    let bob = alice.fork(actor(2)).unwrap();
    Pair { alice, bob, work, home, plan }
}

impl Pair {
    /// Both commit, both hear of it. What they see then, which is the same.
    fn meet(&mut self) -> Tree {
        let (a, b) = (self.alice.commit(0), self.bob.commit(0));
        for (document, change) in [(&mut self.alice, b), (&mut self.bob, a)] {
            let changes: Vec<_> = change.into_iter().collect();
            assert_eq!(document.apply(&changes).unwrap().refused, vec![]);
        }
        let tree = self.alice.drive().unwrap().tree();
        assert_eq!(self.bob.drive().unwrap().tree(), tree);
        check_tree(&tree);
        tree
    }
}

/// No cycle, no orphan: from every node a way leads up to the root or the trash, and every name is used once.
fn check_tree(tree: &Tree) {
    for node in tree.nodes() {
        let mut at = node.parent;
        let mut seen = BTreeSet::from([node.id]);
        while at != NodeId::ROOT && at != NodeId::TRASH {
            assert!(seen.insert(at), "{at} is in a loop");
            assert!(at.is_folder());
            at = tree.node(at).expect("parents are there").parent;
        }
        assert_eq!(node.trashed, at == NodeId::TRASH);
        let siblings = tree.list(node.parent).unwrap();
        assert_eq!(siblings.iter().filter(|sibling| sibling.name == node.name).count(), 1);
        assert_eq!(siblings.iter().filter(|sibling| sibling.id == node.id).count(), 1);
        if !node.trashed {
            assert_eq!(tree.resolve(&tree.path(node.id).unwrap()), Ok(node.id));
        }
    }
}

fn names(tree: &Tree, folder: NodeId) -> Vec<&str> {
    tree.list(folder).unwrap().into_iter().map(|node| node.name.as_str()).collect()
}

#[test]
fn files_lie_in_folders() {
    let Pair { mut alice, work, home, plan, .. } = pair();
    let mut drive = alice.drive().unwrap();
    assert_eq!(drive.resolve("/工作/计划.md"), Ok(plan));
    assert_eq!(drive.resolve("/"), Ok(NodeId::ROOT));
    assert_eq!(drive.resolve("/工作/"), Ok(work));
    assert_eq!(drive.resolve("/nowhere"), Err(CrdtError::NotFound("file or folder")));
    assert!(matches!(drive.resolve("工作"), Err(CrdtError::Invalid(_))));
    assert_eq!(drive.list(work).unwrap()[0].current.as_ref().unwrap().file, file(1));
    assert_eq!(drive.list(plan), Err(CrdtError::NotFound("folder")));
    drive.move_node(plan, home).unwrap();
    drive.rename(plan, "plan 📝.md").unwrap();
    let tree = drive.tree();
    assert_eq!(tree.path(plan).unwrap(), "/家/plan 📝.md");
    assert_eq!((names(&tree, work), names(&tree, home)), (vec![], vec!["plan 📝.md"]));
    assert_eq!(drive.files().iter().map(|node| node.id).collect::<Vec<_>>(), [plan]);
    // What was built step by step is what is evaluated from the records.
    alice.commit(0).unwrap();
    assert_eq!(alice.drive().unwrap().tree(), tree);
}

#[test]
fn what_does_not_fit_is_refused() {
    let Pair { mut alice, work, home, plan, .. } = pair();
    let mut drive = alice.drive().unwrap();
    let inner = drive.mkdir(work, "里", [8; 16]).unwrap();
    assert_eq!(drive.mkdir(NodeId::ROOT, "家", [10; 16]), Err(CrdtError::NameTaken));
    assert_eq!(drive.rename(work, "家"), Err(CrdtError::NameTaken));
    assert_eq!(drive.mkdir(plan, "x", [10; 16]), Err(CrdtError::NotFound("folder")));
    assert_eq!(
        drive.mkdir(home, "x", [8; 16]).unwrap_err().to_string(),
        "these random bytes were used before; draw others"
    );
    assert!(matches!(drive.move_node(work, inner), Err(CrdtError::Invalid(_))));
    assert!(matches!(drive.move_node(work, work), Err(CrdtError::Invalid(_))));
    assert_eq!(drive.move_node(NodeId::ROOT, work), Err(CrdtError::NotFound("file or folder")));
    assert_eq!(drive.put_version(work, &file(1)), Err(CrdtError::NotFound("file")));
    drive.mkdir(home, "cafe\u{301}", [10; 16]).unwrap();
    assert_eq!(drive.mkdir(home, "café", [12; 16]), Err(CrdtError::NameTaken));
    assert_eq!(drive.resolve("/家/cafe\u{301}"), drive.resolve("/家/café"));
    let big = FileVersion { media_type: "x".repeat(VERSION_BYTES_MAX), ..file(1) };
    assert!(matches!(drive.add_file(home, "big", [14; 16], &big), Err(CrdtError::TooLarge { .. })));
    assert_eq!(drive.list(home).unwrap().len(), 1);
    assert!(!format!("{:?}", file(1)).contains("manifest_key"));
}

#[test]
fn two_folders_moved_into_each_other_stay_a_tree() {
    let mut pair = pair();
    pair.alice.drive().unwrap().move_node(pair.work, pair.home).unwrap();
    pair.bob.drive().unwrap().move_node(pair.home, pair.work).unwrap();
    let tree = pair.meet();
    // Bob's move has the greater operation id, so it is the one that is passed over.
    assert_eq!(tree.path(pair.plan).unwrap(), "/家/工作/计划.md");
}

#[test]
fn to_move_and_to_rename_at_once_does_both() {
    let mut pair = pair();
    pair.alice.drive().unwrap().move_node(pair.plan, pair.home).unwrap();
    pair.bob.drive().unwrap().rename(pair.plan, "改.md").unwrap();
    assert_eq!(pair.meet().path(pair.plan).unwrap(), "/家/改.md");
}

#[test]
fn what_is_added_to_a_folder_while_it_is_thrown_away_is_not_lost() {
    let mut pair = pair();
    pair.alice.drive().unwrap().trash(pair.work).unwrap();
    let added = pair.bob.drive().unwrap().add_file(pair.work, "迟到.txt", [20; 16], &file(3)).unwrap();
    let tree = pair.meet();
    assert!(tree.node(added).unwrap().trashed && tree.files().next().is_none());
    assert_eq!(names(&tree, NodeId::TRASH), ["工作"]);
    assert_eq!(tree.node(pair.work).unwrap().trashed_from, Some(NodeId::ROOT));
    let mut drive = pair.alice.drive().unwrap();
    assert_eq!(drive.mkdir(pair.work, "x", [22; 16]), Err(CrdtError::NotFound("folder")));
    assert_eq!(drive.restore(pair.home), Err(CrdtError::NotFound("file or folder in the trash")));
    assert_eq!(drive.restore(pair.work), Ok(NodeId::ROOT));
    let tree = pair.meet();
    assert_eq!(tree.path(added).unwrap(), "/工作/迟到.txt");
    assert_eq!(tree.path(pair.plan).unwrap(), "/工作/计划.md");
}

#[test]
fn a_file_is_restored_to_the_root_if_its_folder_is_gone() {
    let Pair { mut alice, work, plan, .. } = pair();
    let mut drive = alice.drive().unwrap();
    drive.trash(plan).unwrap();
    drive.trash(work).unwrap();
    drive.add_file(NodeId::ROOT, "计划.md", [30; 16], &file(2)).unwrap();
    assert_eq!(drive.restore(plan), Ok(NodeId::ROOT));
    // The older keeps the name.
    assert_eq!(names(&drive.tree(), NodeId::ROOT), ["家", "计划 (2).md", "计划.md"]);
    assert_eq!(drive.resolve("/计划.md"), Ok(plan));
    // Out of a folder that is in the trash, a file can be saved alone.
    let mut drive = alice.drive().unwrap();
    drive.restore(work).unwrap();
    drive.move_node(plan, work).unwrap();
    drive.trash(work).unwrap();
    assert_eq!(drive.restore(plan), Ok(NodeId::ROOT));
}

#[test]
fn two_of_one_name_are_both_there() {
    let mut pair = pair();
    let ours = pair.alice.drive().unwrap().add_file(pair.home, "照片.jpg", [40; 16], &file(1)).unwrap();
    let mut drive = pair.bob.drive().unwrap();
    let theirs = drive.add_file(pair.home, "照片.jpg", [42; 16], &file(2)).unwrap();
    drive.add_file(pair.home, "照片 (2).jpg", [44; 16], &file(3)).unwrap();
    let tree = pair.meet();
    assert_eq!(names(&tree, pair.home), ["照片 (2).jpg", "照片 (3).jpg", "照片.jpg"]);
    assert_eq!(tree.resolve("/家/照片.jpg"), Ok(ours));
    assert_eq!(tree.resolve("/家/照片 (3).jpg"), Ok(theirs));
}

#[test]
fn versions_written_at_once_are_a_conflict_until_somebody_chooses() {
    let mut pair = pair();
    pair.alice.drive().unwrap().put_version(pair.plan, &file(10)).unwrap();
    pair.bob.drive().unwrap().put_version(pair.plan, &file(20)).unwrap();
    let tree = pair.meet();
    let node = tree.node(pair.plan).unwrap();
    let conflicts: Vec<_> = node.conflicts.iter().map(|version| version.file.manifest[0]).collect();
    assert_eq!((node.current.as_ref().unwrap().file.clone(), conflicts), (file(20), vec![10]));
    assert_eq!((node.author, node.current.as_ref().unwrap().id.actor), (actor(1), actor(2)));
    pair.alice.drive().unwrap().put_version(pair.plan, &file(30)).unwrap();
    let tree = pair.meet();
    let node = tree.node(pair.plan).unwrap();
    assert_eq!((node.current.as_ref().unwrap().file.clone(), node.conflicts.len()), (file(30), 0));
    let versions = pair.bob.drive().unwrap().versions(pair.plan).unwrap();
    assert_eq!(versions.iter().map(|version| version.file.manifest[0]).collect::<Vec<_>>(), [30, 20, 10, 1]);
}

#[test]
fn the_convergence_secret_is_the_first_that_was_set() {
    let mut pair = pair();
    assert_eq!(pair.alice.drive().unwrap().convergence_secret(), None);
    pair.alice.drive().unwrap().init_drive([7; 32]).unwrap();
    pair.bob.drive().unwrap().init_drive([6; 32]).unwrap();
    pair.meet();
    for document in [&mut pair.alice, &mut pair.bob] {
        let mut drive = document.drive().unwrap();
        assert_eq!(drive.convergence_secret(), Some([7; 32]));
        assert!(matches!(drive.init_drive([8; 32]), Err(CrdtError::Invalid(_))));
    }
}

#[test]
fn records_cannot_be_overwritten_or_deleted() {
    use automerge::transaction::Transactable;
    let mut pair = pair();
    let key = format!("{PLACE_PREFIX}{}/0", pair.plan);
    for attack in [true, false] {
        let mut mallory = pair.alice.fork(actor(66 + u8::from(attack))).unwrap();
        if attack {
            mallory.automerge_mut().delete(ROOT, key.as_str()).unwrap();
        } else {
            mallory.put_root(key.clone(), vec![0]).unwrap();
        }
        let change = mallory.commit(0).unwrap();
        let refused = vec![(inspect_change(&change).unwrap().hash, ChangeFault::Operations)];
        assert_eq!(pair.alice.apply(&[change]).unwrap(), Applied { changed: false, missing: 0, refused });
    }
    assert!(pair.meet().resolve("/工作/计划.md").is_ok());
}

#[test]
fn malformed_records_harm_nothing() {
    let mut pair = pair();
    let mut mallory = pair.alice.fork(actor(66)).unwrap();
    let stray = NodeId::file([50; 16]);
    let (unknown, deep) = (NodeId::folder([52; 16]), NodeId::folder([54; 16]));
    let place = |parent, name| Placement::new(Some(parent), Some(name)).encode_to_vec();
    let records = [
        (format!("{PLACE_PREFIX}nonsense/0"), place(NodeId::ROOT, "x")),
        (format!("{PLACE_PREFIX}{stray}/0"), vec![0xff]),
        (format!("{PLACE_PREFIX}{stray}/1"), place(unknown, "a/b")),
        (format!("{PLACE_PREFIX}{stray}/2"), place(pair.plan, "..")),
        (format!("{PLACE_PREFIX}{deep}/0"), place(deep, "我")),
        (format!("{PLACE_PREFIX}{}/0", NodeId::ROOT), place(pair.work, "root")),
        (format!("{PLACE_PREFIX}{}/0", NodeId::TRASH), place(pair.work, "trash")),
        (format!("{VERSION_PREFIX}{}/x", pair.plan), vec![1, 2, 3]),
    ];
    for (key, bytes) in records {
        mallory.put_root(key, bytes).unwrap();
    }
    mallory.put_root(format!("{PLACE_PREFIX}{}/9", pair.plan), 7).unwrap();
    pair.alice.apply(&[mallory.commit(0).unwrap()]).unwrap();
    let tree = pair.alice.drive().unwrap().tree();
    check_tree(&tree);
    assert_eq!(tree.node(stray).unwrap().name, stray.to_string());
    assert_eq!(names(&tree, NodeId::TRASH).len(), 2);
    assert_eq!(tree.resolve("/工作/计划.md"), Ok(pair.plan));
    assert_eq!(tree.node(pair.plan).unwrap().current.as_ref().unwrap().file, file(1));
}

#[test]
fn the_stored_form_of_records_is_fixed() {
    let place = Placement::new(Some(NodeId::from_bytes([1; 16])), Some("名"));
    assert_eq!(place.encode_to_vec(), [vec![0x0a, 16], vec![1; 16], vec![0x12, 3, 0xe5, 0x90, 0x8d]].concat());
    let replaces = [VersionId { counter: 300, actor: Actor::from_bytes([9; 24]) }];
    let version = FileVersion {
        manifest: [1; 32],
        manifest_key: [2; 32],
        bytes: 3,
        blake3: [4; 32],
        modified_ms: 5,
        media_type: "a/b".into(),
    };
    let golden = [
        [vec![0x0a, 32], vec![1; 32], vec![0x12, 32], vec![2; 32], vec![0x18, 3]].concat(),
        [vec![0x22, 32], vec![4; 32], vec![0x28, 5, 0x32, 3, b'a', b'/', b'b']].concat(),
        [vec![0x3a, 29, 0x08, 0xac, 2, 0x12, 24], vec![9; 24]].concat(),
    ];
    let bytes = VersionRecord::encode(&version, &replaces).unwrap();
    assert_eq!(bytes, golden.concat());
    assert_eq!(VersionRecord::read(&bytes), Some((version, replaces.to_vec())));
    assert_eq!(NodeId::folder([2; 16]).to_string().parse(), Ok(NodeId::folder([2; 16])));
    assert_eq!(NodeId::folder([2; 16]).to_string(), "0c1040g2081040g2081040g208");
}

/// Pages say of each folder what the tree says. How many there are.
fn check_pages(drive: &Drive<'_>) -> usize {
    let (tree, pages) = (drive.tree(), drive.pages());
    let page = |name: FolderPage| Ok::<_, CrdtError>(pages.get(&name).cloned());
    let folders = tree.nodes().map(|node| node.id).filter(NodeId::is_folder);
    for folder in folders.chain([NodeId::ROOT, NodeId::TRASH]) {
        let listed = folder_of_pages(folder, page).unwrap().expect("it is there");
        let mut expected: Vec<Node> = tree.list(folder).unwrap().into_iter().cloned().collect();
        expected.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(listed, expected);
    }
    assert_eq!(folder_of_pages(NodeId::folder([0xee; 16]), page), Ok(None));
    pages.len()
}

#[test]
fn a_large_folder_has_many_pages_and_a_file_that_changes_changes_one() {
    let mut document = Document::new(DocumentKind::Drive, actor(1));
    let mut drive = document.drive().unwrap();
    assert_eq!(check_pages(&drive), 2, "the root and the trash");
    let nodes: Vec<NodeId> = (0..2_000_u128)
        .map(|n| {
            let random = (n * 0x9e37_79b9_7f4a_7c15).to_be_bytes();
            drive.add_file(NodeId::ROOT, &format!("文件 {n}.md"), random, &file(1)).unwrap()
        })
        .collect();
    assert_eq!(check_pages(&drive), 8 + 1);
    let before = drive.pages();
    drive.put_version(nodes[999], &file(2)).unwrap();
    let changed = drive.pages().into_iter().filter(|(name, page)| before.get(name) != Some(page)).count();
    assert_eq!(changed, 1);
}

#[derive(Clone, Debug)]
enum Edit {
    Mkdir(usize, u8),
    Add(usize, u8),
    Write(usize, u8),
    Move(usize, usize),
    Rename(usize, u8),
    Trash(usize),
    Restore(usize),
}

fn edits() -> impl Strategy<Value = Edit> + Clone {
    let (which, what) = (0..99_usize, 0..6_u8);
    prop_oneof![
        3 => (which.clone(), what.clone()).prop_map(|(at, name)| Edit::Mkdir(at, name)),
        2 => (which.clone(), what.clone()).prop_map(|(at, name)| Edit::Add(at, name)),
        1 => (which.clone(), what.clone()).prop_map(|(at, n)| Edit::Write(at, n)),
        5 => (which.clone(), which.clone()).prop_map(|(node, to)| Edit::Move(node, to)),
        1 => (which.clone(), what).prop_map(|(node, name)| Edit::Rename(node, name)),
        2 => which.clone().prop_map(Edit::Trash),
        1 => which.prop_map(Edit::Restore),
    ]
}

/// Runs a history. The net, every node that was made, and how many versions each file was given.
fn run(steps: Vec<Step<Edit>>) -> (Net, BTreeMap<NodeId, usize>) {
    const NAMES: [&str; 6] = ["文件.txt", "文件 (2).txt", "📁", "a", "b.tar.gz", "ñ"];
    let mut net = Net::new(DocumentKind::Drive, 3);
    let mut made = BTreeMap::new();
    let mut count = 0_u128;
    net.run(steps, |document, _, edit| {
        let mut drive = document.drive().unwrap();
        let nodes: Vec<_> = drive.tree().nodes().map(|node| node.id).collect();
        let folders: Vec<_> =
            [NodeId::ROOT].into_iter().chain(nodes.iter().copied().filter(NodeId::is_folder)).collect();
        let folder = |at: usize| folders[at % folders.len()];
        let node = |at: usize| nodes.get(at % nodes.len().max(1)).copied();
        count += 2;
        let random = count.to_be_bytes();
        // An edit that is refused, because it does not fit, is passed over; the others must take effect.
        match edit {
            Edit::Mkdir(at, name) => {
                made.extend(drive.mkdir(folder(at), NAMES[usize::from(name)], random).ok().map(|id| (id, 0)));
            }
            Edit::Add(at, name) => {
                let added = drive.add_file(folder(at), NAMES[usize::from(name)], random, &file(name));
                made.extend(added.ok().map(|id| (id, 1)));
            }
            Edit::Write(at, n) => {
                if let Some(id) = node(at).filter(|id| drive.put_version(*id, &file(n)).is_ok()) {
                    *made.get_mut(&id).unwrap() += 1;
                }
            }
            Edit::Move(at, to) => drop(node(at).map(|node| drive.move_node(node, folder(to)))),
            Edit::Rename(at, name) => drop(node(at).map(|node| drive.rename(node, NAMES[usize::from(name)]))),
            Edit::Trash(at) => drop(node(at).map(|node| drive.trash(node))),
            Edit::Restore(at) => drop(node(at).map(|node| drive.restore(node))),
        }
        let tree = drive.tree();
        assert_eq!(document.drive().unwrap().tree(), tree, "a step taken is a step evaluated");
    });
    (net, made)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn all_devices_come_to_see_one_tree(steps in steps(edits(), 80)) {
        let (mut net, made) = run(steps);
        let tree = net.documents[0].drive().unwrap().tree();
        check_tree(&tree);
        check_pages(&net.documents[0].drive().unwrap());
        prop_assert!(tree.nodes().map(|node| node.id).eq(made.keys().copied()), "something was lost");
        for document in &mut net.documents {
            let drive = document.drive().unwrap();
            prop_assert_eq!(&drive.tree(), &tree);
            for (id, versions) in made.iter().filter(|(id, _)| !id.is_folder()) {
                prop_assert_eq!(drive.versions(*id).unwrap().len(), *versions);
            }
        }
    }
}
