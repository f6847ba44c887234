//! Keys, roots, URLs and prefixes mean what they say.

use s3flow::ErrorKind;

use crate::support::Fixture;

#[tokio::test]
async fn a_key_is_a_suffix_of_the_root() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "dir/k", "text");
    let object = fixture.s3.get("dir/k").await.unwrap();
    assert_eq!(object.key(), "dir/k");
    assert_eq!(object.prefix(), Some("s3://bucket"));
    assert_eq!(object.url(), "s3://bucket/dir/k");
    assert_eq!(object.text().await.unwrap(), "text");
}
