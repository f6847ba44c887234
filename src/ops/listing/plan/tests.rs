use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

/// A consumer on a simulated server: every page takes some 20 ms, and its keys a few to be taken.
struct Run {
    page_size: usize,
    ordered: bool,
    requests: usize,
    /// How long it takes to take a page, in ms.
    busy: f64,
    seed: u64,
}

struct Outcome {
    listed: Vec<String>,
    pages: usize,
    ms: f64,
    /// Pages on their way or waiting.
    most: usize,
    most_asked: usize,
}

struct Page {
    keys: Vec<String>,
    more: bool,
}

fn page_after(keys: &[String], after: Option<&str>, size: usize) -> Page {
    let from = after.map_or(0, |after| keys.partition_point(|key| key.as_str() <= after));
    let to = (from + size).min(keys.len());
    Page { keys: keys[from..to].to_vec(), more: to < keys.len() }
}

impl Run {
    fn of(page_size: usize, ordered: bool) -> Self {
        Self { page_size, ordered, requests: 64, busy: 0.5, seed: 1 }
    }

    fn plan(&self) -> Plan {
        Plan::new("", vec![KeyRange::default()], self.ordered, self.requests)
    }

    fn list(&self, keys: &[String]) -> Outcome {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut plan = self.plan();
        let (mut now, mut pages, mut most, mut most_asked) = (0.0_f64, 0, 0, 0);
        let mut listed = Vec::new();
        // By the time when they come.
        let mut coming: Vec<(f64, u64, Page)> = Vec::new();
        let mut reached: BTreeMap<u64, Option<String>> = BTreeMap::new();
        let mut held = Vec::new();
        let mut there: VecDeque<(u64, Vec<String>)> = VecDeque::new();
        let (mut hungry, mut in_hand) = (false, None::<(u64, String)>);
        loop {
            while let Some(Ask { segment, start_after, .. }) = plan.next() {
                let after = reached.entry(segment).or_insert(start_after).clone();
                let page = page_after(keys, after.as_deref(), self.page_size);
                coming.push((now + 18.0 + 4.0 * random.f64(), segment, page));
                pages += 1;
            }
            most = most.max(coming.len() + there.len());
            most_asked = most_asked.max(coming.len());
            if hungry {
                let asked = plan.asked();
                plan.starved();
                hungry = false;
                if plan.asked() == asked {
                    while let Some(Ask { segment, start_after, .. }) = plan.next() {
                        let after = reached.entry(segment).or_insert(start_after).clone();
                        let page = page_after(keys, after.as_deref(), self.page_size);
                        coming.push((now + 18.0 + 4.0 * random.f64(), segment, page));
                        pages += 1;
                    }
                }
            }
            if let Some((id, last)) = in_hand.take() {
                plan.taken(id, &last);
            }
            let next = match plan.first() {
                Some(first) if self.ordered => there.iter().position(|(id, _)| *id == first),
                _ => (!there.is_empty()).then_some(0),
            };
            if let Some((id, page)) = next.and_then(|next| there.remove(next)) {
                plan.take(id);
                in_hand = page.last().map(|last| (id, last.clone()));
                listed.extend(page);
                now += self.busy;
            } else if plan.is_done() {
                assert!(coming.is_empty() && held.is_empty());
                return Outcome { listed, pages, ms: now, most, most_asked };
            } else {
                hungry = plan.asked() as f64 * self.busy < 18.0;
                if hungry && plan.arrived > 0 && plan.window < plan.most_pages {
                    continue;
                }
                hungry = false;
                let first = coming.iter().map(|(when, ..)| *when).fold(f64::INFINITY, f64::min);
                now = now.max(first);
            }
            coming.sort_by(|(one, ..), (other, ..)| one.total_cmp(other));
            let answered = coming.partition_point(|(when, ..)| *when <= now);
            let mut answers: VecDeque<(u64, Page)> = coming.drain(..answered).map(|(_, id, page)| (id, page)).collect();
            while let Some((id, page)) = answers.pop_front() {
                let Page { keys, more } = page;
                let verdict =
                    plan.answered(id, &Answer { count: keys.len(), key: &|at| &keys[at], ascending: true, more });
                match verdict {
                    Verdict::Keep(kept) => {
                        if let Some(last) = keys.last() {
                            reached.insert(id, Some(last.clone()));
                        }
                        let kept = keys[..kept].to_vec();
                        if !kept.is_empty() {
                            there.push_back((id, kept));
                        }
                        answers.extend(held.drain(..));
                    }
                    Verdict::Hold => held.push((id, Page { keys, more })),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

fn sorted(keys: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut keys: Vec<String> = keys.into_iter().collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn distributions(count: usize) -> Vec<(&'static str, Vec<String>)> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut hex = |length: usize| -> String { (0..length).map(|_| random.digit(16)).collect() };
    let uuids = sorted((0..count).map(|_| [hex(8), hex(4), hex(4), hex(4), hex(12)].join("-")));
    let hexes = sorted((0..count).map(|_| hex(32)));
    let mut random = fastrand::Rng::with_seed(8);
    let dates = sorted((0..count).map(|number| {
        let second = number * 40_000_000 / count;
        let (day, second) = (second / 86_400, second % 86_400);
        let (month, day) = (day / 28, day % 28);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        format!("{}/{:02}/{:02}/{hour:02}-{minute:02}-{second:02}.json", 2025 + month / 12, month % 12 + 1, day + 1)
    }));
    let numbers = sorted((0..count).map(|number| format!("part-{number:012}.parquet")));
    let skewed = sorted((0..count).map(|number| {
        if number % 100 == 0 { format!("{}/{number}", random.lowercase()) } else { format!("m/deep/below/{number:09}") }
    }));
    let plain = sorted((0..count).map(|number| number.to_string()));
    let bursts = sorted((0..count).map(|number| {
        let burst = number / (count / 20).max(1);
        format!("{:010}.{:06}", 1_700_000_000 + burst * burst * 100_000 + number % 50, number)
    }));
    let words = sorted((0..count).map(|_| {
        let word: String = (0..random.usize(1..12)).map(|_| random.char('\u{370}'..'\u{1fff}')).collect();
        format!("{word}/{}", random.u16(..))
    }));
    vec![
        ("dates", dates),
        ("hex", hexes),
        ("uuid", uuids),
        ("numbers", numbers),
        ("skewed", skewed),
        ("plain numbers", plain),
        ("bursts", bursts),
        ("words", words),
    ]
}

#[test]
fn of_any_keys_a_listing_is_many_times_as_fast_with_few_pages_more() {
    for (name, keys) in distributions(60_000) {
        let full = keys.len().div_ceil(60);
        for ordered in [false, true] {
            let Outcome { listed, pages, ms, most, most_asked } = Run::of(60, ordered).list(&keys);
            assert!(if ordered { listed } else { sorted(listed) } == keys, "{name}, {ordered}");
            let times = full as f64 * 20.0 / ms;
            println!("{name}, ordered {ordered}: {pages} pages in place of {full}, {times:.1} times as fast");
            assert!(pages <= full * 5 / 4 + 8, "{name}, {ordered}: {pages} pages in place of {full}");
            // Bursts end where nothing tells it.
            let least = if name == "bursts" {
                2.0
            } else if ordered {
                6.0
            } else {
                8.0
            };
            assert!(times >= least, "{name}, {ordered}: {times:.1} times as fast");
            assert!(most_asked <= MOST_REQUESTS && most <= MOST_PAGES_IN_ORDER, "{name}: {most_asked}, {most}");
        }
    }
}

#[test]
fn with_one_request_at_a_time_nothing_is_cut() {
    let (_, keys) = distributions(5000).swap_remove(0);
    let outcome = Run { requests: 1, ..Run::of(10, false) }.list(&keys);
    assert!(outcome.listed == keys);
    assert_eq!((outcome.pages, outcome.most_asked), (keys.len().div_ceil(10), 1));
}

#[test]
fn a_slow_consumer_is_one_page_ahead() {
    let (_, keys) = distributions(5000).swap_remove(1);
    for ordered in [false, true] {
        let outcome = Run { busy: 25.0, ..Run::of(10, ordered) }.list(&keys);
        assert_eq!((outcome.pages, outcome.most), (keys.len().div_ceil(10), 1));
    }
}

proptest! {
    #[test]
    fn every_key_comes_once_whatever_keys_there_are(
        keys in proptest::collection::btree_set(
            prop_oneof!["[ab]{1,12}", "[\u{0}\u{1}\u{7f}é\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}]{1,4}", "p/[0-9]{1,6}", "\\PC{1,20}"],
            0..400,
        ),
        page_size in 1_usize..12, ordered: bool, requests in 1_usize..40, busy in 0.0..30.0, seed: u64,
    ) {
        let keys: Vec<String> = keys.into_iter().collect();
        let outcome = Run { page_size, ordered, requests, busy, seed }.list(&keys);
        prop_assert!(outcome.pages <= keys.len().div_ceil(page_size).max(1) * 5 / 4 + 8);
        prop_assert!(outcome.most_asked <= requests);
        let listed = if ordered { outcome.listed } else {
            let mut listed = outcome.listed;
            listed.sort_unstable();
            listed
        };
        prop_assert_eq!(listed, keys);
    }
}
