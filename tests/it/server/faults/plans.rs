//! Faults that are drawn from several.

use std::collections::BTreeMap;

use super::*;

const KEYS: [&str; 1000] = ["k"; 1000];

fn counted(statuses: &[u16]) -> BTreeMap<u16, usize> {
    statuses.iter().fold(BTreeMap::new(), |mut counts, status| {
        *counts.entry(*status).or_default() += 1;
        counts
    })
}

#[tokio::test]
async fn each_fault_of_a_plan_happens_as_often_as_it_weighs() {
    let raw = with_objects(["k"]).await;
    let plan = FaultPlan::random(5, 0.5, [Fault::status(500, "InternalError"), slow_down()])
        .weighted(3, Fault::status(429, "TooManyRequests"))
        .weighted(0, Fault::status(403, "AccessDenied"))
        // Not about these calls, so it takes nothing from the others.
        .weighted(100, Fault::status(404, "NoSuchKey").operation(Operation::HeadObject));
    let injected = raw.server.inject(plan);
    let statuses = statuses(&raw, KEYS).await;
    let counts = counted(&statuses);
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [200, 429, 500, 503]);
    for (status, expected) in [(200, 500), (429, 300), (500, 100), (503, 100)] {
        assert!(counts[&status].abs_diff(expected) < 50, "{counts:?}");
    }
    assert_eq!(injected.applied(), 1000 - counts[&200]);
}

#[tokio::test]
async fn a_plan_is_a_replay_of_its_seed() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let raw = with_objects(["k"]).await;
        raw.server.inject(FaultPlan::random(seed, 0.4, [slow_down(), Fault::status(500, "InternalError")]));
        runs.push(statuses(&raw, ["k"; 100]).await);
    }
    assert!(runs[0] == runs[1] && runs[0] != runs[2]);
}

#[tokio::test]
async fn the_calls_of_a_plan_are_chosen_by_the_plan() {
    let raw = with_objects(["a", "b"]).await;
    let fault = slow_down().on_call(1000).times(0);
    let injected = raw.server.inject(FaultPlan::random(0, 1.0, [fault]).on_call(2).times(1).per_key());
    assert_eq!(statuses(&raw, ["a", "b", "a", "b", "a", "b"]).await, [200, 200, 503, 503, 200, 200]);
    assert_eq!(injected.applied(), 2);
}

#[tokio::test]
async fn a_plan_without_faults_does_nothing() {
    let raw = with_objects(["k"]).await;
    raw.server.inject(FaultPlan::random(0, 1.0, []));
    raw.server.inject(FaultPlan::random(0, 1.0, []).weighted(0, slow_down()));
    assert_eq!(statuses(&raw, ["k"]).await, [200]);
}

#[test]
#[should_panic(expected = "a rate is a number from 0 to 1, and not 1.5")]
fn a_rate_above_one_is_refused() {
    let _ = FaultPlan::random(0, 1.5, []);
}
