//! Listings and recursive gets of one tree, by both.

use s3flow::S3Object;
use serde_json::json;

use super::Interop;
use super::peer::{Theirs, python};
use super::table::{Differences, Direction, Table};

/// Stored by Metaflow and s3flow in turns; the value of each is its key.
const TREE: [&str; 8] = [
    "tree/0.txt",
    "tree/b/1.txt",
    "tree/b/x/2.txt",
    "tree/c #1/é.txt",
    "tree/dir/",
    "tree/same",
    "tree/same/below",
    "tree-old/4.txt",
];

pub(super) async fn cases(interop: &Interop, table: &mut Table) {
    let (theirs, ours) = (interop.theirs("listing"), interop.ours("listing"));
    let (by_them, by_us): (Vec<_>, Vec<_>) = TREE.into_iter().enumerate().partition(|(number, _)| number % 2 == 0);
    let pairs: Vec<_> = by_them.iter().map(|(_, key)| python("tuple", vec![json!(key), json!(key)])).collect();
    theirs.call("put_many", json!({"key_objs": pairs})).await.unwrap();
    ours.put_many(by_us.iter().map(|(_, key)| (*key, *key))).await.unwrap();
    ours.put("tree/empty", "").await.unwrap();
    list_recursive(interop, table).await;
    list_paths(interop, table).await;
    get_recursive(interop, table).await;
    get_all(interop, table).await;
    of_nothing(interop, table).await;
}

/// URL, key, whether it exists, and size.
type Entry = (String, String, bool, Option<u64>);

fn of_theirs(objects: &[Theirs]) -> Vec<Entry> {
    objects.iter().map(|object| (object.url.clone(), object.key.clone(), object.exists, object.size)).collect()
}

fn of_ours(objects: &[S3Object]) -> Vec<Entry> {
    objects
        .iter()
        .map(|object| (object.url().to_owned(), object.key().to_owned(), object.exists(), object.size()))
        .collect()
}

/// As Metaflow shows it: keys without the slashes at their ends.
fn as_metaflow_shows(entries: Vec<Entry>) -> Vec<Entry> {
    entries
        .into_iter()
        .map(|(url, key, exists, size)| (url, key.trim_end_matches('/').to_owned(), exists, size))
        .collect()
}

fn entry(root: &str, prefix: &str, key: &str, size: impl Into<Option<u64>>) -> Entry {
    let size = size.into();
    (format!("{root}/{prefix}{key}"), key.to_owned(), size.is_some(), size)
}

async fn list_recursive(interop: &Interop, table: &mut Table) {
    let (root, theirs, ours) = (interop.root("listing"), interop.theirs("listing"), interop.ours("listing"));
    let tree: Vec<Entry> = [
        ("0.txt", 10),
        ("b/1.txt", 12),
        ("b/x/2.txt", 14),
        ("c #1/é.txt", 16),
        ("dir/", 9),
        ("empty", 0),
        ("same", 9),
        ("same/below", 15),
    ]
    .map(|(key, size)| entry(&root, "tree/", key, size))
    .to_vec();
    let old = entry(&root, "tree-old/", "4.txt", 14);
    for (prefixes, expected) in [
        (vec!["tree"], tree.clone()),
        (vec!["tree/"], tree.clone()),
        (vec!["tree-old", "tree"], [vec![old], tree].concat()),
        (vec!["tre"], vec![]),
    ] {
        let listed = theirs.many("list_recursive", json!({"keys": prefixes})).await.unwrap();
        let our_listed = ours.list_recursive(&prefixes).await.unwrap();
        table.case(Direction::Both, format!("list_recursive({prefixes:?})"), |case| {
            case.equal("s3flow", of_ours(&our_listed), expected.clone());
            case.equal("Metaflow", of_theirs(&listed), as_metaflow_shows(expected));
            if prefixes.len() == 1 && !listed.is_empty() {
                let prefix = Some(format!("{root}/{}", prefixes[0]));
                case.equal("Metaflow's prefix", listed[0].prefix.as_ref(), prefix.as_ref());
                case.equal("our prefix", our_listed[0].prefix(), prefix.as_deref());
            }
        });
    }
    let (listed, our_listed) =
        (theirs.many("list_recursive", json!({})).await.unwrap(), ours.list_recursive([""]).await.unwrap());
    table.case(Direction::Both, "list_recursive() of the root", |case| {
        case.equal("s3flow", our_listed.len(), 9);
        case.equal("Metaflow", of_theirs(&listed), as_metaflow_shows(of_ours(&our_listed)));
    });
}

