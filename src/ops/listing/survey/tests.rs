use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::range::KeyRange;
use super::*;

const PAGE: usize = 1000;

fn answer(keys: &[String], question: &Question, page: usize) -> Answer {
    let Question { prefix, next_level, start_after } = question;
    let from = keys.partition_point(|key| key < prefix || start_after.as_ref().is_some_and(|after| key <= after));
    let mut entries: Vec<(String, bool)> = Vec::new();
    let mut at = from;
    while at < keys.len() && keys[at].starts_with(prefix) {
        if entries.len() == page {
            return Answer { entries, more: true };
        }
        match keys[at][prefix.len()..].find('/').filter(|_| *next_level) {
            Some(slash) => {
                let directory = keys[at][..=prefix.len() + slash].to_owned();
                at += keys[at..].partition_point(|key| key.starts_with(&directory));
                entries.push((directory, true));
            }
            None => {
                entries.push((keys[at].clone(), false));
                at += 1;
            }
        }
    }
    Answer { entries, more: false }
}

struct Planned {
    cuts: Vec<String>,
    probes: usize,
}

fn planned(keys: &[String], prefix: &str, parts: usize, page: usize, most: Option<usize>) -> Planned {
    let mut survey = Survey::new(prefix, most);
    let mut probes = 0;
    while let Some(question) = survey.next(parts) {
        assert!(survey.answered(&question, answer(keys, &question, page)));
        probes += 1;
    }
    Planned { cuts: survey.cuts(parts), probes }
}

/// The largest part, in means.
fn ratio(keys: &[String], cuts: &[String], parts: usize) -> f64 {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| keys.partition_point(|key| key <= cut)).collect();
    ends.push(keys.len());
    let mut before = 0;
    let mut largest = 0;
    for end in ends {
        largest = largest.max(end - before);
        before = end;
    }
    largest as f64 * parts as f64 / keys.len() as f64
}

