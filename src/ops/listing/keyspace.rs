//! Keys as numbers: how far one is from another, and which key lies so far beyond one. Pure.
//!
//! A key is a fraction whose digits are its characters, each position with an alphabet that is learnt from the keys seen. So
//! the middle of `2026-01-31T23` and `2026-02-01T01` is not `2026-01-\u{7f}`, and a page of hexadecimal names tells how many
//! more there are. Nothing relies on these numbers but speed: whatever they say, a key is on one side of a split.

use std::ops::{Range, RangeInclusive};

use crate::address::MAX_KEY_BYTES;

/// What the keys below a prefix look like.
#[derive(Debug)]
pub(super) struct KeySpace {
    /// With this they begin; it is no part of the number.
    prefix: String,
    positions: Vec<Position>,
    /// Letters and digits that were seen anywhere.
    letters: Vec<char>,
}

#[derive(Debug, Default)]
struct Position {
    seen: Vec<char>,
    /// How often a neighbour differed further in front: then this one has begun again.
    turns: u32,
    /// Of the first digit of a month, a day or an hour in each key that was seen: the highest that there is.
    of_date: Option<char>,
    alphabet: Alphabet,
}

/// What a position counts through, in byte order, which is that of code points.
#[derive(Debug, PartialEq)]
enum Alphabet {
    /// Not empty.
    Of(Vec<char>),
    /// Of scripts with so many characters that few of them are seen: all from the first to the last.
    Between(u32, u32),
}

/// After so many, all that a position counts through has been seen.
const TURNS: u32 = 3;
/// More characters at one position are not told apart.
const MOST_SEEN: usize = 512;
/// Digits beyond this are smaller than what an `f64` keeps.
const SMALLEST: f64 = 1e-15;
/// A key that is to lie so far away need not be more exact than one part in so many of that.
const EXACT: f64 = 64.0;
/// So many neighbours of a page are looked at.
const SAMPLES: usize = 24;

const DIGITS: RangeInclusive<char> = '0'..='9';
const LOWER: RangeInclusive<char> = 'a'..='z';
const UPPER: RangeInclusive<char> = 'A'..='Z';
const LOWER_HEX: RangeInclusive<char> = 'a'..='f';
const UPPER_HEX: RangeInclusive<char> = 'A'..='F';

