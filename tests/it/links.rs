//! Symbolic links: none leads a download out of its directory, and what is persisted takes a link's place.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use s3flow::ErrorKind;

use crate::cases::uploads::patterned;
use crate::support::Fixture;

const KEPT: &str = "not to be touched";

struct Links {
    fixture: Fixture,
    /// A file beside the scope.
    victim: PathBuf,
}

impl Links {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        fixture.server.put_object("bucket", "k", "text");
        let victim = fixture.tmproot.path().join("victim");
        fs::write(&victim, KEPT).unwrap();
        Self { fixture, victim }
    }

    /// The directory of the scope, and the name of its next file.
    async fn next(&self, key: &str) -> PathBuf {
        let object = self.fixture.s3.get("k").await.unwrap();
        let path = object.path().unwrap();
        let number: u64 = path.file_name().unwrap().to_str().unwrap().split('-').next().unwrap().parse().unwrap();
        path.parent().unwrap().join(format!("{:x}-{key}", number + 1))
    }

    fn check(&self) {
        assert_eq!(fs::read_to_string(&self.victim).unwrap(), KEPT);
    }
}

#[tokio::test]
async fn a_link_that_somebody_puts_where_a_file_is_to_be_is_not_followed() {
    let links = Links::new().await;
    links.fixture.server.put_object("bucket", "large", patterned(20 << 20));
    for (key, suffix) in [("k", ""), ("large", ".part")] {
        let planted = format!("{}{suffix}", links.next(key).await.display());
        symlink(&links.victim, &planted).unwrap();
        let error = links.fixture.s3.get(key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().contains(&planted), "{error}");
        links.check();
        // The next one has another name.
        links.fixture.s3.get(key).await.unwrap();
    }
    links.fixture.s3.close().await.unwrap();
    links.check();
}

#[tokio::test]
async fn keys_with_dots_and_slashes_are_names_of_files_in_the_directory() {
    let links = Links::new().await;
    for key in ["../victim", "../../victim", "a/../../victim", "/etc/passwd", "..", ".", "a\0b", "~/victim", "a\\..\\b"]
    {
        links.fixture.server.put_object("bucket", key, "text");
        let object = links.fixture.s3.get(key).await;
        // A root takes the slashes in front of a key away.
        let Ok(object) = object else { continue };
        let path = object.path().unwrap().to_owned();
        assert_eq!(fs::canonicalize(&path).unwrap().parent(), fs::canonicalize(path.parent().unwrap()).ok().as_deref());
        assert!(path.starts_with(links.fixture.tmproot.path()) && !path.ends_with("victim"), "{}", path.display());
        links.check();
    }
}

#[tokio::test]
async fn what_is_persisted_takes_the_place_of_a_link_and_not_of_what_it_leads_to() {
    let links = Links::new().await;
    let destination = links.fixture.tmproot.path().join("destination");
    let persisted =
        |path: &Path| !fs::symlink_metadata(path).unwrap().is_symlink() && fs::read(path).unwrap() == b"text";
    for shared in [false, true] {
        let _ = fs::remove_file(&destination);
        symlink(&links.victim, &destination).unwrap();
        let object = links.fixture.s3.get("k").await.unwrap();
        // A clone makes it a copy.
        let clone = shared.then(|| object.clone());
        object.persist(&destination).await.unwrap();
        assert!(persisted(&destination), "shared: {shared}");
        drop(clone);
        links.check();
    }
    let directory = links.fixture.tmproot.path().join("directory");
    fs::create_dir(&directory).unwrap();
    let error = links.fixture.s3.get("k").await.unwrap().persist(&directory).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Io && directory.is_dir(), "{error}");
}

#[tokio::test]
async fn a_tmproot_may_be_a_link_and_a_file_that_is_put_too() {
    let links = Links::new().await;
    let (real, link) = (links.fixture.tmproot.path().join("real"), links.fixture.tmproot.path().join("link"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    let s3 = links.fixture.client.s3().s3root("s3://bucket").tmproot(&link).build().unwrap();
    assert_eq!(s3.get("k").await.unwrap().text().await.unwrap(), "text");
    s3.close().await.unwrap();
    assert!(link.is_symlink() && fs::read_dir(&real).unwrap().next().is_none());
    symlink(&links.victim, real.join("value")).unwrap();
    links.fixture.s3.put_files([("put", real.join("value"))]).await.unwrap();
    assert_eq!(links.fixture.server.object("bucket", "put").as_deref(), Some(KEPT.as_bytes()));
}
