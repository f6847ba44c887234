use std::collections::BTreeSet;

use proptest::prelude::*;

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
        if std::env::var_os("SHOW").is_some() && most.is_none() {
            let gaps = survey.gaps();
            println!("   {:?} total {}", question.start_after, survey.total(&gaps));
            for gap in gaps {
                println!(
                    "      {:?} {:?} {:?} {:?} {} {}",
                    gap.low, gap.high, gap.left, gap.right, gap.mass, gap.doubt
                );
            }
        }
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
    let flat_dates = sorted((0..count).map(|number| {
        let second = number * 40_000_000 / count;
        let (day, second) = (second / 86_400, second % 86_400);
        format!(
            "2026-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            day / 28 % 12 + 1,
            day % 28 + 1,
            second / 3600,
            second / 60 % 60,
            second % 60
        ) + &format!("{number:07}")
    }));
    let runs = sorted((0..count).map(|number| match number % 100 {
        0..=39 => format!("b-run/{number:09}"),
        40..=97 => format!("m-run/{number:09}"),
        _ => format!("{:04x}", number * 7 % 20_000 / 40),
    }));
    let in_ten_numbered = sorted((0..count).map(|number| {
        let directory = if number % 10 == 0 { number / 10 % 10 } else { 6 };
        format!("user-{directory}/{number:09}")
    }));
    vec![
        ("dates", dates(1)),
        ("dates of three years", dates(3)),
        ("flat dates", flat_dates),
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
fn measure() {
    for (name, keys) in sets(1_000_000) {
        if std::env::var("SHOW").is_ok_and(|show| show != name) {
            continue;
        }
        for most in [None, Some(30), Some(100)] {
            let Planned { cuts, probes } = planned(&keys, "", 16, PAGE, most);
            println!(
                "{name}: {} keys, {} shards, {probes} probes, ratio {:.2}",
                keys.len(),
                cuts.len() + 1,
                ratio(&keys, &cuts, 16)
            );
        }
    }
}
