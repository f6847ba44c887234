//! The lines of a journal and what they say together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::line::{self, Content, Head, InParts, Note, ObjectNote, PartNote, Piece, PieceNote, Way, What};
use super::{JournalProblem, LINES, PART_SUFFIX, unusable};
use crate::checksum::Verified;
use crate::error::Result;

#[derive(Debug)]
pub(super) struct Book {
    path: PathBuf,
    file: File,
    /// Of the whole lines, in bytes.
    length: u64,
    /// The CRC of the last line.
    crc: String,
    next_id: u64,
    pub(super) got: HashMap<What, Got>,
    pub(super) sent: HashMap<Way, Sent>,
}

/// What there is of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Got {
    Partial(Partial),
    Whole(Whole),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partial {
    pub(crate) id: u64,
    pub(crate) file: String,
    pub(crate) etag: String,
    pub(crate) size: u64,
    /// By their offset, without overlaps.
    pub(crate) pieces: BTreeMap<u64, Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) id: u64,
    pub(crate) file: String,
    pub(crate) etag: String,
    pub(crate) size: u64,
    pub(crate) sum: String,
    pub(crate) verified: Option<Verified>,
    /// Where it was about to be moved to.
    pub(crate) moved: Option<PathBuf>,
}

/// What there is of a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    Uploading(Uploading),
    Stored(Stored),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Uploading {
    pub(crate) id: u64,
    pub(crate) content: Content,
    pub(crate) in_parts: Option<InParts>,
    pub(crate) write_id: Option<String>,
    /// By their number: ETag and CRC.
    pub(crate) parts: BTreeMap<u32, (String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) content: Content,
    pub(crate) etag: String,
    pub(crate) sum: String,
}

/// What is read of a line, and nothing of a larger one: a foreign file must not fill the memory.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;

impl Book {
    /// Reads what is there and goes on with it. With `files`, there must be something: they were noted once. Blocks.
    pub(super) fn open(path: &Path, head: &Head, files: bool) -> Result<Self> {
        let failed = |error| unusable("open", path, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(failed)?;
        let mut book = Self {
            path: path.to_owned(),
            file,
            length: 0,
            crc: String::new(),
            next_id: 0,
            got: HashMap::new(),
            sent: HashMap::new(),
        };
        book.replay(head)?;
        // A line without its end is what a kill leaves.
        book.file.set_len(book.length).map_err(failed)?;
        book.file.seek(SeekFrom::Start(book.length)).map_err(failed)?;
        if book.length == 0 {
            if files {
                let problem = "there is no first line, and files of downloads are there";
                return Err(JournalProblem::new(path, problem).at(1, "head").into_error());
            }
            book.write(&Note::Head(head.clone()))?;
        }
        Ok(book)
    }

    fn replay(&mut self, wanted: &Head) -> Result<()> {
        let reader = self.file.try_clone().map_err(|error| unusable("open", &self.path, error))?;
        let mut reader = BufReader::with_capacity(256 * 1024, reader);
        let mut begun = Begun::default();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = io::Read::take(&mut reader, LONGEST_LINE).read_until(b'\n', &mut line);
            read.map_err(|error| unusable("read", &self.path, error))?;
            let Some(text) = line.strip_suffix(b"\n") else {
                if line.len() as u64 == LONGEST_LINE {
                    return Err(self.problem("the line is too long").at(number, "crc").into_error());
                }
                if number == 1 && !line::may_begin_with(&line) {
                    return Err(self.problem("it is no line of a journal").at(number, "crc").into_error());
                }
                return Ok(());
            };
            let path = self.path.clone();
            let wrong =
                |(field, problem): (&str, &str)| JournalProblem::new(&path, problem).at(number, field).into_error();
            let (crc, json) = line::read(&self.crc, text).map_err(wrong)?;
            if number == 1 {
                self.check_head(&json, wanted)?;
            } else {
                let unknown =
                    |error: serde_json::Error| self.problem(error.to_string()).at(number, "note").into_error();
                let note = serde_json::from_slice(&json).map_err(unknown)?;
                self.take_in(note, &mut begun).map_err(wrong)?;
            }
            self.crc = crc;
            self.length += line.len() as u64;
        }
        Ok(())
    }

    /// Whether the first line is that of such a job. Its version is looked at first, for another one may have other fields.
    fn check_head(&self, json: &[u8], wanted: &Head) -> Result<()> {
        let problem = |field: &str, problem: String| self.problem(problem).at(1, field).into_error();
        let value: Value = serde_json::from_slice(json).map_err(|error| problem("head", error.to_string()))?;
        let found = &value["head"];
        if found["format"] != *wanted.format {
            return Err(problem("format", format!("it is {}, and not {:?}", found["format"], wanted.format)));
        }
        if found["version"] != wanted.version {
            let versions = format!("it is {}; this version of the library reads {}", found["version"], wanted.version);
            return Err(problem("version", versions));
        }
        if found["operation"] != *wanted.operation {
            return Err(problem(
                "operation",
                format!("it is of {}, and not of {}", found["operation"], wanted.operation),
            ));
        }
        let targets = Value::from(wanted.targets.clone());
        if found["targets"] != targets {
            return Err(problem("targets", format!("it is for {}, and not for {targets}", found["targets"])));
        }
        Ok(())
    }