async fn list_paths(interop: &Interop, table: &mut Table) {
    let (root, theirs, ours) = (interop.root("listing"), interop.theirs("listing"), interop.ours("listing"));
    let entries: Vec<Entry> = [
        ("0.txt", Some(10)),
        ("b/", None),
        ("c #1/", None),
        ("dir/", None),
        ("empty", Some(0)),
        ("same", Some(9)),
        ("same/", None),
    ]
    .map(|(key, size)| entry(&root, "tree/", key, size))
    .to_vec();
    let listed = theirs.many("list_paths", json!({"keys": ["tree"]})).await.unwrap();
    let our_listed = ours.list_paths(["tree"]).await.unwrap();
    table.case(Direction::Both, "list_paths([\"tree\"])", |case| {
        let mut seen = of_ours(&our_listed);
        seen.sort();
        case.equal("s3flow", seen, entries.clone());
        let mut expected = as_metaflow_shows(entries);
        let mut theirs = of_theirs(&listed);
        expected.sort();
        theirs.sort();
        case.equal("Metaflow", theirs, expected);
    });
    let listed = theirs.many("list_paths", json!({})).await.unwrap();
    let our_listed = ours.list_paths([""]).await.unwrap();
    table.case(Direction::Both, "list_paths() of the root", |case| {
        case.equal(
            "s3flow",
            of_ours(&our_listed),
            vec![entry(&root, "", "tree-old/", None), entry(&root, "", "tree/", None)],
        );
        case.equal("Metaflow", of_theirs(&listed), as_metaflow_shows(of_ours(&our_listed)));
    });
}

async fn downloads(case: &mut Differences, objects: &[S3Object], expected: &[&str], has_info: bool) {
    let mut seen = Vec::new();
    for object in objects {
        seen.push((object.key().to_owned(), object.text().await.unwrap()));
        case.equal("has_info", object.has_info(), has_info);
    }
    let expected: Vec<_> =
        expected.iter().map(|key| (key.trim_start_matches("tree/").to_owned(), value(key))).collect();
    case.equal("s3flow", seen, expected);
}

fn value(key: &str) -> String {
    if key == "tree/empty" { String::new() } else { key.to_owned() }
}

const BELOW_TREE: [&str; 8] = [
    "tree/0.txt",
    "tree/b/1.txt",
    "tree/b/x/2.txt",
    "tree/c #1/é.txt",
    "tree/dir/",
    "tree/empty",
    "tree/same",
    "tree/same/below",
];

