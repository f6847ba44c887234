//! The address of a service that is not AWS's.

use crate::error::{Error, ErrorKind, Result};
use crate::store::Endpoint;

/// Reads the URL of an endpoint; `name` is the setting that it comes from.
pub(super) fn parse_endpoint(name: &str, url: &str) -> Result<Endpoint> {
    let invalid = |problem: &str| Error::new(ErrorKind::Config, format!("{name} {problem}"));
    // Not shown: it may hold a password.
    if url.contains('@') {
        return Err(invalid("contains a user name or password; give credentials to the builder or the environment"));
    }
    let parsed: http::Uri = url.trim().parse().map_err(|_| invalid(&format!("{url:?} is not a URL")))?;
    let parts = parsed.into_parts();
    let scheme = parts
        .scheme
        .filter(|scheme| matches!(scheme.as_str(), "http" | "https"))
        .ok_or_else(|| invalid(&format!("{url:?} does not begin with http:// or https://")))?;
    let authority = parts.authority.ok_or_else(|| invalid(&format!("{url:?} has no host")))?;
    let path = parts.path_and_query.ok_or_else(|| invalid(&format!("{url:?} is not a URL")))?;
    if path.query().is_some() {
        return Err(invalid(&format!("{url:?} has a query")));
    }
    Ok(Endpoint { scheme, authority, base: path.path().trim_end_matches('/').to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_of_http() {
        for wrong in ["", "localhost:9000", "http://", "http://host?x=y", "http://h st", "s3://bucket"] {
            assert_eq!(parse_endpoint("the endpoint", wrong).unwrap_err().kind(), ErrorKind::Config, "{wrong}");
        }
        let endpoint = parse_endpoint("the endpoint", "https://host:9000/base/").unwrap();
        assert_eq!((endpoint.authority.as_str(), endpoint.base.as_str()), ("host:9000", "/base"));
        let error = parse_endpoint("the endpoint", "http://user:hunter2@host").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }
}
