//! S3's small XML documents, tag by tag. Nothing recurses, and no entity but XML's own five is expanded, so that a document
//! costs no more than its length.

use std::borrow::Cow;

use quick_xml::events::{BytesRef, Event};

/// A tag, with the local name of its element.
pub(super) enum Tag<'a> {
    Open(&'a [u8]),
    /// With the text since the last tag, which is the element's own when it has no children.
    Close(&'a [u8], Cow<'a, str>),
}

/// Why a document was not read to its end.
pub(super) type Problem = &'static str;

/// Visits every tag of a document with its depth: 0 for the root. Ends with the root.
pub(super) fn read(body: &[u8], mut visit: impl FnMut(usize, Tag<'_>) -> Result<(), Problem>) -> Result<(), Problem> {
    const NOT_XML: Problem = "a document that is not valid XML";
    let mut reader = quick_xml::Reader::from_reader(body);
    reader.config_mut().expand_empty_elements = true;
    let mut text = Cow::Borrowed("");
    let mut depth = 0;
    loop {
        match reader.read_event().map_err(|_| NOT_XML)? {
            Event::Start(element) => {
                visit(depth, Tag::Open(element.local_name().as_ref()))?;
                depth += 1;
                text = Cow::Borrowed("");
            }
            Event::End(element) => {
                depth -= 1;
                visit(depth, Tag::Close(element.local_name().as_ref(), std::mem::take(&mut text)))?;
                if depth == 0 {
                    return Ok(());
                }
            }
            Event::Text(part) => push(&mut text, part.decode().map_err(|_| NOT_XML)?),
            Event::CData(part) => push(&mut text, part.decode().map_err(|_| NOT_XML)?),
            Event::GeneralRef(reference) => push(&mut text, resolve(&reference).ok_or(NOT_XML)?.into()),
            Event::Eof => return Err("a document that is cut off"),
            _ => {}
        }
    }
}

/// A text of one piece is not copied.
fn push<'a>(text: &mut Cow<'a, str>, part: Cow<'a, str>) {
    if text.is_empty() {
        *text = part;
    } else {
        text.to_mut().push_str(&part);
    }
}

fn resolve(reference: &BytesRef<'_>) -> Option<String> {
    if let Some(character) = reference.resolve_char_ref().ok()? {
        return Some(character.to_string());
    }
    quick_xml::escape::resolve_predefined_entity(&reference.decode().ok()?).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(body: &str) -> Result<Vec<String>, Problem> {
        let mut texts = Vec::new();
        read(body.as_bytes(), |_, tag| {
            if let Tag::Close(_, text) = tag {
                texts.push(text.into_owned());
            }
            Ok(())
        })?;
        Ok(texts)
    }

    #[test]
    fn references_and_cdata_are_text() {
        assert_eq!(texts("<a><b>x&amp;&#x1;&#233;<![CDATA[<y>]]></b><c/></a>").unwrap(), ["x&\u{1}é<y>", "", ""]);
    }

    #[test]
    fn entities_of_the_document_are_not_expanded() {
        let bomb = "<!DOCTYPE a [<!ENTITY lol \"lollollol\">]><a>&lol;</a>";
        assert_eq!(texts(bomb), Err("a document that is not valid XML"));
    }

    #[test]
    fn what_ends_early_is_cut_off() {
        for body in ["", "text", "<a>", "<a><b></b>"] {
            assert_eq!(texts(body), Err("a document that is cut off"), "{body}");
        }
        assert_eq!(texts("<a></b>"), Err("a document that is not valid XML"));
        assert_eq!(texts("</a>"), Err("a document that is not valid XML"));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&body, |_, _| Ok(()));
            let mut within = b"<a><b>".to_vec();
            within.extend(body);
            let _ = read(&within, |_, _| Ok(()));
        }
    }
}
