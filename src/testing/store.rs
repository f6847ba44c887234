//! Buckets, objects and open uploads, in memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use http::{HeaderMap, StatusCode};

use super::answer::Failure;
use super::checksum::{Checksum, Plan};
use super::conditions::WriteCondition;
use super::content::Content;
use super::encryption::Encryption;
use super::object::{Attributes, Etags, Object, md5, quoted};
use super::sync::lock;
use super::tags::Tags;
use super::time::Moment;

/// Every part but the last has at least this many bytes.
const MIN_PART: u64 = 5 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Store {
    buckets: RwLock<BTreeMap<String, Arc<Bucket>>>,
    uploads: AtomicU64,
}

impl Store {
    /// `false` when it was there already.
    pub(super) fn create_bucket(&self, name: &str, created: Moment) -> bool {
        if self.find(name).is_some() {
            return false;
        }
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        match buckets.entry(name.to_owned()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(Arc::new(Bucket::new(created)));
                true
            }
        }
    }

    pub(super) fn delete_bucket(&self, name: &str) -> Result<(), Failure> {
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        let Some(bucket) = buckets.get(name) else { return Err(Failure::no_such_bucket(name)) };
        if !lock(&bucket.contents).objects.is_empty() {
            return Err(Failure::new(
                StatusCode::CONFLICT,
                "BucketNotEmpty",
                "The bucket you tried to delete is not empty",
            ));
        }
        buckets.remove(name);
        Ok(())
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<Bucket>> {
        self.buckets.read().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    pub(super) fn bucket(&self, name: &str) -> Result<Arc<Bucket>, Failure> {
        self.find(name).ok_or_else(|| Failure::no_such_bucket(name))
    }

    pub(super) fn names(&self) -> Vec<(String, Moment)> {
        let buckets = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        buckets.iter().map(|(name, bucket)| (name.clone(), bucket.created.clone())).collect()
    }

    /// A new id, with characters that clients must encode in a query.
    pub(super) fn upload_id(&self) -> String {
        format!("{:010}.+/=~", self.uploads.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

#[derive(Debug)]
pub(super) struct Bucket {
    created: Moment,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    objects: BTreeMap<String, Arc<Object>>,
    uploads: BTreeMap<String, Upload>,
}

/// A multipart upload that is neither completed nor aborted.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub(super) key: String,
    pub(super) initiated: Moment,
    pub(super) attributes: Attributes,
    pub(super) plan: Plan,
    pub(super) parts: BTreeMap<u16, Part>,
}

impl Upload {
    /// Of an object of which nothing is said, without parts.
    pub(super) fn begun(key: &str, initiated: Moment) -> Self {
        let (attributes, plan) = (Attributes::default(), Plan::default());
        Self { key: key.to_owned(), initiated, attributes, plan, parts: BTreeMap::new() }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) content: Content,
    /// What its ETag is made of.
    pub(super) digest: [u8; 16],
    pub(super) checksum: Checksum,
    pub(super) modified: Moment,
}

impl Part {
    pub(super) fn new(content: Content, digest: [u8; 16], checksum: Checksum, modified: Moment) -> Self {
        Self { content, digest, checksum, modified }
    }

    /// A part copied from another object.
    pub(super) fn copied(content: Content, etags: Etags, modified: Moment) -> Self {
        let checksum = Checksum::of(&content);
        let digest = etags.digest(&content, &checksum);
        Self::new(content, digest, checksum, modified)
    }

    pub(super) fn etag(&self) -> String {
        quoted(&self.digest)
    }
}

impl Bucket {
    fn new(created: Moment) -> Self {
        Self { created, contents: Mutex::default() }
    }

    pub(super) fn get(&self, key: &str) -> Option<Arc<Object>> {
        lock(&self.contents).objects.get(key).map(Arc::clone)
    }

    pub(super) fn put(&self, key: &str, object: Arc<Object>, condition: &WriteCondition) -> Result<(), Failure> {
        let replaced = {
            let mut contents = lock(&self.contents);
            condition.check(key, contents.objects.get(key).map(|object| &**object))?;
            match contents.objects.get_mut(key) {
                Some(place) => Some(std::mem::replace(place, object)),
                None => contents.objects.insert(key.to_owned(), object),
            }
        };
        // Large buffers are freed outside of the lock.
        drop(replaced);
        Ok(())
    }

    pub(super) fn remove(&self, key: &str) -> bool {
        let removed = lock(&self.contents).objects.remove(key);
        removed.is_some()
    }

    /// Replaces the tags of an object and nothing else of it.
    pub(super) fn tag(&self, key: &str, tags: Tags) -> Result<(), Failure> {
        let mut contents = lock(&self.contents);
        let object = contents.objects.get_mut(key).ok_or_else(|| Failure::no_such_key(key))?;
        *object = Arc::new(Object::clone(object).tagged(tags));
        Ok(())
    }

    pub(super) fn keys(&self) -> Vec<String> {
        lock(&self.contents).objects.keys().cloned().collect()
    }

    /// Walks objects in byte order. `visit` says where to go on.
    pub(super) fn walk(&self, from: Bound<&str>, mut visit: impl FnMut(&str, &Arc<Object>) -> Step) {
        let contents = lock(&self.contents);
        let mut range = contents.objects.range::<str, _>((from, Bound::Unbounded));
        while let Some((key, object)) = range.next() {
            match visit(key, object) {
                Step::Next => {}
                Step::SkipTo(key) => {
                    range = contents.objects.range::<str, _>((Bound::Included(&*key), Bound::Unbounded))
                }
                Step::Stop => return,
            }
        }
    }

    pub(super) fn create_upload(&self, id: String, upload: Upload) {
        lock(&self.contents).uploads.insert(id, upload);
    }

    /// Open uploads by key, then by age.
    pub(super) fn uploads(&self) -> Vec<(String, Upload)> {
        let mut uploads: Vec<_> =
            lock(&self.contents).uploads.iter().map(|(id, upload)| (id.clone(), upload.clone())).collect();
        uploads.sort_by(|(_, a), (_, b)| a.key.cmp(&b.key));
        uploads
    }

    pub(super) fn upload(&self, key: &str, id: &str) -> Result<Upload, Failure> {
        let contents = lock(&self.contents);
        let upload = contents.uploads.get(id).filter(|upload| upload.key == key);
        upload.cloned().ok_or_else(|| Failure::no_such_upload(id))
    }

    /// How the parts of an upload are to be encrypted.
    pub(super) fn upload_encryption(&self, key: &str, id: &str) -> Result<Encryption, Failure> {
        let contents = lock(&self.contents);
        let upload = contents.uploads.get(id).filter(|upload| upload.key == key);
        upload.map(|upload| upload.attributes.encryption.clone()).ok_or_else(|| Failure::no_such_upload(id))
    }

    pub(super) fn put_part(&self, key: &str, id: &str, number: u16, part: Part) -> Result<(), Failure> {
        let mut contents = lock(&self.contents);
        let upload = contents.uploads.get_mut(id).filter(|upload| upload.key == key);
        let upload = upload.ok_or_else(|| Failure::no_such_upload(id))?;
        upload.parts.insert(number, part);
        Ok(())
    }

    pub(super) fn abort(&self, key: &str, id: &str) -> Result<(), Failure> {
        let mut contents = lock(&self.contents);
        if contents.uploads.get(id).is_none_or(|upload| upload.key != key) {
            return Err(Failure::no_such_upload(id));
        }
        contents.uploads.remove(id);
        Ok(())
    }

    /// Puts another content in the place of an object's, with nothing else changed.
    pub(super) fn damage(&self, key: &str, damage: impl FnOnce(&Content) -> Option<Content>) -> bool {
        let mut contents = lock(&self.contents);
        let Some(object) = contents.objects.get_mut(key) else { return false };
        let Some(content) = damage(&object.content) else { return false };
        *object = Arc::new(Object { content, ..Object::clone(object) });
        true
    }

    /// Makes an object of the parts named, each by number and ETag, if its checksum is the `expected` one.
    pub(super) fn complete(
        &self,
        key: &str,
        id: &str,
        named: &[(u16, String)],
        condition: &WriteCondition,
        expected: &HeaderMap,
        now: Moment,
    ) -> Result<Arc<Object>, Failure> {
        let upload = self.upload(key, id)?;
        let parts = chosen_parts(&upload, named)?;
        let content = Content::concat(parts.iter().map(|part| &part.content));
        let (checksum, part_checksums) = (!content.is_discarded())
            .then(|| upload.plan.complete(&content, parts.iter().map(|part| &part.content)))
            .unzip();
        if let Some(checksum) = &checksum {
            checksum.check_expected(expected)?;
        }
        let digests: Vec<u8> = parts.iter().flat_map(|part| part.digest).collect();
        let digest = md5(&Content::from(bytes::Bytes::from(digests)));
        let etag = format!("{}-{}\"", quoted(&digest).trim_end_matches('"'), parts.len());
        let lengths = parts.iter().map(|part| part.content.len()).collect();
        let object = Object::new(content, etag, upload.attributes.clone(), checksum, lengths, now);
        let object = Arc::new(Object { part_checksums: part_checksums.unwrap_or_default(), ..object });

        let mut contents = lock(&self.contents);
        // Another request may have completed or aborted it in the meantime.
        if !contents.uploads.contains_key(id) {
            return Err(Failure::no_such_upload(id));
        }
        condition.check(key, contents.objects.get(key).map(|object| &**object))?;
        contents.uploads.remove(id);
        contents.objects.insert(key.to_owned(), Arc::clone(&object));
        Ok(object)
    }
}

fn chosen_parts<'a>(upload: &'a Upload, named: &[(u16, String)]) -> Result<Vec<&'a Part>, Failure> {
    if named.is_empty() {
        return Err(Failure::malformed_xml());
    }
    if !named.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Err(Failure::bad_request(
            "InvalidPartOrder",
            "The list of parts was not in ascending order. Parts must be ordered by part number.",
        ));
    }
    let mut parts = Vec::with_capacity(named.len());
    for (index, (number, etag)) in named.iter().enumerate() {
        let part = upload.parts.get(number);
        let part = part.filter(|part| part.etag().trim_matches('"') == etag.trim_matches('"')).ok_or_else(|| {
            Failure::bad_request(
                "InvalidPart",
                "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
            )
            .with("PartNumber", number.to_string())
            .with("ETag", etag.as_str())
        })?;
        if index + 1 < named.len() && part.content.len() < MIN_PART {
            return Err(Failure::bad_request(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size",
            )
            .with("ProposedSize", part.content.len().to_string())
            .with("MinSizeAllowed", MIN_PART.to_string())
            .with("PartNumber", number.to_string()));
        }
        parts.push(part);
    }
    Ok(parts)
}

/// Where a walk over objects goes on.
#[derive(Debug)]
pub(super) enum Step {
    Next,
    /// At the first key that is not before this one.
    SkipTo(String),
    Stop,
}
