//! Which calls a fault happens to.

use super::*;

#[tokio::test]
async fn a_fault_is_for_the_operations_it_names_and_for_no_other() {
    let raw = with_objects(["k"]).await;
    let fault =
        slow_down().operation(Operation::HeadObject).operations([Operation::PutObject, Operation::ListObjectsV2]);
    let injected = raw.server.inject(fault.times(usize::MAX));
    assert_eq!(raw.get("/bucket/k", &[]).await.status, 200);
    assert_eq!(raw.get("/bucket", &[]).await.status, 200);
    assert_eq!(injected.applied(), 0);
    assert_eq!(raw.head("/bucket/k", &[]).await.status, 503);
    assert_eq!(raw.put("/bucket/k", &[], "x").await.status, 503);
    assert_eq!(raw.get("/bucket?list-type=2", &[]).await.status, 503);
    assert_eq!(injected.applied(), 3);
    assert_eq!(raw.server.object("bucket", "k").unwrap(), "0123456789");
}

#[tokio::test]
async fn keys_are_chosen_by_their_whole_their_beginning_or_a_pattern() {
    let keys = ["logs/a.txt", "logs/2026/b.txt", "logs/c.bin", "other/a.txt", "logs"];
    for (fault, chosen) in [
        (slow_down().key("logs"), [0, 0, 0, 0, 1]),
        (slow_down().key_prefix("logs/"), [1, 1, 1, 0, 0]),
        (slow_down().key_glob("logs/*.txt"), [1, 1, 0, 0, 0]),
        (slow_down().key_glob("*/?.txt"), [1, 1, 0, 1, 0]),
        (slow_down().key_glob("*"), [1, 1, 1, 1, 1]),
    ] {
        let raw = with_objects(keys).await;
        raw.server.inject(fault.clone().times(usize::MAX));
        let expected = chosen.map(|chosen| if chosen == 1 { 503 } else { 200 });
        assert_eq!(statuses(&raw, keys).await, expected, "{fault:?}");
    }
}

#[tokio::test]
async fn calls_are_counted_from_the_one_and_as_often_as_it_says() {
    let raw = with_objects(["a", "b"]).await;
    let injected = raw.server.inject(slow_down().key("a").on_call(2).times(2));
    assert_eq!(
        statuses(&raw, ["a", "b", "b", "a", "b", "a", "a", "a"]).await,
        [200, 200, 200, 503, 200, 503, 200, 200]
    );
    assert_eq!((injected.applied(), raw.server.faults_applied()), (2, 2));
}

#[tokio::test]
async fn each_key_is_counted_for_itself() {
    let raw = with_objects(["a", "b"]).await;
    raw.server.inject(slow_down().on_call(2).per_key());
    assert_eq!(statuses(&raw, ["a", "b", "b", "b", "a", "a"]).await, [200, 200, 503, 200, 503, 200]);
    assert_eq!(raw.head("/bucket/a", &[]).await.status, 200, "another operation, another count");
    assert_eq!(raw.head("/bucket/a", &[]).await.status, 503);
    let second = &[("range", "bytes=5-")];
    assert_eq!(raw.get("/bucket/a", second).await.status, 206, "other bytes, another count");
    assert_eq!(raw.get("/bucket/a", second).await.status, 503);
}

#[tokio::test]
async fn a_part_of_an_upload_and_a_part_of_a_download_are_chosen_whatever_their_order() {
    let raw = with_objects(["k"]).await;
    raw.server.inject(slow_down().part_number(2));
    let (id, _) = raw.create("/bucket/parts", &[]).await;
    for (part, status) in [(3, 200), (2, 503), (1, 200), (2, 200)] {
        let answer = raw.put(&format!("/bucket/parts?partNumber={part}&uploadId={id}"), &[], "x").await;
        assert_eq!(answer.status, status, "part {part}");
    }
    raw.server.inject(slow_down().first_byte(4));
    raw.server.inject(slow_down().first_byte(0).operation(Operation::HeadObject));
    for (range, status) in [("bytes=8-9", 206), ("bytes=0-3", 206), ("bytes=4-7", 503), ("bytes=4-7", 206)] {
        assert_eq!(raw.get("/bucket/k", &[("range", range)]).await.status, status, "{range}");
    }
    assert_eq!(raw.head("/bucket/k", &[]).await.status, 503, "without a range it begins at 0");
}