async fn get_recursive(interop: &Interop, table: &mut Table) {
    let (root, theirs, ours) = (interop.root("listing"), interop.theirs("listing"), interop.ours("listing"));
    let texts = |objects: &[Theirs]| -> Vec<(String, String)> {
        objects.iter().map(|object| (object.key.clone(), object.text.clone().unwrap_or_default())).collect()
    };
    let relative = |key: &str| key.trim_start_matches("tree/").trim_end_matches('/').to_owned();

    let got = theirs.many("get_recursive", json!({"keys": ["tree/"]})).await.unwrap();
    let our_got = ours.get_recursive(["tree/"]).await.unwrap();
    let mut case = Differences::default();
    downloads(&mut case, &our_got, &BELOW_TREE, false).await;
    case.equal("Metaflow", texts(&got), BELOW_TREE.map(|key| (relative(key), value(key))).to_vec());
    case.equal("Metaflow's info", got.iter().any(|object| object.has_info), false);
    table.close(Direction::Both, "get_recursive([\"tree/\"])", case);

    let got = theirs.many("get_recursive", json!({"keys": ["tree/"], "return_info": true})).await.unwrap();
    let our_got = ours.get_recursive(["tree/"]).return_info(true).await.unwrap();
    let mut case = Differences::default();
    downloads(&mut case, &our_got, &BELOW_TREE, true).await;
    // With info, Metaflow's keys are relative to the root and not to the prefix.
    let expected = BELOW_TREE.map(|key| (key.trim_end_matches('/').to_owned(), value(key)));
    case.equal("Metaflow", texts(&got), expected.to_vec());
    case.equal("Metaflow's prefix", got[0].prefix.as_ref(), Some(&root));
    case.equal("Metaflow's info", got.iter().all(|object| object.has_info), true);
    table.close(Direction::Both, "get_recursive([\"tree/\"], return_info): Metaflow's keys are of the root then", case);

    let got = theirs.many("get_recursive", json!({"keys": ["tree"]})).await.unwrap();
    let our_got = ours.get_recursive(["tree"]).await.unwrap();
    let mut case = Differences::default();
    downloads(&mut case, &our_got, &BELOW_TREE, false).await;
    let urls: Vec<&str> = got.iter().map(|object| object.url.as_str()).collect();
    case.equal("Metaflow", urls.len(), 9);
    case.equal("Metaflow", urls.contains(&format!("{root}/tree-old/4.txt").as_str()), true);
    table.close(Direction::Both, "get_recursive([\"tree\"]): Metaflow also gets tree-old/4.txt, s3flow not", case);

    let got = theirs.many("get_recursive", json!({"keys": ["tree/0.txt"]})).await.unwrap();
    let our_got = ours.get_recursive(["tree/0.txt"]).await.unwrap();
    table.case(Direction::Both, "get_recursive of one object's name", |case| {
        let url = format!("{root}/tree/0.txt");
        case.equal("Metaflow", got.iter().map(|object| object.url.as_str()).collect::<Vec<_>>(), vec![&url]);
        case.equal("s3flow", our_got.iter().map(S3Object::url).collect::<Vec<_>>(), vec![&url]);
    });
}

async fn get_all(interop: &Interop, table: &mut Table) {
    let (theirs, ours) = (interop.theirs("listing/tree"), interop.ours("listing/tree"));
    let got = theirs.many("get_all", json!({})).await.unwrap();
    let our_got = ours.get_all().await.unwrap();
    let mut case = Differences::default();
    downloads(&mut case, &our_got, &BELOW_TREE, false).await;
    let stray: Vec<&str> =
        got.iter().filter(|object| !object.url.contains("/tree/")).map(|object| object.url.as_str()).collect();
    case.equal("Metaflow", (got.len(), stray), (9, vec![interop.root("listing/tree-old/4.txt").as_str()]));
    table.close(Direction::Both, "get_all(): Metaflow also gets the objects of tree-old, s3flow not", case);

    let theirs_error = interop.peer.s3(json!({})).many("get_all", json!({})).await;
    let ours_error = interop.client.s3().build().unwrap().get_all().await;
    table.case(Direction::Both, "get_all() without a root: refused", |case| {
        let class = theirs_error.map_err(|raised| raised.class).err();
        case.equal("Metaflow", class.as_deref(), Some("MetaflowS3URLException"));
        case.equal("s3flow", ours_error.map_err(|error| error.kind()).err(), Some(s3flow::ErrorKind::InvalidUrl));
    });
}

/// No keys: no request.
async fn of_nothing(interop: &Interop, table: &mut Table) {
    let (theirs, ours) = (interop.theirs("listing"), interop.ours("listing"));
    let none: [&str; 0] = [];
    let ours = [
        ours.get_many(none).await.unwrap().len(),
        ours.info_many(none).await.unwrap().len(),
        ours.get_recursive(none).await.unwrap().len(),
        ours.list_recursive(none).await.unwrap().len(),
        ours.list_paths(none).await.unwrap().len(),
    ];
    let mut counts = Vec::new();
    for method in ["get_many", "info_many", "get_recursive", "list_recursive", "list_paths"] {
        counts.push(theirs.many(method, json!({"keys": none})).await.unwrap().len());
    }
    table.case(Direction::Both, "no keys: empty lists", |case| {
        case.equal("s3flow", ours, [0; 5]);
        case.equal("Metaflow", counts, vec![0; 5]);
    });
}