    /// What a line says, or the field that cannot be.
    fn take_in(&mut self, note: Note, begun: &mut Begun) -> Result<(), (&'static str, &'static str)> {
        const UNKNOWN: (&str, &str) = ("id", "no line before it has this id");
        let mut id_is = |id: u64| self.next_id = self.next_id.max(id.saturating_add(1));
        match note {
            Note::Head(_) => return Err(("head", "it is the first line's")),
            Note::Object(ObjectNote { id, what, file, etag, size }) => {
                id_is(id);
                begun.objects.insert(id, what.clone());
                let partial = Partial { id, file: checked(file)?, etag, size, pieces: BTreeMap::new() };
                self.got.insert(what, Got::Partial(partial));
            }
            Note::Piece(PieceNote { id, piece }) => {
                let what = begun.objects.get(&id).ok_or(UNKNOWN)?;
                if let Some(Got::Partial(partial)) = self.got.get_mut(what)
                    && partial.id == id
                {
                    partial.insert(piece)?;
                }
            }
            Note::Whole(note) => {
                let line::WholeNote { id, what, file, etag, size, sum, verified } = note;
                id_is(id);
                begun.objects.insert(id, what.clone());
                let whole = Whole { id, file: checked(file)?, etag, size, sum, verified, moved: None };
                self.got.insert(what, Got::Whole(whole));
            }
            Note::Moved { id, path } => {
                let what = begun.objects.get(&id).ok_or(UNKNOWN)?;
                if let Some(Got::Whole(whole)) = self.got.get_mut(what)
                    && whole.id == id
                {
                    whole.moved = Some(path.into());
                }
            }
            Note::Upload(line::UploadNote { id, way, content, parts, write_id }) => {
                id_is(id);
                begun.uploads.insert(id, way.clone());
                let uploading = Uploading { id, content, in_parts: parts, write_id, parts: BTreeMap::new() };
                self.sent.insert(way, Sent::Uploading(uploading));
            }
            Note::Part(PartNote { id, number, etag, sum }) => {
                let way = begun.uploads.get(&id).ok_or(UNKNOWN)?;
                if let Some(Sent::Uploading(uploading)) = self.sent.get_mut(way)
                    && uploading.id == id
                {
                    uploading.parts.insert(number, (etag, sum));
                }
            }
            Note::Stored(line::StoredNote { way, content, sum, etag }) => {
                self.sent.insert(way, Sent::Stored(Stored { content, etag, sum }));
            }
        }
        Ok(())
    }

    /// Names that the files have of which something is noted.
    pub(super) fn files(&self) -> HashSet<String> {
        let names = |got: &Got| match got {
            Got::Partial(partial) => [Some(partial.file.clone()), Some(partial.finished().to_owned())],
            Got::Whole(whole) => [Some(whole.file.clone()), None],
        };
        self.got.values().flat_map(names).flatten().collect()
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Adds a line, whole or not at all. Blocks.
    pub(super) fn write(&mut self, note: &Note) -> Result<()> {
        let failed = |error| unusable("write", &self.path, error);
        let (line, crc) = line::write(&self.crc, note).map_err(|error| failed(error.into()))?;
        if let Err(error) = self.file.write_all(&line) {
            // The next line must not be written behind half of this one.
            self.file.set_len(self.length).map_err(failed)?;
            self.file.seek(SeekFrom::Start(self.length)).map_err(failed)?;
            return Err(failed(error));
        }
        self.length += line.len() as u64;
        self.crc = crc;
        Ok(())
    }

    fn problem(&self, problem: impl Into<String>) -> JournalProblem {
        JournalProblem::new(&self.path, problem)
    }
}

/// To whom the notes belong that follow.
#[derive(Default)]
struct Begun {
    objects: HashMap<u64, What>,
    uploads: HashMap<u64, Way>,
}

impl Partial {
    /// The name that its file has when it is whole.
    pub(crate) fn finished(&self) -> &str {
        self.file.strip_suffix(PART_SUFFIX).unwrap_or(&self.file)
    }

    /// A later piece is what is there now.
    fn insert(&mut self, piece: Piece) -> Result<(), (&'static str, &'static str)> {
        let end = piece.offset.checked_add(piece.length).filter(|end| *end <= self.size && piece.length > 0);
        let end = end.ok_or(("length", "the piece does not lie within its file"))?;
        while let Some((&offset, before)) = self.pieces.range(..end).next_back()
            && before.offset + before.length > piece.offset
        {
            self.pieces.remove(&offset);
        }
        self.pieces.insert(piece.offset, piece);
        Ok(())
    }
}

/// A name of a file in the journal's own directory.
fn checked(name: String) -> Result<String, (&'static str, &'static str)> {
    let is_a_name = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0']);
    if is_a_name && name != LINES { Ok(name) } else { Err(("file", "it is no name of a file in the journal")) }
}
