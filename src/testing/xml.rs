//! Writing the XML documents of S3.

use std::fmt::Write as _;

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// An XML document in the making.
#[derive(Debug)]
pub(super) struct Xml {
    text: String,
    root: &'static str,
}

impl Xml {
    /// A document whose root element is in the namespace of S3.
    pub(super) fn new(root: &'static str) -> Self {
        Self { text: format!("{DECLARATION}<{root} xmlns=\"{NAMESPACE}\">"), root }
    }

    /// A document without a namespace: errors have none.
    pub(super) fn plain(root: &'static str) -> Self {
        Self { text: format!("{DECLARATION}<{root}>"), root }
    }

    pub(super) fn reserve(&mut self, bytes: usize) {
        self.text.reserve(bytes);
    }

    pub(super) fn open(&mut self, name: &str) {
        self.text.extend(["<", name, ">"]);
    }

    pub(super) fn close(&mut self, name: &str) {
        self.text.extend(["</", name, ">"]);
    }

    /// An element that holds text.
    pub(super) fn element(&mut self, name: &str, value: &str) {
        self.open(name);
        escape_into(&mut self.text, value);
        self.close(name);
    }

    /// An element that holds a number.
    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.open(name);
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{value}");
        self.close(name);
    }

    /// The text of the root element itself.
    pub(super) fn text(&mut self, value: &str) {
        escape_into(&mut self.text, value);
    }

    pub(super) fn finish(mut self) -> String {
        let root = self.root;
        self.close(root);
        self.text
    }
}

/// Whether XML 1.0 allows the character, in whatever form.
pub(super) fn is_legal(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..) && !matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Characters that XML 1.0 does not allow are written as character references, which most parsers
/// reject: S3 does the same, and this is why `encoding-type=url` exists.
fn escape_into(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' => out.push(c),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(out, "&#x{:X};", u32::from(c));
            }
            _ => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_illegal_characters_become_references() {
        let mut xml = Xml::plain("Error");
        xml.element("Key", "<a>&\"'\u{1}\t\r\u{ffff}é");
        assert_eq!(
            xml.finish(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Key>&lt;a&gt;&amp;&quot;&#39;&#x1;\t&#xD;&#xFFFF;é</Key></Error>"
        );
    }
}
