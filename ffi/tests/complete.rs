//! What apps in other languages can do is what the facade can: whatever `clave` has is here under the same name, or under
//! another, or is left out, and then `complete/` says under which or why. Read from the sources of both, so that what is
//! added to the facade is missed here the same day.
//!
//! Three lists: functions (the free ones, and the methods of types that `core/src` defines), fields of records, cases of enums. Types of the crates
//! below `clave` count as far as `clave` names them; their methods do not, since ids and the like cross as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, File, ImplItem, Item, Type, UseTree, Visibility};

/// `facade = here`, or `facade: why not`; of one that is not here with all that it has, the type alone.
const NAMED: &str = include_str!("complete/named.txt");

/// What there is: `Type::function`, `Type.field`, `Type::Case`, `function`.
type Names = BTreeSet<String>;

#[test]
fn nothing_of_the_facade_is_missing_here_without_a_reason() {
    let (facade, here) = (facade(), here());
    assert!(facade.len() > 400 && here.len() > 400, "{} and {}: were the sources read?", facade.len(), here.len());
    let mut named = named();
    let mut wrong = Vec::new();
    for name in &facade {
        if here.contains(name) {
            continue;
        }
        let whole = name.split(['.', ':']).next().unwrap_or_default();
        let said = [name.as_str(), whole].into_iter().find(|name| named.contains_key(*name));
        let Some(said) = said else {
            wrong.push(format!("{name}: neither here nor in complete/named.txt"));
            continue;
        };
        let said = named.get_mut(said).expect("it was found on the line above");
        said.1 = true;
        match &said.0 {
            Said::Why(why) if why.is_empty() => wrong.push(format!("{name}: left out without a reason")),
            Said::Why(_) => {}
            Said::Here(other) => {
                let rest = &name[whole.len()..];
                if !here.contains(other) && !here.contains(&format!("{other}{rest}")) {
                    wrong.push(format!("{name}: {other}, by which it should be here, does not have it"));
                }
            }
        }
    }
    wrong.extend(named.iter().filter(|(_, (_, used))| !used).map(|(name, _)| format!("{name}: named for nothing")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

enum Said {
    Here(String),
    Why(String),
}

/// What `complete/named.txt` says, and whether anybody asked.
fn named() -> BTreeMap<String, (Said, bool)> {
    let lines = NAMED.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = |line: &str| match (line.split_once(" = "), line.split_once(" - ")) {
        (Some((name, other)), _) => (name.to_owned(), (Said::Here(other.trim().to_owned()), false)),
        (None, Some((name, why))) => (name.trim().to_owned(), (Said::Why(why.trim().to_owned()), false)),
        (None, None) => panic!("{line}: `facade = here`, or `facade - why not`"),
    };
    lines.map(line).collect()
}

fn here() -> Names {
    let mut names = Names::new();
    for file in sources("ffi/src") {
        for item in file.items {
            match item {
                Item::Fn(function) if is_exported(&function.attrs) => _ = names.insert(function.sig.ident.to_string()),
                Item::Impl(block) if is_exported(&block.attrs) => {
                    methods(&block, &mut names, &type_name(&block.self_ty))
                }
                Item::Trait(listener) if is_exported(&listener.attrs) => {
                    let methods = listener.items.iter().filter_map(|item| match item {
                        syn::TraitItem::Fn(method) => Some(format!("{}::{}", listener.ident, method.sig.ident)),
                        _ => None,
                    });
                    names.extend(methods);
                }
                Item::Struct(_) | Item::Enum(_) => contents(&item, &mut names, None),
                _ => {}
            }
        }
    }
    names
}

fn facade() -> Names {
    let root = parse(&house().join("core/src/lib.rs"));
    let mut uses = Vec::new();
    for item in &root.items {
        if let Item::Use(item) = item
            && matches!(item.vis, Visibility::Public(_))
        {
            flatten(&item.tree, &mut Vec::new(), &mut uses);
        }
    }
    let rooms = ["core/src", "core/engine/src", "crdt/src", "crypto/src"].map(|room| (room, sources(room)));
    let mut names = Names::new();
    for (path, original, known_as) in uses {
        match path[0].as_str() {
            // How bytes are kept: the host has a directory, and no say in it.
            "store" => continue,
            _ if original.starts_with(|letter: char| letter.is_ascii_uppercase()) => {}
            _ => {
                names.insert(known_as);
                continue;
            }
        }
        let room = match (path[0].as_str(), path.get(1).map(String::as_str)) {
            ("clave_engine", Some("crdt")) => "crdt/src",
            ("clave_engine", Some("crypto")) => "crypto/src",
            ("clave_engine", _) => "core/engine/src",
            _ => "core/src",
        };
        let files = rooms.iter().filter(|(name, _)| *name == room).flat_map(|(_, files)| files);
        for item in files.flat_map(|file| &file.items) {
            match item {
                Item::Impl(block)
                    if path[0] != "clave_engine" && block.trait_.is_none() && type_name(&block.self_ty) == original =>
                {
                    methods(block, &mut names, &known_as);
                }
                Item::Struct(it) if it.ident == original => contents(item, &mut names, Some(&known_as)),
                Item::Enum(it) if it.ident == original => contents(item, &mut names, Some(&known_as)),
                _ => {}
            }
        }
    }
    names
}

/// The public methods of a block, as `Type::method`.
fn methods(block: &syn::ItemImpl, names: &mut Names, type_name: &str) {
    for item in &block.items {
        if let ImplItem::Fn(method) = item
            && matches!(method.vis, Visibility::Public(_))
        {
            names.insert(format!("{type_name}::{}", method.sig.ident));
        }
    }
}

/// The public fields of a record as `Type.field`, the cases of an enum as `Type::Case` and `Type::Case.field`.
fn contents(item: &Item, names: &mut Names, known_as: Option<&str>) {
    match item {
        Item::Struct(record) if matches!(record.vis, Visibility::Public(_)) => {
            let name = known_as.map_or_else(|| record.ident.to_string(), str::to_owned);
            for field in record.fields.iter().filter(|field| matches!(field.vis, Visibility::Public(_))) {
                names.extend(field.ident.as_ref().map(|field| format!("{name}.{field}")));
            }
        }
        Item::Enum(choice) if matches!(choice.vis, Visibility::Public(_)) => {
            let name = known_as.map_or_else(|| choice.ident.to_string(), str::to_owned);
            names.extend(choice.variants.iter().map(|case| format!("{name}::{}", case.ident)));
        }
        _ => {}
    }
}

/// Each name of a `use`: the path before it, its own, and that under which it is known from then on.
fn flatten(tree: &UseTree, path: &mut Vec<String>, names: &mut Vec<(Vec<String>, String, String)>) {
    match tree {
        UseTree::Path(part) => {
            path.push(part.ident.to_string());
            flatten(&part.tree, path, names);
            path.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, path, names)),
        UseTree::Name(name) => names.push((path.clone(), name.ident.to_string(), name.ident.to_string())),
        UseTree::Rename(name) => names.push((path.clone(), name.ident.to_string(), name.rename.to_string())),
        UseTree::Glob(_) => panic!("what the facade has stands in its root by name"),
    }
}

fn is_exported(attributes: &[Attribute]) -> bool {
    let is_it = |path: &syn::Path| path.segments.iter().map(|part| part.ident.to_string()).eq(["uniffi", "export"]);
    attributes.iter().any(|attribute| is_it(attribute.path()))
}

fn type_name(it: &Type) -> String {
    match it {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default(),
        _ => String::new(),
    }
}

fn house() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every source below a directory of the house, or the one that is named.
fn sources(room: &str) -> Vec<File> {
    let (mut files, mut rooms) = (Vec::new(), vec![house().join(room)]);
    while let Some(path) = rooms.pop() {
        if path.is_dir() {
            rooms.extend(fs::read_dir(&path).expect("the sources are there").flatten().map(|entry| entry.path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files.iter().map(|file| parse(file)).collect()
}

fn parse(file: &Path) -> File {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