impl KeySpace {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), positions: Vec::new(), letters: Vec::new() }
    }

    /// Learns from some keys of a page, which is in byte order.
    pub(super) fn learn<'a>(&mut self, count: usize, key: impl Fn(usize) -> &'a str) {
        let mut before: Option<Vec<char>> = None;
        let is_first = self.positions.is_empty();
        for sample in samples(count) {
            let Some(name) = key(sample).strip_prefix(&*self.prefix) else { continue };
            let name: Vec<char> = name.chars().collect();
            if self.positions.len() < name.len() {
                self.positions.resize_with(name.len(), Position::default);
            }
            let digits = digits_of_date(&name);
            for (at, position) in self.positions.iter_mut().enumerate() {
                let found = digits.iter().find(|(place, _)| *place == at).map(|(_, highest)| *highest);
                let is_new = is_first && before.is_none();
                position.of_date = if is_new { found } else { position.of_date.filter(|known| found == Some(*known)) };
            }
            let common = before.as_ref().map_or(name.len(), |before| common(before, &name));
            for (at, (position, character)) in self.positions.iter_mut().zip(&name).enumerate() {
                insert(&mut position.seen, *character);
                position.turns += u32::from(at > common);
                if character.is_ascii_alphanumeric() {
                    insert(&mut self.letters, *character);
                }
            }
            before = Some(name);
        }
        let Self { positions, letters, .. } = self;
        for at in 0..positions.len() {
            let Position { seen, turns, of_date, .. } = &positions[at];
            let alphabet = match of_date {
                Some(highest) => Alphabet::Of(('0'..=*highest).collect()),
                None if *turns >= TURNS => Alphabet::of(seen, letters, true),
                // What turns behind it in the same word goes through the same.
                None => Alphabet::of(like(positions, at).unwrap_or(seen), letters, false),
            };
            positions[at].alphabet = alphabet;
        }
    }

    /// How far `high` is from `low`, as a binary logarithm; without a `high`, how far the end of the space is. Not a number when
    /// they cannot be told apart.
    pub(super) fn distance(&self, low: &str, high: Option<&str>) -> f64 {
        let low = self.characters(low);
        let Some(high) = high else { return (1.0 - self.fraction(&low, 0)).log2() };
        let high = self.characters(high);
        let common = common(&low, &high);
        let difference = self.fraction(&high, common) - self.fraction(&low, common);
        if difference > SMALLEST { difference.log2() + self.unit(common) } else { f64::NAN }
    }

    /// A key that is so far beyond `low`, as short as it can be; `None` when that is beyond the space, or not to be told from
    /// `low`. It need not be the key of any object.
    pub(super) fn beyond(&self, low: &str, distance: f64) -> Option<String> {
        let characters = self.characters(low);
        // The part of `low` that stays, but for one to carry, is of a unit that is larger than the distance.
        let mut kept = 0;
        let mut unit = 0.0;
        while kept < characters.len() && unit - self.radix(kept).log2() >= distance {
            unit -= self.radix(kept).log2();
            kept += 1;
        }
        let amount = (distance - unit).exp2();
        let mut rest = self.fraction(&characters, kept) + amount;
        let mut name: Vec<char> = characters[..kept].to_vec();
        if rest >= 1.0 {
            rest -= 1.0;
            self.increment(&mut name)?;
        }
        let mut size = 1.0;
        while size > amount / EXACT && rest > 0.0 && size > SMALLEST {
            let Some(Position { alphabet, .. }) = self.positions.get(name.len()) else { break };
            let radix = alphabet.len();
            // Rounding may have made it one too many.
            let digit = (rest * radix).floor().min(radix - 1.0);
            name.push(alphabet.character(digit)?);
            rest = rest * radix - digit;
            size /= radix;
        }
        let mut key = self.prefix.clone();
        key.extend(name);
        (key.as_str() > low && key.len() <= MAX_KEY_BYTES).then_some(key)
    }

    /// The next name of as many characters.
    fn increment(&self, name: &mut [char]) -> Option<()> {
        for at in (0..name.len()).rev() {
            let alphabet = &self.positions.get(at)?.alphabet;
            if let Some(next) = alphabet.character(alphabet.digit(name[at]).0.floor() + 1.0) {
                name[at] = next;
                return Some(());
            }
            name[at] = alphabet.character(0.0)?;
        }
        None
    }

    fn characters(&self, key: &str) -> Vec<char> {
        key.strip_prefix(&*self.prefix).unwrap_or_default().chars().collect()
    }

    fn radix(&self, at: usize) -> f64 {
        self.positions.get(at).map_or(1.0, |position| position.alphabet.len())
    }

    /// How much of the space all have that begin with the same so many characters, as a binary logarithm.
    fn unit(&self, characters: usize) -> f64 {
        -self.positions.iter().take(characters).map(|position| position.alphabet.len().log2()).sum::<f64>()
    }

    /// The digits from a position on as a number below 1.
    fn fraction(&self, name: &[char], from: usize) -> f64 {
        let (mut value, mut unit) = (0.0, 1.0);
        for (character, position) in name.iter().zip(&self.positions).skip(from) {
            unit /= position.alphabet.len();
            let (digit, is_known) = position.alphabet.digit(*character);
            value += digit.max(0.0) * unit;
            if !is_known {
                return value;
            }
            if unit < SMALLEST {
                break;
            }
        }
        value
    }
}

/// What is known of the first position behind one, in the same word, that has turned; if it goes through all that the one does.
fn like(positions: &[Position], at: usize) -> Option<&[char]> {
    let is_separator = |seen: &[char]| matches!(seen, [only] if !only.is_alphanumeric());
    let word = positions[at + 1..].iter().take_while(|position| !is_separator(&position.seen));
    let turned = word.into_iter().find(|position| position.turns >= TURNS)?;
    let has_all = positions[at].seen.iter().all(|character| turned.seen.binary_search(character).is_ok());
    has_all.then_some(turned.seen.as_slice())
}

/// Which of so many neighbours are looked at, from the first to the last.
pub(super) fn samples(count: usize) -> impl Iterator<Item = usize> {
    let samples = count.min(SAMPLES);
    (0..samples).map(move |sample| sample * (count - 1) / (samples - 1).max(1))
}

