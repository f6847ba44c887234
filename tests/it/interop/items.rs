//! The objects that each side stores with each of its methods.

use serde_json::{Value, json};

#[derive(Clone)]
pub(super) struct Item {
    pub(super) name: &'static str,
    pub(super) key: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) content_type: Option<&'static str>,
    pub(super) metadata: Option<Value>,
}

impl Item {
    fn new(name: &'static str, key: &'static str) -> Self {
        Self { name, key, body: format!("the value of {key}").into_bytes(), content_type: None, metadata: None }
    }

    fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    fn content_type(self, content_type: &'static str) -> Self {
        Self { content_type: Some(content_type), ..self }
    }

    fn metadata(self, metadata: Value) -> Self {
        Self { metadata: Some(metadata), ..self }
    }
}

/// What both sides must carry unchanged.
pub(super) fn items() -> Vec<Item> {
    vec![
        Item::new("text alone", "plain.txt"),
        Item::new("empty object", "empty").body(""),
        Item::new("every byte", "bytes.bin").body((0..=255).collect::<Vec<u8>>()),
        Item::new("content type", "page.html").content_type("text/html; charset=utf-8"),
        Item::new("metadata: ASCII", "meta/ascii").metadata(json!({"owner": "me"})),
        Item::new("metadata: non-ASCII", "meta/unicode").metadata(json!({"café": "naïve ≠ 🦀", "名": "中文"})),
        Item::new("metadata: spaces", "meta/spaces")
            .metadata(json!({"two  in  name": "  before, between   and after  "})),
        Item::new("metadata: nested JSON", "meta/nested")
            .metadata(json!({"a": {"b": [1, -2.5, true, null, {"c": []}]}, "empty": {}})),
        Item::new("metadata: escapes", "meta/escapes").metadata(json!({"q": "\"\\/\u{8}\n\r\t\u{0}\u{7f}"})),
        Item::new("metadata: numbers", "meta/numbers")
            .metadata(serde_json::from_str(r#"{"big": 9223372036854775807, "small": 5e-324, "e": 1e100}"#).unwrap()),
        Item::new("metadata and content type", "meta/both.json")
            .content_type("application/json")
            .metadata(json!({"k": "v"})),
        Item::new("key: two slashes", "a//b"),
        Item::new("key: slash at its end", "dir/"),
        Item::new("key: spaces", " a  b "),
        Item::new("key: %2F and %", "percent%2Fslash%"),
        Item::new("key: plus", "a+b"),
        Item::new("key: non-ASCII", "中文/é 🦀"),
        Item::new("key: hash", "dataset #1/data.txt"),
        Item::new("key: = & ; : @ , $ ! ' ( ) *", "a=b&c;d:e@f,g$h!i'(j)*"),
        Item::new("key: markup", "<a>&amp;\"q\""),
        Item::new("key: 900 bytes", LONG),
    ]
}

const LONG: &str = {
    const BYTES: [u8; 900] = [b'k'; 900];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => unreachable!(),
    }
};
