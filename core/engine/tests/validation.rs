//! That `docs/validation.md` names tests that exist, and leaves out none of the hostile ones.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The title of the section of rules that nobody switches off.
const WITHOUT: &str = "\n## Rules without a mutation\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The tests in the files of a folder, as `file::test`.
fn tests_in(folder: &str) -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for file in std::fs::read_dir(root().join(folder)).expect("the folder is there") {
        let path = file.expect("it can be listed").path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let module = path.file_stem().and_then(|stem| stem.to_str()).expect("a plain name").to_owned();
        let source = std::fs::read_to_string(&path).expect("it can be read");
        let mut is_test = false;
        for line in source.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split_once('(')).filter(|_| is_test) {
                tests.insert(format!("{module}::{}", name.0));
            }
            is_test = line == "#[test]" || (is_test && line.starts_with("#["));
        }
    }
    tests
}

/// Whether `module::tests::test` stands in that module of the engine, or in the file of its tests.
fn is_unit_test(name: &str) -> bool {
    let Some((module, test)) = name.split_once("::tests::") else { return false };
    tests_in("core/engine/src").contains(&format!("{module}::{test}"))
        || root().join("core/engine/src").join(module).is_dir()
            && tests_in(&format!("core/engine/src/{module}")).contains(&format!("tests::{test}"))
}

#[test]
fn the_table_of_rules_names_tests_that_exist_and_every_hostile_one() {
    let page = std::fs::read_to_string(root().join("docs/validation.md")).expect("the page is there");
    let (page, _) = page.split_once(WITHOUT).expect("the section is there");
    let rows =
        page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |") && !line.starts_with("| -"));
    let mut named = BTreeSet::new();
    for row in rows {
        let last = row.trim_end_matches(" |").rsplit(" | ").next().expect("a row has cells");
        let tests: Vec<_> = last.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert!(!tests.is_empty(), "a rule without a test: {row}");
        named.extend(tests);
    }
    let hostile = tests_in("core/engine/src/hostile");
    let others = ["core/engine/tests/membership", "crdt/tests", "core/sim/tests"].map(tests_in);
    let known: BTreeSet<_> = others.iter().fold(hostile.clone(), |known, more| known.union(more).cloned().collect());
    let missing: Vec<_> = named.difference(&known).filter(|name| !is_unit_test(name)).collect();
    assert!(missing.is_empty(), "named, but not there: {missing:?}");
    let forgotten: Vec<_> = hostile.difference(&named).collect();
    assert!(forgotten.is_empty(), "there, but no rule names them: {forgotten:?}");
    assert!(hostile.len() > 80 && named.len() > hostile.len(), "the tests are no longer found");
}

/// The numbers of rules in a text, as `E17`.
fn numbers(text: &str) -> impl Iterator<Item = String> {
    let is_number = |word: &&str| {
        let mut letters = word.chars();
        letters.next().is_some_and(|first| first.is_ascii_uppercase())
            && !word[1..].is_empty()
            && letters.all(|letter| letter.is_ascii_digit())
    };
    text.split([',', ' ']).filter(is_number).map(str::to_owned)
}

#[test]
fn every_rule_has_a_mutation_or_a_reason_why_not() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect("it can be read");
    let page = read("docs/validation.md");
    let (tables, without) = page.split_once(WITHOUT).expect("the section is there");
    fn first_cells(text: &str) -> impl Iterator<Item = &str> {
        text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
    }
    let rules: Vec<String> = first_cells(tables).flat_map(numbers).collect();
    let excused: Vec<String> = first_cells(without).flat_map(numbers).collect();
    let hooks = read("core/engine/src/mutation.rs") + &read("crdt/src/mutation.rs");
    let mutated: BTreeSet<String> = hooks.split('"').skip(1).step_by(2).flat_map(numbers).collect();
    assert!(rules.len() > 190 && mutated.len() > 50, "the rules are no longer found");
    let twice = |all: &[String]| all.len() - all.iter().collect::<BTreeSet<_>>().len();
    assert_eq!((twice(&rules), twice(&excused)), (0, 0), "a number stands twice");
    let neither: Vec<_> = rules.iter().filter(|rule| !mutated.contains(*rule) && !excused.contains(rule)).collect();
    assert!(neither.is_empty(), "without a mutation, and nothing says why: {neither:?}");
    let both: Vec<_> = excused.iter().filter(|rule| mutated.contains(*rule) || !rules.contains(rule)).collect();
    assert!(both.is_empty(), "said to have no mutation, and has one, or is no rule: {both:?}");
}