fn sorted(keys: impl IntoIterator<Item = String>) -> Vec<String> {
    keys.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

fn sets(count: usize) -> Vec<(&'static str, Vec<String>)> {
    let mut random = fastrand::Rng::with_seed(11);
    let mut hex = |length: usize| -> String { (0..length).map(|_| random.digit(16)).collect() };
    let uuids = sorted((0..count).map(|_| [hex(8), hex(4), hex(4), hex(4), hex(12)].join("-")));
    let hexes = sorted((0..count).map(|_| hex(32)));
    let in_ten = sorted((0..count).map(|number| {
        let directory = if number % 10 == 0 { number / 10 % 10 } else { 6 };
        format!("user-{directory}/{}", hex(16))
    }));
    let zipf = sorted((0..count).map(|number| {
        // The k-th of 24 directories has about 1/k of the first one; their names are in no order of size.
        let place = (number as f64 / count as f64 * 24.5_f64.ln()).exp() as usize;
        format!("tenant-{:02}/{}", place * 7 % 25, hex(16))
    }));
    let dates = |years: usize| {
        sorted((0..count).map(|number| {
            let day = number * 365 * years / count;
            let second = number * (86_400 * 365 * years / 1000) / count * 1000 % 86_400 + number % 997;
            let (year, month, of_month) = (day / 365, day % 365 / 31, day % 365 % 31);
            format!("{}/{:02}/{:02}/{:05}-{number:07}.json", 2024 + year, month + 1, of_month + 1, second)
        }))
    };
    let year_and_a_half = sorted((0..count).map(|number| {
        let second = number * 40_000_000 / count;
        let (day, second) = (second / 86_400, second % 86_400);
        let (month, day) = (day / 28, day % 28);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        format!("{}/{:02}/{:02}/{hour:02}-{minute:02}-{second:02}.json", 2025 + month / 12, month % 12 + 1, day + 1)
    }));
    let flat_dates = |seconds: usize| {
        sorted((0..count).map(|number| {
            let second = number * seconds / count;
            let (day, second) = (second / 86_400, second % 86_400);
            let (month, day) = (day / 28 % 12, day % 28);
            let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
            format!("2026-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z{number:07}", month + 1, day + 1)
        }))
    };
    let runs = sorted((0..count).map(|number| match number % 100 {
        0..=39 => format!("b-run/{number:09}"),
        40..=97 => format!("m-run/{number:09}"),
        _ => format!("{:04x}", number * 7 % 20_000 / 40),
    }));
    let in_ten_numbered = sorted((0..count).map(|number| {
        let directory = if number % 10 == 0 { number / 10 % 10 } else { 6 };
        format!("user-{directory}/{number:09}")
    }));
    let any_of = |characters: &str| {
        let characters: Vec<char> = characters.chars().collect();
        let mut random = fastrand::Rng::with_seed(12);
        let name = |_| (0..12).map(|_| characters[random.usize(..characters.len())]).collect();
        sorted((0..count).map(name))
    };
    let letters: String = ('A'..='Z').chain('a'..='z').chain('0'..='9').collect();
    let hot_and_cold = sorted((0..count).map(|number| match number % 10 {
        0 => format!("cold/{number:09}"),
        _ => format!("hot/{number:09}"),
    }));
    vec![
        ("base 62", any_of(&letters)),
        ("base 64", any_of(&format!("{letters}-_"))),
        ("base 32", any_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
        ("numbered, nine of ten in one of two directories", hot_and_cold),
        ("dates", dates(1)),
        ("dates of three years", dates(3)),
        ("dates of a year and a half", year_and_a_half),
        ("flat dates", flat_dates(29_000_000)),
        ("flat dates, twice as many in the first months", flat_dates(40_000_000)),
        (
            "a directory for each day",
            sorted(
                (0..count)
                    .map(|number| format!("2026-{:02}-{:02}/{number:07}.txt", number / 28 % 12 + 1, number % 28 + 1)),
            ),
        ),
        ("hex", hexes),
        ("uuid", uuids),
        ("numbers", sorted((0..count).map(|number| format!("part-{number:012}.parquet")))),
        ("few digits", sorted((0..count).map(|number| format!("{number:06}")))),
        ("nine of ten in one directory", in_ten),
        ("numbered, nine of ten in one directory", in_ten_numbered),
        ("zipf", zipf),
        ("runs", runs),
    ]
}

#[test]
fn of_a_million_keys_the_largest_of_16_parts_is_at_most_half_more_than_the_mean_by_less_than_a_hundredth_of_the_pages()
{
    for (name, keys) in sets(1_000_000) {
        let Planned { cuts, probes } = planned(&keys, "", 16, PAGE, None);
        let pages = keys.len().div_ceil(PAGE);
        let largest = ratio(&keys, &cuts, 16);
        println!("{name}: {} keys in {} shards by {probes} probes: {largest:.2}", keys.len(), cuts.len() + 1);
        assert!(probes * 100 < pages, "{name}: {probes} probes for {pages} pages");
        if [
            "dates",
            "dates of three years",
            "dates of a year and a half",
            "flat dates",
            "a directory for each day",
            "hex",
            "uuid",
            "numbers",
            "few digits",
            "base 62",
            "base 64",
            "base 32",
            "nine of ten in one directory",
            "numbered, nine of ten in one of two directories",
        ]
        .contains(&name)
        {
            assert!(cuts.len() == 15 && largest <= 1.5, "{name}: {} cuts, {largest}", cuts.len());
        }
    }
}

#[test]
fn many_small_directories_are_cut_evenly_in_many_parts() {
    let keys = sorted(
        (0..50_000).map(|number| format!("2026-{:02}-{:02}/{number:07}.txt", number / 28 % 12 + 1, number % 28 + 1)),
    );
    for parts in [16, 64, 250] {
        let Planned { cuts, probes } = planned(&keys, "", parts, PAGE, None);
        let largest = ratio(&keys, &cuts, parts);
        println!("50,000 keys in 336 directories, {parts} shards by {probes} probes: {largest:.2}");
        assert!(largest <= 2.0, "{parts}: {largest}");
    }
}

#[test]
fn directories_of_any_sizes_are_found_with_more_probes() {
    for (name, keys) in sets(1_000_000) {
        if !["zipf", "runs", "numbered, nine of ten in one directory"].contains(&name) {
            continue;
        }
        let Planned { cuts, probes } = planned(&keys, "", 16, PAGE, Some(100));
        let largest = ratio(&keys, &cuts, 16);
        println!("{name}: {} keys in {} shards by {probes} probes: {largest:.2}", keys.len(), cuts.len() + 1);
        assert!(cuts.len() == 15 && largest <= 1.5, "{name}: {} cuts, {largest}", cuts.len());
    }
}

#[test]
fn few_pages_are_divided_exactly() {
    let keys: Vec<String> = (0..400).map(|number| format!("p/{number:05}")).collect();
    for parts in [1, 2, 3, 16, 399, 400, 1000] {
        let Planned { cuts, probes } = planned(&keys, "p/", parts, PAGE, None);
        assert_eq!((cuts.len() + 1, probes), (parts.min(400), 1));
        assert!(
            ratio(&keys, &cuts, parts.min(400))
                <= 400_usize.div_ceil(parts.min(400)) as f64 * parts.min(400) as f64 / 400.0
        );
    }
    assert!(planned(&[], "p/", 16, PAGE, None).cuts.is_empty());
}

#[test]
fn an_answer_that_is_not_behind_where_it_was_to_begin_is_refused() {
    let mut survey = Survey::new("p/", None);
    let entries = |keys: &[&str]| keys.iter().map(|key| ((*key).to_owned(), false)).collect::<Vec<_>>();
    let first = survey.next(16).unwrap();
    for bad in [&["p/b", "p/a"][..], &["p/a", "p/a"], &["p/a", "q/b"]] {
        assert!(!survey.answered(&first, Answer { entries: entries(bad), more: true }), "{bad:?}");
    }
    assert!(survey.answered(&first, Answer { entries: entries(&["p/a", "p/b"]), more: true }));
    let second = survey.next(16).unwrap();
    assert!(second.start_after.is_some());
    assert!(!survey.answered(&second, Answer { entries: entries(&["p/a", "p/b"]), more: true }));
}

fn hostile() -> impl Strategy<Value = Vec<String>> {
    let name = prop_oneof![
        "[ab/]{1,6}",
        "[a\u{0}\u{1}/é\u{d7ff}\u{e000}\u{10ffff}]{1,5}",
        "//{0,3}[01]{0,3}",
        "[0-9]{4}",
        "[0-9a-f]{8}",
        "a{1,300}",
        "(dir-[0-3]/){1,2}[0-9]{1,5}",
        "x{1020}.{1}",
        "\u{10ffff}{1,255}",
    ];
    proptest::collection::vec(name, 0..200)
}

proptest! {
    #[test]
    fn whatever_the_keys_are_the_cuts_are_keys_in_order_that_s3_takes(
        names in hostile(), more in hostile(), prefix in prop_oneof![Just(""), Just("p/"), Just("é//")],
        parts in 1_usize..50, page in 1_usize..30, most in proptest::option::of(1_usize..40),
    ) {
        let keys = sorted(names.iter().map(|name| format!("{prefix}{name}")).filter(|key| key.len() <= MAX_KEY_BYTES));
        let Planned { cuts, probes } = planned(&keys, prefix, parts, page, most);
        prop_assert!(cuts.len() < parts && probes <= most.unwrap_or(PROBES));
        prop_assert!(cuts.is_sorted_by(|one, other| one < other));
        prop_assert!(cuts.iter().all(|cut| cut.len() <= MAX_KEY_BYTES && cut.starts_with(prefix) && cut.as_str() > prefix));
        // Each key, also one that came later, is in one part.
        let mut rest = KeyRange::default();
        let mut ranges = Vec::new();
        for cut in &cuts {
            let next = rest.split_after(cut);
            ranges.push(std::mem::replace(&mut rest, next));
        }
        ranges.push(rest);
        for key in keys.iter().cloned().chain(more.iter().map(|name| format!("{prefix}{name}"))) {
            prop_assert_eq!(ranges.iter().filter(|range| range.contains(&key)).count(), 1, "{}", key);
        }
    }
}
