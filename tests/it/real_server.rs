//! The common cases on a real S3 service, and what only one that checks signatures shows.
//!
//! Runs when `S3FLOW_TEST_ENDPOINT` names a service, with `S3FLOW_TEST_BUCKET` (an existing bucket of ours alone),
//! `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`. `S3FLOW_TEST_SERVER` says which service it is, for its known gaps.
//! With `S3FLOW_TEST_FAULTS`, a seed, the wire to it breaks as `broken_wire` has it.
//! `tests/servers/moto` and `tests/servers/garage` set them all.

use std::sync::OnceLock;
use std::time::Duration;

use s3flow::{Client, Credentials, ErrorKind};

use crate::broken_wire::{BrokenWire, COUNTS_UPLOADS, Cuts, patient};
use crate::cases::{self, Place};

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What a service itself cannot do: keys that it cannot store or list, and cases that it cannot pass, each with the reason.
struct Gaps {
    keys: &'static [&'static str],
    cases: &'static [(&'static str, &'static str)],
}

fn gaps(server: Option<&str>) -> Gaps {
    const IGNORED: &str = "garage 2.5.0 ignores If-None-Match and If-Match of writes";
    match server {
        // Its URL router drops those characters.
        Some("moto") => Gaps {
            keys: &["t\tb", "n\nl"],
            cases: &[
                (
                    "a_presigned_url_works_without_credentials_for_any_key",
                    "moto 5.2.5 looks for a signature in the Authorization header alone, and answers 500 without one",
                ),
                ("a_copy_is_of_the_object_that_was_asked_for", "moto 5.2.5 ignores x-amz-copy-source-if-match"),
                (
                    "a_value_goes_with_a_checksum_and_is_compared_with_it",
                    "moto 5.2.5 keeps a checksum only beside x-amz-sdk-checksum-algorithm",
                ),
                ("what_a_customers_key_stored_no_other_reads", "moto 5.2.5 checks no customer's key"),
                ("what_was_begun_just_now_is_not_abandoned", "moto 5.2.5 says that every upload was begun in 2010"),
            ],
        },
        // It leaves keys that begin with `/` out of listings.
        Some("garage") => Gaps {
            keys: &["/lead"],
            cases: &[
                ("without_overwrite_the_first_put_stays", IGNORED),
                ("without_overwrite_a_large_value_stays_too", IGNORED),
                ("of_20_that_race_for_a_key_exactly_one_wins", IGNORED),
                ("a_put_can_ask_for_the_object_that_it_replaces", IGNORED),
                ("encryption_is_asked_for_and_reported", "garage 2.5.0 knows no encryption but SSE-C"),
            ],
        },
        _ => Gaps { keys: &[], cases: &[] },
    }
}

/// To the service, when `S3FLOW_TEST_FAULTS` asks for one that breaks.
static WIRE: OnceLock<BrokenWire> = OnceLock::new();

/// A place for one case; `None` without a service, or when the service cannot pass it.
fn place(case: &str) -> Option<Place> {
    let Some(endpoint) = variable("S3FLOW_TEST_ENDPOINT") else {
        assert_eq!(variable("S3FLOW_TEST_SERVER"), None, "a server without an endpoint");
        return None;
    };
    let bucket = variable("S3FLOW_TEST_BUCKET").expect("S3FLOW_TEST_BUCKET names a bucket");
    let Gaps { keys, cases } = gaps(variable("S3FLOW_TEST_SERVER").as_deref());
    if let Some((_, reason)) = cases.iter().find(|(gap, _)| *gap == case) {
        eprintln!("skipped {case}: {reason}");
        return None;
    }
    let faults = variable("S3FLOW_TEST_FAULTS");
    if case == COUNTS_UPLOADS && faults.is_some() {
        return None;
    }
    let impossible = keys.iter().map(|key| (*key).to_owned()).collect();
    let client = match faults {
        None => Client::builder().endpoint(endpoint).use_proxy(false).build().unwrap(),
        Some(seed) => {
            let seed = seed.parse().expect("S3FLOW_TEST_FAULTS is a seed");
            let cuts = match variable("S3FLOW_TEST_SERVER").as_deref() {
                Some("moto") => Cuts::InAnswers,
                _ => Cuts::Anywhere,
            };
            let wire = WIRE.get_or_init(|| BrokenWire::to(&endpoint, cuts, seed));
            patient(Client::builder().endpoint(wire.endpoint()), Duration::from_secs(2))
        }
    };
    let root = format!("s3://{bucket}/{case}-{}", std::process::id());
    Some(Place {
        urls: client.s3().build().unwrap(),
        s3: client.s3().s3root(root).build().unwrap(),
        bucket,
        impossible,
    })
}

macro_rules! on_a_real_server {
    ($($module:ident::$case:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $case() {
            if let Some(place) = place(stringify!($case)) {
                cases::$module::$case(&place).await;
            }
        }
    )*};
}
cases::every_case!(on_a_real_server);

#[test]
fn the_gaps_are_of_cases_that_there_are() {
    macro_rules! names {
        ($($module:ident::$case:ident),* $(,)?) => { [$(stringify!($case)),*] };
    }
    let all = cases::every_case!(names);
    for server in ["moto", "garage"] {
        for (case, _) in gaps(Some(server)).cases {
            assert!(all.contains(case), "{case}");
        }
    }
}

#[tokio::test]
async fn garage_is_found_to_ignore_conditions_and_nothing_is_damaged() {
    if variable("S3FLOW_TEST_SERVER").as_deref() != Some("garage") {
        return;
    }
    let s3 = place("ignored-conditions").unwrap().s3;
    s3.put("there", "first").await.unwrap();
    for value in [vec![1], vec![1; cases::uploads::LARGE]] {
        for put in [s3.put("there", value.clone()).overwrite(false), s3.put("there", value).if_match("\"other\"")] {
            assert_eq!(put.await.unwrap_err().kind(), ErrorKind::Unsupported);
        }
    }
    assert_eq!(s3.get("there").await.unwrap().text().await.unwrap(), "first");
    // Neither the objects of the trials are left.
    assert_eq!(s3.list_recursive([""]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_wrong_secret_is_access_denied_with_the_code_and_request_id_of_s3() {
    let Some(place) = place("wrong-secret") else { return };
    let endpoint = variable("S3FLOW_TEST_ENDPOINT").unwrap();
    let key_id = variable("AWS_ACCESS_KEY_ID").unwrap();
    let client = Client::builder()
        .endpoint(endpoint)
        .use_proxy(false)
        .credentials(Credentials::new(key_id, "hunter2hunter2"))
        .build()
        .unwrap();
    let s3 = client.s3().s3root(format!("s3://{}", place.bucket)).build().unwrap();
    let error = s3.get("k").await.unwrap_err();
    assert_eq!((error.kind(), error.status(), error.attempts()), (ErrorKind::AccessDenied, Some(403), 1), "{error:?}");
    // S3's and moto's code, and garage's.
    assert!(matches!(error.code(), Some("SignatureDoesNotMatch" | "AccessDenied")), "{error}");
    // garage sends no request id.
    assert!(error.request_id().is_some() || variable("S3FLOW_TEST_SERVER").as_deref() == Some("garage"));
    assert!(!format!("{error}{error:?}{client:?}").contains("hunter2"));
    assert_eq!(s3.info("k").await.unwrap_err().kind(), ErrorKind::AccessDenied);
}
