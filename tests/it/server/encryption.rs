//! Server-side encryption: what is asked for, reported, and refused.

use super::*;

const SSE: &str = "x-amz-server-side-encryption";
const KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const CONTEXT: &str = "x-amz-server-side-encryption-context";
const KEY_MD5: &str = "x-amz-server-side-encryption-customer-key-md5";

/// 32 bytes of `a` and of `b`, with their MD5.
const KEY_A: (&str, &str) = ("YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=", "Xsqb0+sHwAbNQ65I395/0w==");
const KEY_B: (&str, &str) = ("YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI=", "i0+eoW3kvPW7/A/x6iN5NA==");

fn customer((key, md5): (&'static str, &'static str)) -> [(&'static str, &'static str); 3] {
    [
        ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
        ("x-amz-server-side-encryption-customer-key", key),
        (KEY_MD5, md5),
    ]
}

fn source((key, md5): (&'static str, &'static str)) -> [(&'static str, &'static str); 3] {
    [
        ("x-amz-copy-source-server-side-encryption-customer-algorithm", "AES256"),
        ("x-amz-copy-source-server-side-encryption-customer-key", key),
        ("x-amz-copy-source-server-side-encryption-customer-key-md5", md5),
    ]
}

#[tokio::test]
async fn kms_keys_and_contexts_are_reported_to_the_writer_and_the_context_to_no_reader() {
    let raw = Raw::new().await;
    // {"a":"1"}
    for algorithm in ["aws:kms", "aws:kms:dsse"] {
        let asked = [(SSE, algorithm), (KEY_ID, "alias/k"), (CONTEXT, "eyJhIjoiMSJ9")];
        let put = raw.put("/bucket/k", &asked, "x").await;
        assert_eq!(put.status, 200, "{}", put.text());
        let (id, created) = raw.create("/bucket/parts", &asked).await;
        let part = raw.put(&format!("/bucket/parts?uploadId={id}&partNumber=1"), &[], "x").await;
        assert_eq!((part.header(SSE), part.header(CONTEXT)), (Some(algorithm), None));
        let completed = raw.complete("/bucket/parts", &id, &[part.header("etag").unwrap()], &[]).await;
        assert_eq!((completed.header(SSE), completed.header(CONTEXT)), (Some(algorithm), None));
        let copied = raw.put("/bucket/copy", &[&asked[..], &[("x-amz-copy-source", "bucket/k")]].concat(), "").await;
        for answer in [put, created, copied] {
            assert_eq!(answer.header(SSE), Some(algorithm));
            assert_eq!(answer.header(KEY_ID), Some("alias/k"));
            assert_eq!(answer.header(CONTEXT), Some("eyJhIjoiMSJ9"));
        }
        for key in ["k", "parts", "copy"] {
            let head = raw.head(&format!("/bucket/{key}"), &[]).await;
            assert_eq!(head.header(SSE), Some(algorithm));
            assert_eq!((head.header(KEY_ID), head.header(CONTEXT)), (Some("alias/k"), None));
            let stored = raw.server.stored_object("bucket", key).unwrap();
            assert_eq!((stored.encryption(), stored.kms_key_id()), (Some(algorithm), Some("alias/k")));
            assert_eq!((stored.encryption_context(), stored.customer_key_md5()), (Some("eyJhIjoiMSJ9"), None));
        }
    }
    // A copy takes no encryption from its source.
    raw.put("/bucket/plain", &[("x-amz-copy-source", "bucket/k")], "").await;
    assert_eq!(raw.head("/bucket/plain", &[]).await.header(SSE), None);
}

#[tokio::test]
async fn encryption_that_makes_no_sense_is_refused() {
    let raw = Raw::new().await;
    let customer_key = customer(KEY_A);
    for (headers, code) in [
        (&[(SSE, "rot13")][..], "InvalidEncryptionAlgorithmError"),
        (&[(SSE, "AES256"), (KEY_ID, "k")], "InvalidArgument"),
        (&[(KEY_ID, "k")], "InvalidArgument"),
        (&[(CONTEXT, "eyJhIjoiMSJ9")], "InvalidArgument"),
        // Not Base64; not JSON; {"a":1}; ["a"].
        (&[(SSE, "aws:kms"), (CONTEXT, "{\"a\":\"1\"}")], "InvalidArgument"),
        (&[(SSE, "aws:kms"), (CONTEXT, "YWJj")], "InvalidArgument"),
        (&[(SSE, "aws:kms"), (CONTEXT, "eyJhIjoxfQ==")], "InvalidArgument"),
        (&[(SSE, "aws:kms"), (CONTEXT, "WyJhIl0=")], "InvalidArgument"),
        (&[&customer_key[..], &[(SSE, "AES256")]].concat(), "InvalidArgument"),
        (&customer_key[..2], "InvalidArgument"),
        (&customer_key[1..], "InvalidArgument"),
        // The MD5 of another key; a key of 3 bytes.
        (&customer((KEY_A.0, KEY_B.1)), "InvalidArgument"),
        (&customer(("YWJj", "kAFQmDzST7DWlj99KOF/cg==")), "InvalidArgument"),
    ] {
        for answer in [raw.put("/bucket/k", headers, "x").await, raw.post("/bucket/k?uploads", headers, "").await] {
            assert_eq!(answer.failure(), (400, code), "{headers:?}");
        }
    }
    assert_eq!(raw.server.keys("bucket"), [""; 0]);
}

