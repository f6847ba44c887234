//! User metadata as Metaflow keeps it: one entry that holds a JSON object.

use serde_json::{Map, Value};

/// The header of the entry, `x-amz-meta-` and its name.
pub(crate) const HEADER: &str = "x-amz-meta-metaflow-user-attributes";

/// S3's limit for the names and values of all user metadata, in bytes.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>
pub(crate) const MAX_METADATA_BYTES: usize = 2048;

/// The text of the entry: JSON in visible ASCII, escaped as Python's `json.dumps` does it, so that a header can carry it.
///
/// The second of two neighbouring spaces is escaped too: signatures are computed over values whose runs of spaces are
/// folded, and not every server folds alike.
pub(crate) fn encode(metadata: &Map<String, Value>) -> String {
    let json = Value::Object(metadata.clone()).to_string();
    let mut text = String::with_capacity(json.len());
    let mut units = [0_u16; 2];
    for character in json.chars() {
        match character {
            ' ' if text.ends_with(' ') => text.push_str("\\u0020"),
            ' '..='~' => text.push(character),
            _ => {
                for unit in character.encode_utf16(&mut units) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    text
}

/// The bytes that an entry counts for against [`MAX_METADATA_BYTES`].
pub(crate) fn counted_bytes(encoded: &str) -> usize {
    HEADER.len() - "x-amz-meta-".len() + encoded.len()
}

/// Reads an entry; `None` when it is no JSON object, which is then not Metaflow's.
pub(crate) fn decode(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(metadata)) => Some(metadata),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            _ => unreachable!("an object"),
        }
    }

    #[test]
    fn text_is_escaped_as_python_does() {
        let metadata = object(json!({"é": "🦀\u{7f}\n", "n": [1, null, true]}));
        let encoded = encode(&metadata);
        assert_eq!(encoded, r#"{"n":[1,null,true],"\u00e9":"\ud83e\udd80\u007f\n"}"#);
        assert_eq!(decode(&encoded), Some(metadata));
    }

    #[test]
    fn what_python_writes_is_read() {
        let python = r#"{"owner": "me", "caf\u00e9": {"nested": [1.5, "\ud83e\udd80"]}}"#;
        assert_eq!(decode(python), Some(object(json!({"owner": "me", "café": {"nested": [1.5, "🦀"]}}))));
        assert_eq!(decode("[1]"), None);
        assert_eq!(decode("not json"), None);
    }

    fn nested() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_object_survives(value in nested()) {
            let metadata = object(json!({"v": value}));
            prop_assert_eq!(decode(&encode(&metadata)), Some(metadata));
        }

        #[test]
        fn every_number_survives(float in any::<f64>(), unsigned: u64, signed: i64) {
            let metadata = object(json!({"n": [float, unsigned, signed]}));
            prop_assert_eq!(decode(&encode(&metadata)), Some(metadata));
            if float.is_finite() {
                let read = decode(&format!("{{\"n\": {float:e}}}"));
                prop_assert_eq!(read, Some(object(json!({"n": float}))));
            }
        }

        #[test]
        fn every_text_survives_as_visible_ascii_without_double_spaces(key in ".*", value in ".* {0,4}.*") {
            let mut metadata = Map::new();
            metadata.insert(key, Value::String(value));
            let encoded = encode(&metadata);
            prop_assert!(encoded.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert!(!encoded.contains("  "));
            prop_assert_eq!(decode(&encoded), Some(metadata));
        }
    }
}
