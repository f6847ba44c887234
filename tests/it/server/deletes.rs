//! DeleteObject and DeleteObjects.

use s3flow::testing::{Fault, Operation};

use super::*;

fn document(keys: &[&str], quiet: bool) -> String {
    let keys: String = keys.iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
    let quiet = if quiet { "<Quiet>true</Quiet>" } else { "" };
    format!("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{quiet}{keys}</Delete>")
}

impl Raw {
    async fn delete_objects(&self, document: &str) -> Answer {
        self.post("/bucket?delete", &[("content-md5", &content_md5(document))], document.to_owned()).await
    }
}

#[tokio::test]
async fn each_key_has_its_own_result() {
    let raw = Raw::new().await;
    for key in ["a", "b", "denied"] {
        raw.server.put_object("bucket", key, "x");
    }
    raw.server.deny("bucket", "denied");
    let long = "k".repeat(1025);
    let keys = ["a", "missing", "a", "denied", "b", "", &long];
    let answer = raw.delete_objects(&document(&keys, false)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // A missing key and one that is there twice are deleted all the same.
    let deleted = answer.elements("Deleted");
    assert_eq!(deleted, ["<Key>a</Key>", "<Key>missing</Key>", "<Key>a</Key>", "<Key>b</Key>"]);
    assert_eq!(answer.elements("Error").len(), 3);
    assert_eq!(answer.elements("Code"), ["AccessDenied", "UserKeyMustBeSpecified", "KeyTooLongError"]);
    assert_eq!(answer.elements("Message")[0], "Access Denied");
    assert_eq!(raw.server.keys("bucket"), ["denied"]);

    raw.server.put_object("bucket", "a", "x");
    let quiet = raw.delete_objects(&document(&["a", "denied"], true)).await;
    assert_eq!((quiet.elements("Deleted"), quiet.elements("Code")), (vec![], vec!["AccessDenied"]));
    assert_eq!(raw.server.keys("bucket"), ["denied"]);
}

#[tokio::test]
async fn a_document_without_its_digest_or_beyond_the_limits_is_refused() {
    let raw = Raw::new().await;
    raw.server.put_object("bucket", "a", "x");
    let plain = document(&["a"], false);
    for header in [("x-amz-meta-no", "digest"), ("x-amz-checksum-type", "FULL_OBJECT")] {
        assert_eq!(raw.post("/bucket?delete", &[header], plain.clone()).await.failure(), (400, "InvalidRequest"));
    }
    let other = content_md5("another document");
    assert_eq!(raw.post("/bucket?delete", &[("content-md5", &other)], plain.clone()).await.failure().1, "BadDigest");
    let wrong = raw.post("/bucket?delete", &[("x-amz-checksum-crc32", "AAAAAA==")], plain.clone()).await;
    assert_eq!(wrong.failure(), (400, "BadDigest"));

    let many = vec!["k"; 1001];
    for document in [
        document(&many, false),
        document(&[], false),
        document(&["a", "b\u{1}"], false),
        document(&["a", "b&#x1;"], false),
        document(&["a", "b\u{fffe}"], false),
        plain.replace("</Delete>", ""),
        "text".to_owned(),
    ] {
        assert_eq!(raw.delete_objects(&document).await.failure(), (400, "MalformedXML"));
    }
    assert_eq!(raw.server.keys("bucket"), ["a"]);
    assert_eq!(raw.delete_objects(&document(&many[1..], false)).await.elements("Deleted").len(), 1000);

    let digest = content_md5(&plain);
    let nowhere = raw.post("/none?delete", &[("content-md5", &digest)], plain).await;
    assert_eq!(nowhere.failure(), (404, "NoSuchBucket"));
}

#[tokio::test]
async fn keys_are_read_and_answered_as_xml_has_it() {
    let raw = Raw::new().await;
    // The text in the document, the key that a parser of XML reads in it, and the text of the answer.
    for (sent, key, answered) in [
        ("&lt;a&gt;&amp;&quot;&apos;", "<a>&\"'", "&lt;a&gt;&amp;&quot;&#39;"),
        ("&amp;amp;", "&amp;", "&amp;amp;"),
        (" lead", " lead", " lead"),
        ("trail ", "trail ", "trail "),
        ("t\tn\nl", "t\tn\nl", "t\tn\nl"),
        ("a&#13;b&#10;c&#9;", "a\rb\nc\t", "a&#xD;b\nc\t"),
        ("a\rb\r\nc", "a\nb\nc", "a\nb\nc"),
        ("🦀&#233;%2F+", "🦀é%2F+", "🦀é%2F+"),
    ] {
        raw.server.put_object("bucket", key, "x");
        raw.server.put_object("bucket", "other", "x");
        let answer = raw.delete_objects(&document(&[sent], false)).await;
        assert_eq!(answer.elements("Key"), [answered], "{sent:?}");
        assert_eq!(raw.server.keys("bucket"), ["other"], "{sent:?}");
    }
}

#[tokio::test]
async fn a_fault_of_a_key_fails_that_key_of_many() {
    let raw = Raw::new().await;
    let keys = ["a", "b", "c"];
    raw.server.inject(Fault::status(503, "SlowDown").operation(Operation::DeleteObjects).key("b").on_call(2).times(2));
    raw.server.inject(Fault::status(500, "InternalError").key("c"));
    raw.server.inject(Fault::status(403, "AccessDenied").operation(Operation::DeleteObject).key("a"));
    for failures in [&["InternalError"][..], &["SlowDown"], &["SlowDown"], &[]] {
        for key in keys {
            raw.server.put_object("bucket", key, "x");
        }
        let answer = raw.delete_objects(&document(&keys, false)).await;
        assert_eq!((answer.status.as_u16(), answer.elements("Code")), (200, failures.to_vec()));
        assert_eq!(raw.server.keys("bucket").len(), failures.len());
    }
    assert_eq!(raw.send(Method::DELETE, "/bucket/a", &[], "").await.failure(), (403, "AccessDenied"));
}

#[tokio::test]
async fn a_server_may_lack_deletes_of_many() {
    let raw = Raw::new().await;
    raw.server.put_object("bucket", "a", "x");
    let lacking = Fault::status(501, "NotImplemented").operation(Operation::DeleteObjects).times(usize::MAX);
    raw.server.inject(lacking);
    for _ in 0..3 {
        assert_eq!(raw.delete_objects(&document(&["a"], false)).await.failure(), (501, "NotImplemented"));
    }
    assert_eq!(raw.send(Method::DELETE, "/bucket/a", &[], "").await.status, 204);
    assert_eq!(raw.send(Method::DELETE, "/bucket/a", &[], "").await.status, 204);
    assert_eq!(raw.send(Method::DELETE, "/none/a", &[], "").await.failure(), (404, "NoSuchBucket"));
}
