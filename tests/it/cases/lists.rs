//! Listings, recursive gets and infos.

use futures::{StreamExt as _, TryStreamExt as _};
use s3flow::{ErrorKind, S3Object};

use super::Place;

async fn put_all(place: &Place, keys: &[&str]) {
    place.s3.put_many(keys.iter().map(|key| (*key, *key))).await.unwrap();
}

/// Index, key, and whether it exists.
fn found(objects: &[S3Object]) -> Vec<(usize, &str, bool)> {
    objects.iter().map(|object| (object.index(), object.key(), object.exists())).collect()
}

pub(crate) async fn paths_are_the_next_level_with_empty_objects_and_markers(place: &Place) {
    put_all(place, &["paths/a", "paths/a/b/1", "paths/a/b/2", "paths/a-", "paths/c//d", "paths/ü/x", "pathsx/y"]).await;
    place.s3.put_many([("paths/", ""), ("paths/empty", "")]).await.unwrap();
    let listed = place.s3.list_paths(["paths", "paths/a/", "paths/none", "paths/c"]).await.unwrap();
    let expected = [
        (0, "", true),
        (0, "a", true),
        (0, "a-", true),
        (0, "a/", false),
        (0, "c/", false),
        (0, "empty", true),
        (0, "ü/", false),
        (1, "b/", false),
        (3, "/", false),
    ];
    assert_eq!(found(&listed), expected);

    let root = place.s3.s3root().unwrap();
    for object in &listed {
        let asked = object.prefix().unwrap().trim_end_matches('/');
        assert_eq!(object.url(), format!("{asked}/{}", object.key()));
        assert!(asked.starts_with(root) && !object.downloaded() && !object.has_info());
        assert_eq!(object.size().is_some(), object.exists(), "{}", object.url());
    }
    assert_eq!((listed[0].size(), listed[5].size(), listed[1].size()), (Some(0), Some(0), Some(7)));
    assert!(listed[1].etag().is_some() && listed[1].last_modified().is_some());
    // What is shown as an object can be fetched as it is, from any scope.
    assert_eq!(place.urls.get(&listed[1]).await.unwrap().text().await.unwrap(), "paths/a");
}

pub(crate) async fn a_recursive_get_of_run_5_leaves_run_56_alone(place: &Place) {
    put_all(place, &["Flow/5/data/x", "Flow/5/y", "Flow/56/data/x", "Flow/5-old/z"]).await;
    let objects = place.s3.get_recursive(["Flow/5"]).await.unwrap();
    assert_eq!(found(&objects), [(0, "data/x", true), (0, "y", true)]);
    for object in &objects {
        assert!(object.downloaded() && !object.has_info());
        assert_eq!(object.text().await.unwrap(), format!("Flow/5/{}", object.key()));
    }
    let with_info = place.s3.get_recursive(["Flow/5"]).return_info(true).await.unwrap();
    assert!(with_info.iter().all(|object| object.range_info().is_some_and(|range| range.request_offset == 0)));
}

pub(crate) async fn a_recursive_get_takes_the_object_of_exactly_that_name_too(place: &Place) {
    put_all(place, &["name/a", "name/a-", "name/a.txt", "name/a/", "name/a/1", "name/ab"]).await;
    let root = place.s3.s3root().unwrap();
    let objects = place.s3.get_recursive(["name/a", "name/a/", "name/a.txt", "name/none", "/name/a"]).await.unwrap();
    let (file, text) = (format!("{root}/name/a"), format!("{root}/name/a.txt"));
    let expected = [
        (0, file.as_str(), true),
        (0, "", true),
        (0, "1", true),
        (1, "", true),
        (1, "1", true),
        (2, text.as_str(), true),
        (4, file.as_str(), true),
        (4, "", true),
        (4, "1", true),
    ];
    assert_eq!(found(&objects), expected);
    assert_eq!((objects[0].prefix(), objects[0].url()), (None, file.as_str()));
    assert_eq!((objects[2].prefix(), objects[2].url()), (Some(file.as_str()), format!("{file}/1").as_str()));
    for object in &objects {
        assert_eq!(object.text().await.unwrap(), object.url()[root.len() + 1..]);
    }

    let by_url = place.urls.get_recursive([&file]).ordered(true);
    let urls: Vec<String> = by_url.map_ok(|object| object.url().to_owned()).try_collect().await.unwrap();
    assert_eq!(urls, [file.clone(), format!("{file}/"), format!("{file}/1")]);
}

pub(crate) async fn get_all_is_all_below_the_root(place: &Place) {
    put_all(place, &["a", "b/c", "b/"]).await;
    let all = place.s3.get_all().await.unwrap();
    assert_eq!(found(&all), [(0, "a", true), (0, "b/", true), (0, "b/c", true)]);
    assert_eq!(found(&place.s3.get_recursive([""]).await.unwrap()), found(&all));
    assert!(all.iter().all(|object| object.prefix() == place.s3.s3root()));
    let error = place.urls.get_all().await.unwrap_err();
    assert_eq!((error.kind(), error.operation(), error.attempts()), (ErrorKind::InvalidUrl, Some("get_all"), 0));
    assert!(error.to_string().contains("no root"), "{error}");
}

