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

#[tokio::test]
async fn every_key_comes_back_under_exactly_its_name() {
    for page_size in [1000, 1] {
        let Embedded { place, fixture } = embedded(page_size).await;
        cases::every_key_comes_back_under_exactly_its_name(&place).await;
        let mut keys = cases::odd_keys();
        keys.sort();
        assert_eq!(fixture.server.keys("bucket"), keys);
        let listed = place.urls.list_recursive(["s3://bucket"]).await.unwrap();
        assert_eq!(listed.iter().map(|object| object.key()).collect::<Vec<_>>(), keys);
    }
}

#[tokio::test]
async fn what_was_put_comes_back_with_its_info() {
    cases::what_was_put_comes_back_with_its_info(&embedded(1000).await.place).await;
}

#[tokio::test]
async fn ranges_are_cut_at_the_end_and_refused_outside() {
    cases::ranges_are_cut_at_the_end_and_refused_outside(&embedded(1000).await.place).await;
}

#[tokio::test]
async fn a_missing_key_is_an_object_on_request_and_a_missing_bucket_never() {
    cases::a_missing_key_is_an_object_on_request_and_a_missing_bucket_never(&embedded(1000).await.place).await;
}

#[tokio::test]
async fn without_overwrite_the_first_put_stays() {
    cases::without_overwrite_the_first_put_stays(&embedded(1000).await.place).await;
}

#[tokio::test]
async fn a_prefix_is_a_directory() {
    for page_size in [1000, 2] {
        cases::a_prefix_is_a_directory(&embedded(page_size).await.place).await;
    }
}

#[tokio::test]
async fn a_listing_of_several_pages_is_whole() {
    for page_size in [1000, 7] {
        cases::a_listing_of_several_pages_is_whole(&embedded(page_size).await.place, 2500).await;
    }
}

#[tokio::test]
async fn encryption_is_asked_for_and_reported() {
    cases::encryption_is_asked_for_and_reported(&embedded(1000).await.place).await;
}

#[tokio::test]
async fn what_is_deleted_is_gone_and_missing_keys_are_no_error() {
    cases::what_is_deleted_is_gone_and_missing_keys_are_no_error(&embedded(1000).await.place).await;
}

#[tokio::test]
async fn thousands_are_deleted_as_they_are_listed() {
    let Embedded { place, fixture } = embedded(1000).await;
    cases::thousands_are_deleted_as_they_are_listed(&place, 2500).await;
    assert_eq!(count(&fixture.server.log(), Operation::DeleteObjects), 3);
    assert_eq!(count(&fixture.server.log(), Operation::DeleteObject), 0);
}

#[tokio::test]
async fn every_key_is_deleted_under_exactly_its_name() {
    cases::every_key_is_deleted_under_exactly_its_name(&embedded(1000).await.place).await;
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
}