/// Where a month, a day and an hour begin in a name, as in `2026-01-31T23` or `01/31/`, and the highest first digit of each.
fn digits_of_date(name: &[char]) -> Vec<(usize, char)> {
    let digit = |at: usize| name.get(at).and_then(|digit| digit.to_digit(10));
    let is_alone =
        |at: usize| digit(at + 2).is_none() && at.checked_sub(1).is_none_or(|before| digit(before).is_none());
    let is = |at: usize, numbers: RangeInclusive<u32>| {
        digit(at).zip(digit(at + 1)).is_some_and(|(ten, one)| numbers.contains(&(10 * ten + one))) && is_alone(at)
    };
    let Some(month) = (0..name.len()).find(|at| is(*at, 1..=12) && is(at + 3, 1..=31)) else { return Vec::new() };
    let mut digits = vec![(month, '1'), (month + 3, '3')];
    if is(month + 6, 0..=23) {
        digits.push((month + 6, '2'));
    }
    digits
}

fn common(one: &[char], other: &[char]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

fn insert(sorted: &mut Vec<char>, character: char) {
    if let Err(place) = sorted.binary_search(&character)
        && sorted.len() < MOST_SEEN
    {
        sorted.insert(place, character);
    }
}

impl Default for Alphabet {
    fn default() -> Self {
        Self::Of(vec!['\0'])
    }
}

/// A script whose end was not seen goes on for so many times what was seen of it, and for so many characters.
const MORE_TIMES: u32 = 8;
const MORE: u32 = 64;

impl Alphabet {
    /// Of a position of which this was seen, among keys with these letters and digits; all of it, or some.
    fn of(seen: &[char], letters: &[char], is_all: bool) -> Self {
        if let (Some(first), Some(last)) = (seen.first(), seen.last().filter(|last| !last.is_ascii())) {
            let (first, last) = (number(*first), number(*last));
            let more = if is_all { 0 } else { (last - first) * MORE_TIMES + MORE };
            return Self::Between(first, (last + more).min(number(char::MAX)));
        }
        Self::Of(if is_all { seen.to_vec() } else { completed(seen, letters) })
    }

    fn len(&self) -> f64 {
        match self {
            Self::Of(characters) => characters.len() as f64,
            Self::Between(first, last) => f64::from(last - first + 1),
        }
    }

    fn character(&self, digit: f64) -> Option<char> {
        match self {
            Self::Of(characters) => characters.get(digit as usize).copied(),
            Self::Between(first, last) => {
                character(first.saturating_add(digit as u32)).filter(|found| number(*found) <= *last)
            }
        }
    }

    /// The digit of a character, and whether it is one; else it is somewhere between two.
    fn digit(&self, character: char) -> (f64, bool) {
        match self {
            Self::Of(characters) => match characters.binary_search(&character) {
                Ok(digit) => (digit as f64, true),
                Err(digit) => (digit as f64 - 0.5, false),
            },
            Self::Between(first, last) => {
                let number = number(character);
                (f64::from(number.clamp(*first, *last) - first), (*first..=*last).contains(&number))
            }
        }
    }
}

/// Code points without a gap.
fn number(character: char) -> u32 {
    let code = u32::from(character);
    if code < SURROGATES.start { code } else { code - (SURROGATES.end - SURROGATES.start) }
}

fn character(number: u32) -> Option<char> {
    char::from_u32(if number < SURROGATES.start { number } else { number + (SURROGATES.end - SURROGATES.start) })
}

/// No characters.
const SURROGATES: Range<u32> = 0xd800..0xe000;

/// What a position probably counts through of which this was seen, among keys with these letters and digits.
fn completed(seen: &[char], letters: &[char]) -> Vec<char> {
    let are = |of: &[char], ranges: &[RangeInclusive<char>]| {
        of.iter().all(|character| ranges.iter().any(|range| range.contains(character)))
    };
    let hexadecimal = [[DIGITS, LOWER_HEX], [DIGITS, UPPER_HEX]].into_iter().find(|ranges| are(letters, ranges));
    let classes = match hexadecimal.filter(|_| !are(letters, &[DIGITS])) {
        Some(ranges) => vec![ranges.to_vec()],
        None => vec![vec![DIGITS], vec![UPPER], vec![LOWER]],
    };
    let begun = |class: &Vec<RangeInclusive<char>>| {
        seen.iter().any(|character| class.iter().any(|range| range.contains(character)))
    };
    let mut all: Vec<char> = classes.into_iter().filter(begun).flatten().flatten().collect();
    all.extend(seen);
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn space(prefix: &str, keys: &[String]) -> KeySpace {
        let mut space = KeySpace::new(prefix);
        space.learn(keys.len(), |at| &keys[at]);
        space
    }

    /// The number of a key, where keys are numbered.
    fn number(key: &str, radix: u32) -> u64 {
        u64::from_str_radix(&format!("{:0<8}", &key[2..]), radix).unwrap()
    }

    #[test]
    fn the_key_that_is_so_far_beyond_another_is_found_by_what_digits_there_are() {
        for (radix, names) in [
            (10, (0..1000).map(|number| format!("p/{:08}", 41_000 + number)).collect::<Vec<_>>()),
            (16, (0..1000).map(|number| format!("p/{:08x}", 0x5_f000 + number * 3)).collect()),
        ] {
            let space = space("p/", &names);
            let (first, last) = (&names[0], &names[999]);
            let page = space.distance(first, Some(last));
            let step = number(last, radix) - number(first, radix);
            for pages in [1_u32, 2, 8, 300] {
                let found = space.beyond(last, page + f64::from(pages).log2()).unwrap();
                let away = (number(&found, radix) - number(last, radix)) as f64 / (step * u64::from(pages)) as f64;
                assert!((0.9..1.1).contains(&away), "{pages} pages of base {radix}: {found} is {away} away");
            }
        }
    }

    #[test]
    fn what_counts_to_five_is_not_taken_to_count_to_nine() {
        let keys: Vec<String> = (0..24).map(|number| format!("0{}:{}0", number / 6, number % 6)).collect();
        let space = space("", &keys);
        let ten = space.distance("01:10", Some("01:20"));
        assert_eq!(space.beyond("01:50", ten).as_deref(), Some("02:00"));
    }

    #[test]
    fn the_digits_of_dates_are_found_and_of_nothing_else() {
        let of = |name: &str| digits_of_date(&name.chars().collect::<Vec<_>>());
        assert_eq!(of("a-01/31/7"), [(2, '1'), (5, '3')]);
        assert_eq!(of("2026-12-01T23:59Z"), [(5, '1'), (8, '3'), (11, '2')]);
        for name in ["", "1", "13-01", "01-32", "2026-00-10", "12345-67", "001-01", "01-011"] {
            assert_eq!(of(name), [], "{name}");
        }
    }

    #[test]
    fn a_month_is_not_taken_to_have_ninety_nine_days() {
        let days = |keys: &[String]| {
            let space = space("p/", keys);
            let day = space.distance("p/2026-01-10", Some("p/2026-01-11"));
            (space.distance("p/2026-01-10", Some("p/2026-02-10")) - day).exp2().round()
        };
        let mut keys: Vec<String> = (1..=12).map(|day| format!("p/2026-01-{day:02}")).collect();
        assert_eq!(days(&keys), 40.0);
        // One that is none, and all are numbers.
        keys.push("p/2026-32-11".to_owned());
        assert_eq!(days(&keys), 100.0);
    }

    proptest! {
        #[test]
        fn what_lies_beyond_is_a_later_key_that_s3_takes(
            keys in proptest::collection::btree_set("p/(\\PC{0,30}|[a-f0-9]{0,40}|\u{0}{0,9}|.{1000})", 1..40),
            low in 0_usize..40, distance in -200.0..10.0,
        ) {
            let keys: Vec<String> = keys.into_iter().collect();
            let space = space("p/", &keys);
            let low = &keys[low % keys.len()];
            if let Some(key) = space.beyond(low, distance) {
                prop_assert!(key > *low && key.starts_with("p/") && key.len() <= MAX_KEY_BYTES);
            }
        }

        #[test]
        fn distances_grow_with_keys(keys in proptest::collection::btree_set("[0-9]{6}", 3..40)) {
            let keys: Vec<String> = keys.into_iter().collect();
            let space = space("", &keys);
            let (first, last) = (&keys[0], &keys[keys.len() - 1]);
            let whole = space.distance(first, Some(last));
            for key in &keys[1..keys.len() - 1] {
                let part = space.distance(first, Some(key));
                prop_assert!(part.is_nan() || whole.is_nan() || part <= whole + 1e-9);
            }
        }
    }
}