pub(crate) async fn every_info_comes_in_its_place_and_a_missing_bucket_is_an_error(place: &Place) {
    put_all(place, &["info/1", "info/22"]).await;
    let keys = ["info/22", "info/none", "info/1", "info/22"];
    let infos = place.s3.info_many(keys).return_missing(true).await.unwrap();
    let expected = [(0, keys[0], true), (1, keys[1], false), (2, keys[2], true), (3, keys[3], true)];
    assert_eq!(found(&infos), expected);
    assert_eq!(infos.iter().map(S3Object::size).collect::<Vec<_>>(), [Some(7), None, Some(6), Some(7)]);
    assert!(infos.iter().all(|info| info.has_info() == info.exists() && !info.downloaded()));

    let listed = place.s3.info_from(place.s3.list_recursive(["info"])).ordered(true);
    let sizes: Vec<_> = listed.map_ok(|info| (info.key().to_owned(), info.size())).try_collect().await.unwrap();
    assert_eq!(sizes, [("1".to_owned(), Some(6)), ("22".to_owned(), Some(7))]);

    let outcomes: Vec<_> = place.s3.info_many(keys).ordered(true).collect().await;
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, true]);
    let error = outcomes[1].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.index()), (ErrorKind::NotFound, Some(1)));
    assert!(error.url().unwrap().ends_with("info/none"));

    for (key, there) in [("info/1", true), ("info", false), ("info/", false), ("info/none", false)] {
        assert_eq!(place.s3.exists(key).await.unwrap(), there, "{key}");
    }
}

pub(crate) async fn a_missing_bucket_is_an_error_of_every_listing_and_question(place: &Place) {
    let nowhere = "s3://s3flow-no-such-bucket/k";
    for error in [
        place.urls.list_paths([nowhere]).await.unwrap_err(),
        place.urls.get_recursive([nowhere]).await.unwrap_err(),
        place.urls.info_many([nowhere]).return_missing(true).await.unwrap_err(),
        place.urls.exists(nowhere).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NoSuchBucket, "{error}");
        assert!(error.to_string().contains("s3flow-no-such-bucket"), "{error}");
    }
    // One for each prefix, although two requests fail.
    let outcomes: Vec<_> = place.urls.get_recursive([nowhere, nowhere]).ordered(true).collect().await;
    let indices: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().unwrap_err().index()).collect();
    assert_eq!(indices, [Some(0), Some(1)]);
}

pub(crate) async fn shards_of_a_prefix_have_each_key_once_and_are_gone_on_with(place: &Place) {
    let keys: Vec<String> = (0..1234).map(|number| format!("shards/{:02}/{number:05}", number % 3)).collect();
    place.s3.put_many(keys.iter().map(|key| (key.as_str(), ""))).await.unwrap();
    let shards = place.s3.plan_shards("shards", 5).await.unwrap();
    assert_eq!(shards.len(), 5);
    place.s3.put_many([("shards/", ""), ("shards/02", ""), ("shards/~", "")]).await.unwrap();

    let mut listed = Vec::new();
    for shard in &shards {
        let mut listing = place.s3.list_shard(shard);
        while listed.len() % 100 < 99
            && let Some(object) = listing.try_next().await.unwrap()
        {
            listed.push(object);
        }
        listed.extend(place.s3.list_shard(shard).resume(listing.cursor().unwrap()).await.unwrap());
    }
    let mut names: Vec<&str> = listed.iter().map(S3Object::key).collect();
    names.sort_unstable();
    let mut expected: Vec<&str> = keys.iter().map(|key| &key["shards/".len()..]).chain(["", "02", "~"]).collect();
    expected.sort_unstable();
    assert!(names == expected, "{} of {}", names.len(), expected.len());
}

pub(crate) async fn a_large_prefix_is_listed_in_order_from_any_key_and_gone_on_with(place: &Place) {
    let keys: Vec<String> = (0..2300).map(|number| format!("large/{number:05}")).collect();
    place.s3.put_many(keys.iter().map(|key| (key.as_str(), ""))).await.unwrap();
    let names: Vec<&str> = keys.iter().map(|key| &key["large/".len()..]).collect();
    let ordered: Vec<S3Object> = place.s3.list_recursive(["large"]).ordered(true).try_collect().await.unwrap();
    assert!(ordered.iter().map(S3Object::key).eq(names.iter().copied()));
    let after = place.s3.list_recursive(["large"]).start_after("00999").await.unwrap();
    assert!(after.iter().map(S3Object::key).eq(names[1000..].iter().copied()));

    let mut listing = place.s3.list_recursive(["large"]);
    let mut taken = Vec::new();
    for _ in 0..1234 {
        taken.push(listing.try_next().await.unwrap().unwrap());
    }
    taken.extend(place.s3.list_recursive(["large"]).resume(listing.cursor().unwrap()).await.unwrap());
    taken.sort_by(|one, other| one.key().cmp(other.key()));
    assert!(taken.iter().map(S3Object::key).eq(names));
}