#[tokio::test]
async fn a_rate_is_a_replay_of_its_seed() {
    let keys = ["k"; 200];
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let raw = with_objects(["k"]).await;
        let injected = raw.server.inject(slow_down().rate(0.3, seed));
        let run = statuses(&raw, keys).await;
        let failed = run.iter().filter(|status| **status == 503).count();
        assert!((40..80).contains(&failed), "{failed} of 200");
        assert_eq!(injected.applied(), failed);
        runs.push(run);
    }
    assert!(runs[0] == runs[1] && runs[0] != runs[2]);

    let raw = with_objects(["k"]).await;
    raw.server.inject(slow_down().rate(0.3, 1).on_call(11).times(5));
    let mut expected = runs[0].clone();
    let chosen: Vec<usize> = (10..200).filter(|call| expected[*call] == 503).take(5).collect();
    (0..200).for_each(|call| expected[call] = if chosen.contains(&call) { 503 } else { 200 });
    assert_eq!(statuses(&raw, keys).await, expected, "the same draws, from the 11th call on, five times");
}

#[tokio::test]
async fn what_happens_to_a_key_does_not_depend_on_the_order_of_others() {
    let keys: Vec<String> = (0..20).map(|n| format!("key{n}")).collect();
    let mut runs = Vec::new();
    for reversed in [false, true] {
        let raw = with_objects(keys.iter().map(String::as_str)).await;
        raw.server.inject(slow_down().rate(0.5, 9).per_key());
        let mut run = vec![Vec::new(); 20];
        for _ in 0..10 {
            for n in 0..20 {
                let n = if reversed { 19 - n } else { n };
                run[n].extend(statuses(&raw, [keys[n].as_str()]).await);
            }
        }
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].iter().any(|run| *run != runs[0][0]), "each key has draws of its own");
}

#[tokio::test]
async fn a_key_of_many_is_met_by_faults_about_keys() {
    let raw = with_objects(["logs/a", "logs/b", "c"]).await;
    let injected = raw.server.inject(Fault::status(500, "InternalError").key_prefix("logs/").on_call(2));
    // It could do nothing to one of many.
    let closing = raw.server.inject(Fault::close_before_answer().key("c"));
    let document = "<Delete><Object><Key>logs/a</Key></Object><Object><Key>logs/b</Key></Object><Object><Key>c</Key></Object></Delete>";
    let answer = raw.post("/bucket?delete", &[("content-md5", &content_md5(document))], document).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.elements("Code"), ["InternalError"]);
    assert_eq!(raw.server.keys("bucket"), ["logs/b"]);
    assert_eq!((injected.applied(), closing.applied(), raw.server.faults_applied()), (1, 0, 1));
    // It may be gone although the answer says that it is not.
    raw.server.inject(Fault::status(500, "InternalError").key("logs/b").carried_out());
    let answer = raw.post("/bucket?delete", &[("content-md5", &content_md5(document))], document).await;
    assert_eq!((answer.elements("Code"), raw.server.keys("bucket").len()), (vec!["InternalError"], 0));
}

#[tokio::test]
async fn faults_that_are_cleared_happen_no_more_and_stay_counted() {
    let raw = with_objects(["k"]).await;
    let injected = raw.server.inject(slow_down().times(usize::MAX));
    assert_eq!(statuses(&raw, ["k"]).await, [503]);
    raw.server.clear_faults();
    assert_eq!(statuses(&raw, ["k"]).await, [200]);
    assert_eq!((injected.applied(), raw.server.faults_applied()), (1, 1));
}

#[tokio::test]
async fn a_fault_that_could_do_nothing_was_not_applied() {
    let raw = with_objects(["k"]).await;
    let cut = raw.server.inject(Fault::close_after(10).times(usize::MAX));
    let whole = raw.server.inject(Fault::ignore_range().times(usize::MAX));
    assert_eq!(raw.get("/bucket/k", &[]).await.body, "0123456789");
    assert_eq!((cut.applied(), whole.applied()), (0, 0));
}
