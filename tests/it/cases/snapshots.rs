//! Reads of what was listed, and of nothing else.

use futures::{StreamExt as _, TryStreamExt as _};
use s3flow::{Difference, ErrorKind, ManifestEntry, S3GetObject};

use super::Place;

async fn put_numbered(place: &Place) -> Vec<String> {
    let keys: Vec<String> = (0..9).map(|number| format!("in/{number}")).collect();
    place.s3.put_many(keys.iter().map(|key| (key.clone(), key.clone()))).await.unwrap();
    keys
}

pub(crate) async fn a_pinned_get_gives_what_was_listed_or_says_what_is_there(place: &Place) {
    let s3 = &place.s3;
    put_numbered(place).await;
    let before = s3.info("in/7").await.unwrap().etag().unwrap().to_owned();
    let mut objects = s3.get_recursive(["in"]).pinned().ordered(true).concurrency(1);
    let mut outcomes = vec![objects.next().await.unwrap()];
    // All are listed by now, and these two not fetched.
    let after = s3.put("in/7", "another").await.unwrap().etag().unwrap().to_owned();
    s3.delete("in/8").await.unwrap();
    outcomes.extend(objects.collect::<Vec<_>>().await);
    assert_eq!(outcomes.len(), 9);
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match (number, outcome) {
            (7, Err(error)) => {
                assert_eq!((error.kind(), error.index()), (ErrorKind::Changed, Some(0)), "{error}");
                assert_eq!((error.expected_etag(), error.found_etag()), (Some(&*before), Some(&*after)));
                assert!(error.to_string().contains(&format!("ETag {after} in place of {before}")), "{error}");
                assert!(error.url().unwrap().ends_with("/in/7"));
            }
            (8, Err(error)) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
            (_, outcome) => assert_eq!(outcome.unwrap().text().await.unwrap(), format!("in/{number}")),
        }
    }
    let all = place.s3.get_recursive(["in"]).pinned().await.unwrap();
    assert_eq!(all.len(), 8);
}

pub(crate) async fn who_asks_for_an_etag_hears_which_one_is_there(place: &Place) {
    let s3 = &place.s3;
    let before = s3.put("k", "first").await.unwrap().etag().unwrap().to_owned();
    let after = s3.put("k", "second").await.unwrap().etag().unwrap().to_owned();
    let request = S3GetObject::new("k").if_match(&before);
    let errors = [
        s3.get(request.clone()).await.unwrap_err(),
        s3.get(request.clone()).bytes().await.unwrap_err(),
        s3.info(request).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Changed);
        assert_eq!((error.expected_etag(), error.found_etag()), (Some(&*before), Some(&*after)), "{error}");
    }
}

pub(crate) async fn what_is_other_than_it_was_listed_is_found(place: &Place) {
    let s3 = &place.s3;
    put_numbered(place).await;
    let listed = s3.list_recursive(["in"]).await.unwrap();
    s3.list_recursive(["in"]).verify_unchanged(&listed).await.unwrap();
    // The same bytes are the same object.
    s3.put("in/3", "in/3").await.unwrap();
    s3.list_recursive(["in"]).verify_unchanged(&listed).await.unwrap();

    s3.put("in/1", "another").await.unwrap();
    s3.put("in/10", "new").await.unwrap();
    s3.delete("in/8").await.unwrap();
    let mut manifest = s3.write_manifest("earlier.jsonl");
    for object in &listed {
        manifest.write(&ManifestEntry::from(object)).await.unwrap();
    }
    manifest.finish().await.unwrap();
    let earlier = s3.read_manifest::<ManifestEntry>("earlier.jsonl");
    let differences = s3.list_recursive(["in"]).verify_unchanged_from(earlier);
    let differences: Vec<Difference> = differences.try_collect().await.unwrap();
    let now = s3.list_recursive(["in"]).await.unwrap();
    let expected = [
        Difference::Changed { earlier: (&listed[1]).into(), now: (&now[1]).into() },
        Difference::Added { now: (&now[2]).into() },
        Difference::Removed { earlier: (&listed[8]).into() },
    ];
    assert_eq!(differences, expected);
    let error = s3.list_recursive(["in"]).verify_unchanged(&listed).await.unwrap_err();
    assert_eq!((error.kind(), error.url()), (ErrorKind::Changed, Some(now[1].url())), "{error}");
    assert_eq!((error.expected_etag(), error.found_etag()), (listed[1].etag(), now[1].etag()));
}
