//! Where the requests of a bucket go: by its name and region, and as answers correct it.

use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use super::failure::{Failure, FailureKind};
use super::keys;
use super::wire::{Request, Wire};

/// Where a service other than AWS's own listens.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// Empty, or a path that begins with `/` and does not end with one.
    pub(crate) base: String,
}

/// Where the requests of a bucket go, and the region they are signed for.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
    pub(super) host: HeaderValue,
    pub(super) base: String,
    pub(super) region: String,
}

const BUCKET_REGION: &str = "x-amz-bucket-region";

impl Route {
    pub(super) fn new(bucket: &str, wire: &Wire, region: &str) -> Result<Self, Failure> {
        let in_host = match &wire.endpoint {
            Some(_) => wire.virtual_host_style,
            None => is_dns_label(bucket),
        };
        let (scheme, service, base) = match &wire.endpoint {
            Some(endpoint) => (endpoint.scheme.clone(), endpoint.authority.to_string(), endpoint.base.as_str()),
            None => {
                // It may come from an answer, and is to be a part of a host's name.
                if region.is_empty() || !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                    return Err(Failure::new(FailureKind::Request, format!("{region:?} is not a region")));
                }
                let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
                (Scheme::HTTPS, format!("s3.{region}.{suffix}"), "")
            }
        };
        let (host, base) = if in_host {
            (format!("{bucket}.{service}"), base.to_owned())
        } else {
            (service, format!("{base}/{}", keys::encode_path(bucket)))
        };
        Self::to(scheme, &host, base, region)
    }

    fn to(scheme: Scheme, host: &str, base: String, region: &str) -> Result<Self, Failure> {
        let unusable = || Failure::new(FailureKind::Request, format!("{host:?} is not a host name"));
        let authority: Authority = host.parse().map_err(|_| unusable())?;
        // The default port is not part of the Host header, and so not of what is signed.
        let default_port = if scheme == Scheme::HTTP { 80 } else { 443 };
        let shown = match authority.port_u16() {
            Some(port) if port == default_port => authority.host(),
            _ => authority.as_str(),
        };
        let host = HeaderValue::from_str(shown).map_err(|_| unusable())?;
        Ok(Self { scheme, authority, host, base, region: region.to_owned() })
    }

    /// Where an answer says that the bucket is, if it says so: another region, or another host.
    pub(super) fn moved(
        &self,
        bucket: &str,
        wire: &Wire,
        request: &Request<'_>,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Option<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let redirected = matches!(status.as_u16(), 301 | 302 | 307 | 308);
        // A wrong region is a 301 or a 400 (AuthorizationHeaderMalformed; a HEAD has no body to say so).
        if (redirected || status == StatusCode::BAD_REQUEST)
            && let Some(region) = text(BUCKET_REGION).filter(|region| *region != self.region)
        {
            return Self::new(bucket, wire, region).ok();
        }
        let location: Uri = text(header::LOCATION.as_str()).filter(|_| redirected)?.parse().ok()?;
        let scheme = location.scheme().filter(|scheme| **scheme == Scheme::HTTPS || **scheme == self.scheme)?.clone();
        // Only the place may change, never the bucket or the key.
        let base = location.path().strip_suffix(request.key_path.as_ref())?.strip_suffix('/')?;
        let authority = location.authority()?.as_str();
        let in_host = base.is_empty() && authority.starts_with(&format!("{bucket}."));
        let in_path = base == self.base || base == format!("/{}", keys::encode_path(bucket));
        if authority.contains('@') || !(in_host || in_path) || !is_of_service(location.host()?, wire) {
            return None;
        }
        Self::to(scheme, authority, base.to_owned(), &self.region).ok()
    }

    /// The host of a redirect, for an error: of one that is not followed.
    pub(super) fn leads_astray(status: StatusCode, headers: &HeaderMap) -> Option<String> {
        let location = headers.get(header::LOCATION).filter(|_| status.is_redirection())?;
        let location: Uri = location.to_str().ok()?.parse().ok()?;
        Some(location.host()?.to_owned())
    }
}

/// Whether a host is one of the service that the client was made for: of no other one it learns what is signed with its
/// credentials, or a customer's key.
fn is_of_service(host: &str, wire: &Wire) -> bool {
    let host = host.to_ascii_lowercase();
    let of_aws = |host: &str| AWS_HOSTS.iter().any(|suffix| host.ends_with(suffix));
    let Some(endpoint) = &wire.endpoint else { return of_aws(&host) };
    let own = endpoint.authority.host().to_ascii_lowercase();
    host == own || host.strip_suffix(&own).is_some_and(|below| below.ends_with('.')) || of_aws(&own) && of_aws(&host)
}

const AWS_HOSTS: [&str; 2] = [".amazonaws.com", ".amazonaws.com.cn"];

