//! The common cases on the embedded server.

use s3flow::testing::{Operation, S3Server};

use crate::cases::{self, Place};
use crate::support::{Fixture, count};

struct Embedded {
    place: Place,
    fixture: Fixture,
}

async fn embedded(page_size: usize) -> Embedded {
    let server = S3Server::builder().bucket("bucket").page_size(page_size).start().await.unwrap();
    let fixture = Fixture::of(server);
    let place = Place {
        urls: fixture.scope().build().unwrap(),
        s3: fixture.scope().s3root("s3://bucket/place").build().unwrap(),
        bucket: "bucket".to_owned(),
        impossible: Vec::new(),
    };
    Embedded { place, fixture }
}

macro_rules! on_the_embedded_server {
    ($($module:ident::$case:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $case() {
            cases::$module::$case(&embedded(1000).await.place).await;
        }
    )*};
}
cases::every_case!(on_the_embedded_server);

#[tokio::test]
async fn keys_and_listings_are_the_same_in_pages_of_any_size() {
    for page_size in [1, 2, 7] {
        let Embedded { place, fixture } = embedded(page_size).await;
        cases::objects::every_key_comes_back_under_exactly_its_name(&place).await;
        let mut keys = cases::objects::odd_keys();
        keys.sort();
        assert_eq!(fixture.server.keys("bucket"), keys);
        let listed = place.urls.list_recursive(["s3://bucket"]).await.unwrap();
        assert_eq!(listed.iter().map(|object| object.key()).collect::<Vec<_>>(), keys);
        cases::objects::a_prefix_is_a_directory(&place).await;
        cases::objects::a_listing_of_several_pages_is_whole(&place).await;
        cases::lists::paths_are_the_next_level_with_empty_objects_and_markers(&place).await;
        cases::lists::a_recursive_get_takes_the_object_of_exactly_that_name_too(&place).await;
    }
}

#[tokio::test]
async fn thousands_are_deleted_in_requests_for_a_thousand() {
    let Embedded { place, fixture } = embedded(1000).await;
    cases::deletes::thousands_are_deleted_as_they_are_listed(&place).await;
    assert_eq!(count(&fixture.server.log(), Operation::DeleteObjects), 3);
    assert_eq!(count(&fixture.server.log(), Operation::DeleteObject), 0);
}

#[tokio::test]
async fn the_keys_of_a_run_are_below_its_name() {
    let Embedded { fixture, .. } = embedded(1000).await;
    let s3 = fixture.scope().run("Flow/7").bucket("bucket").prefix("some/data").build().unwrap();
    s3.put("k", "x").await.unwrap();
    assert_eq!(fixture.server.keys("bucket"), ["some/data/Flow/7/k"]);
    let object = s3.get("k").await.unwrap();
    assert_eq!((object.key(), object.prefix()), ("k", Some("s3://bucket/some/data/Flow/7")));

    let client = fixture.server.client_builder().datatools_s3root("s3://bucket/some/data/").build().unwrap();
    let same = client.s3().tmproot(fixture.tmproot.path()).run("Flow/7").build().unwrap();
    assert_eq!(same.get("k").await.unwrap().text().await.unwrap(), "x");
}

#[tokio::test]
async fn the_scope_sets_the_encryption_of_its_puts() {
    let Embedded { fixture, .. } = embedded(1000).await;
    let client = fixture.server.client_builder().encryption(s3flow::Encryption::Aes256).build().unwrap();
    let s3 = client.s3().s3root("s3://bucket").build().unwrap();
    s3.put("k", "x").await.unwrap();
    assert_eq!(s3.info("k").await.unwrap().encryption(), Some("AES256"));
}

#[tokio::test]
async fn without_a_content_type_the_one_that_s3_reports_is_reported() {
    let Embedded { fixture, .. } = embedded(1000).await;
    fixture.s3.put("k", "x").await.unwrap();
    assert_eq!(fixture.s3.get("k").await.unwrap().content_type(), Some("binary/octet-stream"));
    assert_eq!(fixture.server.log()[0].header("content-type"), None);
}

#[tokio::test]
async fn an_empty_key_is_the_object_at_the_root() {
    let Embedded { fixture, .. } = embedded(1000).await;
    fixture.server.put_object("bucket", "dir/file", "text");
    let s3 = fixture.scope().s3root("s3://bucket/dir/file").build().unwrap();
    assert_eq!(s3.get("").await.unwrap().text().await.unwrap(), "text");
    let info = s3.info("").await.unwrap();
    assert_eq!((info.size(), info.url(), info.key()), (Some(4), "s3://bucket/dir/file", "s3://bucket/dir/file"));
}
