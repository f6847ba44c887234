//! Requests and answers, see [`crate::bench`].

use std::hint::black_box;

use chrono::{DateTime, TimeDelta};
use futures::FutureExt as _;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use object_store::client::HttpRequestBody;

use super::route::Route;
use super::sign::{CONTENT_SHA256, EMPTY_SHA256, Signer, SigningKeys, Target};
use super::wire::{Request, ResponseHead};
use super::{CredentialSource, ObjectHead, ReadOptions, Store, StoreConfig, TransportConfig, keys, listing};
use crate::bench::Work;
use crate::credentials::Credentials;
use crate::limits::Flow;

const KEY: &str = "data/2026/11/25/part-00042.parquet";
const REGION: &str = "eu-central-1";
const ACCESS_KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

pub(crate) fn escape_ordinary_keys() -> Work {
    escape([
        KEY,
        "a",
        "logs/2026-11-25T12-00-00Z.json.gz",
        "0f/1e2d3c4b-5a69-7887-96a5-b4c3d2e1f000",
        "TrainFlow/1234/train/5678/model.bin",
        "images/train/n01440764/n01440764_10026.JPEG",
        "x.y_z~w-v/0001",
        "table/year=2026/month=11/00042.parquet",
    ])
}

pub(crate) fn escape_odd_keys() -> Work {
    escape(["a//b", "dir/", "./a/../b", "\u{1}ÿ", "a b+c", "%2F?#&=", "文件/名 🦀", "~s3flow~00"])
}

/// The way of a key to the wire.
fn escape(all: [&'static str; 8]) -> Work {
    Box::new(move || {
        for key in black_box(all) {
            let path = keys::encode_path(keys::to_path(key).as_ref());
            let wire = keys::from_url_path(&path).expect("what was escaped can be undone");
            assert!(wire.len() >= key.len());
        }
    })
}

pub(crate) fn sign() -> Work {
    let signer = Signer::default();
    let now = DateTime::parse_from_rfc3339("2026-11-25T12:00:00Z").expect("a time").to_utc();
    let mut unsigned = ReadOptions { checksum: true, ..ReadOptions::default() }.to_headers().expect("headers");
    unsigned.insert("host", HeaderValue::from_static("bucket.s3.eu-central-1.amazonaws.com"));
    unsigned.insert(CONTENT_SHA256, HeaderValue::from_static(EMPTY_SHA256));
    let path = format!("/{KEY}");
    Box::new(move || {
        let keys =
            SigningKeys { access_key_id: ACCESS_KEY_ID, secret_access_key: SECRET_ACCESS_KEY, session_token: None };
        let target = Target { method: &Method::GET, path: &path, query: "", region: REGION, service: "s3" };
        let mut headers = unsigned.clone();
        signer.sign(black_box(keys), target, &mut headers, now).expect("visible headers");
        assert!(headers.contains_key(AUTHORIZATION));
    })
}

pub(crate) fn request() -> Work {
    let credentials = CredentialSource::Static(Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
    let transport = TransportConfig { proxy_from_env: false, ..TransportConfig::default() };
    let config = StoreConfig {
        endpoint: None,
        region: REGION.to_owned(),
        virtual_host_style: true,
        credentials,
        payload_signing: None,
        transport,
    };
    let store = Store::new(config).expect("a store");
    let route = Route::new("bucket", &store.wire, REGION).expect("a route");
    let options = ReadOptions { checksum: true, ..ReadOptions::default() };
    Box::new(move || {
        let request = Request {
            method: Method::GET,
            key_path: keys::encode_path(black_box(KEY)).into(),
            query: options.query().into(),
            headers: options.to_headers().expect("headers"),
            body: HttpRequestBody::empty(),
            prefix: "".into(),
            flow: Flow::default(),
            admitted: true,
            given_out: false,
        };
        let signed = store.wire.signed(&route, &request, TimeDelta::zero()).now_or_never();
        let (signed, _) = signed.expect("the credentials are there").expect("a request");
        assert!(signed.headers().contains_key(AUTHORIZATION));
    })
}

/// The headers that S3 answers a GET with.
const ANSWER: [(&str, &str); 12] = [
    ("x-amz-id-2", "eftixk72aD6Ap51TnqcoF8eFidJG9Z/2mkiDFu8yU9AS1ed4OpIszj7UDNEHGran"),
    ("x-amz-request-id", "318BC8BC148832E5"),
    ("date", "Wed, 25 Nov 2026 12:00:00 GMT"),
    ("last-modified", "Tue, 24 Nov 2026 17:50:30 GMT"),
    ("etag", "\"fba9dede5f27731c9771645a39863328\""),
    ("x-amz-server-side-encryption", "AES256"),
    ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="),
    ("x-amz-checksum-type", "FULL_OBJECT"),
    ("x-amz-meta-metaflow-user-attributes", "{\"owner\":\"me\",\"run\":1234}"),
    ("accept-ranges", "bytes"),
    ("content-type", "binary/octet-stream"),
    ("content-length", "434234"),
];

pub(crate) fn head() -> Work {
    let headers: HeaderMap = ANSWER
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    let response = ResponseHead { status: StatusCode::OK, headers };
    Box::new(move || {
        let head = ObjectHead::read(black_box(&response), false).expect("an object");
        assert!(head.size == 434_234 && head.checksum.is_some() && head.last_modified.is_some());
    })
}

pub(crate) fn page() -> Work {
    let mut document = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name>\
         <Prefix>data%2F</Prefix><KeyCount>1000</KeyCount><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType>\
         <IsTruncated>true</IsTruncated><NextContinuationToken>1ueGcxLPRx1Tr</NextContinuationToken>"
        .to_owned();
    for number in 0..1000 {
        document.push_str(&format!(
            "<Contents><Key>data%2F2026-11-25%2Fpart-{number:05}.parquet</Key>\
             <LastModified>2026-11-25T12:00:00.000Z</LastModified>\
             <ETag>&quot;fba9dede5f27731c9771645a39{number:06}&quot;</ETag><Size>{number}4234</Size>\
             <StorageClass>STANDARD</StorageClass></Contents>"
        ));
    }
    document.push_str("</ListBucketResult>");
    Box::new(move || {
        let page = listing::parse(black_box(document.as_bytes()), None).expect("a page");
        assert!(page.objects.len() == 1000 && page.next.is_some());
    })
}