#[tokio::test]
async fn readers_that_ask_for_encryption_are_refused() {
    let raw = Raw::new().await;
    raw.put("/bucket/k", &[(SSE, "AES256")], "x").await;
    for header in [(SSE, "AES256"), (KEY_ID, "k"), (CONTEXT, "e30=")] {
        assert_eq!(raw.get("/bucket/k", &[header]).await.failure(), (400, "InvalidArgument"));
        assert_eq!(raw.head("/bucket/k", &[header]).await.status, 400);
    }
}

#[tokio::test]
async fn an_object_with_a_customers_key_is_read_with_that_key_only() {
    let raw = Raw::new().await;
    let put = raw.put("/bucket/secret", &customer(KEY_A), "x").await;
    assert_eq!((put.status.as_u16(), put.header(KEY_MD5), put.header(SSE)), (200, Some(KEY_A.1), None));
    raw.put("/bucket/open", &[], "x").await;
    assert_eq!(raw.server.stored_object("bucket", "secret").unwrap().customer_key_md5(), Some(KEY_A.1));

    let read = raw.get("/bucket/secret", &customer(KEY_A)).await;
    assert_eq!((read.status.as_u16(), read.text(), read.header(KEY_MD5)), (200, "x", Some(KEY_A.1)));
    assert_eq!(raw.head("/bucket/secret", &customer(KEY_A)).await.status, 200);

    for (path, headers, status, code) in [
        ("/bucket/secret", &[][..], 400, "InvalidRequest"),
        ("/bucket/secret", &customer(KEY_B), 403, "AccessDenied"),
        ("/bucket/secret", &customer((KEY_A.0, KEY_B.1)), 400, "InvalidArgument"),
        ("/bucket/open", &customer(KEY_A), 400, "InvalidRequest"),
    ] {
        assert_eq!(raw.get(path, headers).await.failure(), (status, code), "{path} {headers:?}");
        let head = raw.head(path, headers).await;
        assert_eq!((head.status.as_u16(), head.body.len()), (status, 0), "{path} {headers:?}");
    }
}

#[tokio::test]
async fn every_part_needs_the_key_of_its_upload() {
    let raw = Raw::new().await;
    let (id, created) = raw.create("/bucket/k", &customer(KEY_A)).await;
    assert_eq!(created.header(KEY_MD5), Some(KEY_A.1));
    let part = format!("/bucket/k?uploadId={id}&partNumber=1");
    for headers in [&[][..], &customer(KEY_B)] {
        assert_eq!(raw.put(&part, headers, "x").await.failure(), (400, "InvalidRequest"), "{headers:?}");
    }
    let put = raw.put(&part, &customer(KEY_A), "x").await;
    assert_eq!((put.status.as_u16(), put.header(KEY_MD5)), (200, Some(KEY_A.1)));
    assert_eq!(raw.complete("/bucket/k", &id, &[put.header("etag").unwrap()], &[]).await.status, 200);
    assert_eq!(raw.get("/bucket/k", &customer(KEY_A)).await.text(), "x");
    assert_eq!(raw.get("/bucket/k", &[]).await.failure(), (400, "InvalidRequest"));

    let (id, _) = raw.create("/bucket/open", &[]).await;
    let part = format!("/bucket/open?uploadId={id}&partNumber=1");
    assert_eq!(raw.put(&part, &customer(KEY_A), "x").await.failure(), (400, "InvalidRequest"));
}

#[tokio::test]
async fn a_copy_needs_the_key_of_its_source_and_may_have_another() {
    let raw = Raw::new().await;
    raw.put("/bucket/a", &customer(KEY_A), "x").await;
    let (id, _) = raw.create("/bucket/parts", &customer(KEY_B)).await;
    for path in ["/bucket/b".to_owned(), format!("/bucket/parts?uploadId={id}&partNumber=1")] {
        let from = |headers: &[[(&'static str, &'static str); 3]]| {
            [&[("x-amz-copy-source", "bucket/a")][..], &headers.concat()].concat()
        };
        for (headers, status, code) in [
            (from(&[customer(KEY_B)]), 400, "InvalidRequest"),
            (from(&[customer(KEY_B), source(KEY_B)]), 403, "AccessDenied"),
            (from(&[customer(KEY_B), source((KEY_A.0, KEY_B.1))]), 400, "InvalidArgument"),
        ] {
            assert_eq!(raw.put(&path, &headers, "").await.failure(), (status, code), "{path} {headers:?}");
        }
        let copied = raw.put(&path, &from(&[customer(KEY_B), source(KEY_A)]), "").await;
        assert_eq!((copied.status.as_u16(), copied.header(KEY_MD5)), (200, Some(KEY_B.1)), "{}", copied.text());
    }
    assert_eq!(raw.get("/bucket/b", &customer(KEY_B)).await.text(), "x");
}