/// Whether a bucket's name can be a part of a host name, and means the same bucket there. One with a dot is not covered by the
/// certificate of `*.s3.REGION.amazonaws.com`.
fn is_dns_label(bucket: &str) -> bool {
    bucket.len() <= 63
        && !bucket.ends_with('-')
        && bucket.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::super::wire::tests::{a_get, wire};
    use super::*;

    fn address(route: &Route) -> String {
        format!("{}://{}{}", route.scheme, route.authority, route.base)
    }

    fn route(endpoint: Option<&str>, virtual_host_style: bool, bucket: &str, region: &str) -> String {
        address(&Route::new(bucket, &wire(endpoint, virtual_host_style), region).unwrap())
    }

    #[test]
    fn a_bucket_is_in_the_host_on_aws_and_in_the_path_elsewhere() {
        assert_eq!(route(None, false, "b", "eu-west-1"), "https://b.s3.eu-west-1.amazonaws.com");
        assert_eq!(route(None, false, "b", "cn-north-1"), "https://b.s3.cn-north-1.amazonaws.com.cn");
        // Names of before 2018: a host name is the same in any case, and would be that of another bucket.
        for bucket in ["b.c", "Bucket", "my_bucket", "ends-"] {
            let expected = format!("https://s3.eu-west-1.amazonaws.com/{bucket}");
            assert_eq!(route(None, false, bucket, "eu-west-1"), expected);
        }
        assert_eq!(route(Some("http://host:9000"), false, "b", "x"), "http://host:9000/b");
        assert_eq!(route(Some("http://host:9000/base/"), false, "b", "x"), "http://host:9000/base/b");
        assert_eq!(route(Some("https://host/base"), true, "b", "x"), "https://b.host/base");
    }

    #[test]
    fn the_host_header_has_no_default_port() {
        for (endpoint, host) in [
            ("http://host:80", "host"),
            ("https://host:443", "host"),
            ("https://host:80", "host:80"),
            ("http://host:9000", "host:9000"),
            ("http://[::1]:9000", "[::1]:9000"),
        ] {
            let route = Route::new("b", &wire(Some(endpoint), false), "x").unwrap();
            assert_eq!(route.host, host, "{endpoint}");
        }
    }

    #[test]
    fn on_aws_a_redirect_leads_to_aws() {
        let wire = wire(None, false);
        let route = Route::new("b", &wire, "us-east-1").unwrap();
        let moved = |name: &'static str, value: &'static str| {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]);
            let moved =
                route.moved("b", &wire, &a_get("k", HeaderMap::new()), StatusCode::TEMPORARY_REDIRECT, &headers);
            moved.map(|route| address(&route))
        };
        let west = "https://b.s3.us-west-2.amazonaws.com";
        assert_eq!(moved("location", "https://b.s3.us-west-2.amazonaws.com/k").as_deref(), Some(west));
        assert_eq!(moved("x-amz-bucket-region", "us-west-2").as_deref(), Some(west));
        for (name, value) in [
            ("location", "https://b.s3.amazonaws.com.evil.example/k"),
            ("location", "https://b.evilamazonaws.com/k"),
            ("location", "http://b.s3.us-west-2.amazonaws.com/k"),
            ("x-amz-bucket-region", "evil.example:1"),
            ("x-amz-bucket-region", "evil.example/"),
            ("x-amz-bucket-region", "user@evil"),
            ("x-amz-bucket-region", ""),
        ] {
            assert_eq!(moved(name, value), None, "{name}: {value}");
        }
    }

    #[test]
    fn only_the_place_of_a_redirect_is_followed() {
        let wire = wire(Some("https://host"), false);
        let route = Route::new("b", &wire, "us-east-1").unwrap();
        let request = a_get("dir/k%20", HeaderMap::new());
        let moved = |status: u16, name: &'static str, value: &'static str| {
            let headers =
                HeaderMap::from_iter([(header::HeaderName::from_static(name), HeaderValue::from_static(value))]);
            let status = StatusCode::from_u16(status).unwrap();
            route.moved("b", &wire, &request, status, &headers).map(|route| (address(&route), route.region))
        };
        let to = |address: &str, region: &str| Some((address.to_owned(), region.to_owned()));
        assert_eq!(moved(307, "location", "https://b.host/dir/k%20"), to("https://b.host", "us-east-1"));
        assert_eq!(moved(301, "location", "https://other.Host/b/dir/k%20"), to("https://other.Host/b", "us-east-1"));
        assert_eq!(moved(307, "location", "https://host:444/b/dir/k%20"), to("https://host:444/b", "us-east-1"));
        assert_eq!(moved(400, "x-amz-bucket-region", "eu-west-1"), to("https://host/b", "eu-west-1"));
        for (status, name, value) in [
            (307, "location", "http://host/b/dir/k%20"),
            (307, "location", "https://other/b/dir/k%20"),
            (307, "location", "https://b.other/dir/k%20"),
            (307, "location", "https://otherhost/b/dir/k%20"),
            (307, "location", "https://host.other/b/dir/k%20"),
            (307, "location", "https://host/b/another"),
            (307, "location", "https://host/b/below/dir/k%20"),
            (307, "location", "https://host/another/dir/k%20"),
            (307, "location", "https://user@host/b/dir/k%20"),
            (307, "location", "/b/dir/k%20"),
            (200, "location", "https://other/b/dir/k%20"),
            (301, "x-amz-bucket-region", "us-east-1"),
            (403, "x-amz-bucket-region", "eu-west-1"),
        ] {
            assert_eq!(moved(status, name, value), None, "{status} {name}: {value}");
        }
    }
}
