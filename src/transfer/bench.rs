//! The planning of parts, see [`crate::bench`].

use std::hint::black_box;

use super::parts::{PART, Plan};
use crate::bench::Work;

pub(crate) fn equal_parts() -> Work {
    Box::new(|| walk(Plan::of(black_box(10_000 * PART), PART).expect("10,000 parts hold it")))
}

pub(crate) fn growing_parts() -> Work {
    Box::new(|| walk(Plan::of_unknown(black_box(None))))
}

/// As an upload of its most parts goes through it.
fn walk(plan: Plan) {
    let mut bytes = 0;
    let mut number = 1;
    while let Some(length) = plan.length(number) {
        assert!(black_box(plan.at_once(number)) > 0);
        bytes += length;
        number += 1;
    }
    assert_eq!((number, bytes), (10_001, plan.capacity()));
}
