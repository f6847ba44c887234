use http::{HeaderMap, Method};

/// What a request asks for, named as S3 names it.
///
/// The server tells an operation from the method, the path, the query and, for copies, from the
/// `x-amz-copy-source` header, before it looks at credentials: a denied request has an operation too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are those of the S3 API")]
pub enum Operation {
    GetObject,
    HeadObject,
    PutObject,
    CopyObject,
    DeleteObject,
    DeleteObjects,
    GetObjectTagging,
    PutObjectTagging,
    DeleteObjectTagging,
    ListObjects,
    ListObjectsV2,
    CreateMultipartUpload,
    UploadPart,
    UploadPartCopy,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListParts,
    ListMultipartUploads,
    ListBuckets,
    HeadBucket,
    CreateBucket,
    DeleteBucket,
    GetBucketLocation,
    /// Anything that this server answers with `501 NotImplemented`.
    Other,
}

/// Query names that turn a plain request into another operation, one that the server lacks.
const BUCKET_SUBRESOURCES: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "lifecycle",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "session",
    "tagging",
    "versioning",
    "versions",
    "website",
];

const OBJECT_SUBRESOURCES: &[&str] =
    &["acl", "attributes", "legal-hold", "renameObject", "restore", "retention", "select", "torrent"];

impl Operation {
    pub(super) fn of(
        method: &Method,
        bucket: Option<&str>,
        key: Option<&str>,
        query: &[(String, String)],
        headers: &HeaderMap,
    ) -> Self {
        let has = |name: &str| query.iter().any(|(n, _)| n == name);
        let has_any = |names: &[&str]| query.iter().any(|(n, _)| names.contains(&n.as_str()));
        match (bucket, key) {
            (None, _) if method == Method::GET => Self::ListBuckets,
            (None, _) => Self::Other,
            (Some(_), None) => {
                if has_any(BUCKET_SUBRESOURCES) {
                    return Self::Other;
                }
                match *method {
                    Method::GET if has("location") => Self::GetBucketLocation,
                    Method::GET if has("uploads") => Self::ListMultipartUploads,
                    Method::GET if query.iter().any(|(n, v)| n == "list-type" && v == "2") => Self::ListObjectsV2,
                    Method::GET => Self::ListObjects,
                    Method::HEAD => Self::HeadBucket,
                    Method::PUT => Self::CreateBucket,
                    Method::DELETE => Self::DeleteBucket,
                    Method::POST if has("delete") => Self::DeleteObjects,
                    _ => Self::Other,
                }
            }
            (Some(_), Some(_)) => {
                if has_any(OBJECT_SUBRESOURCES) {
                    return Self::Other;
                }
                let copies = headers.contains_key("x-amz-copy-source");
                if has("tagging") {
                    return match *method {
                        Method::GET => Self::GetObjectTagging,
                        Method::PUT => Self::PutObjectTagging,
                        Method::DELETE => Self::DeleteObjectTagging,
                        _ => Self::Other,
                    };
                }
                match *method {
                    Method::GET if has("uploadId") => Self::ListParts,
                    Method::GET => Self::GetObject,
                    Method::HEAD => Self::HeadObject,
                    Method::PUT if has("uploadId") && copies => Self::UploadPartCopy,
                    Method::PUT if has("uploadId") => Self::UploadPart,
                    Method::PUT if copies => Self::CopyObject,
                    Method::PUT => Self::PutObject,
                    Method::POST if has("uploads") => Self::CreateMultipartUpload,
                    Method::POST if has("uploadId") => Self::CompleteMultipartUpload,
                    Method::DELETE if has("uploadId") => Self::AbortMultipartUpload,
                    Method::DELETE => Self::DeleteObject,
                    _ => Self::Other,
                }
            }
        }
    }
}
