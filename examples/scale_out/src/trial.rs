//! Objects to try jobs on.

/// Of the program `server`.
pub const BUCKET: &str = "bucket";

/// The key and the bytes of an object; no two have the same. Of up to 900 bytes.
#[must_use]
pub fn object(number: usize) -> (String, Vec<u8>) {
    let (month, day) = (number / 28 % 12 + 1, number % 28 + 1);
    let key = format!("source/2026-{month:02}-{day:02}/{number:07}.txt");
    (key, format!("object {number}\n").repeat(number % 64).into_bytes())
}
