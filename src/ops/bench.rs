//! The fan-out, see [`crate::bench`].

use std::hint::black_box;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use tokio::runtime;

use super::many::{fan_out, numbered};
use crate::bench::Work;

pub(crate) fn as_they_come() -> Work {
    schedule(false)
}

pub(crate) fn in_order() -> Work {
    schedule(true)
}

/// Items that need nothing but to be scheduled, on one thread.
fn schedule(ordered: bool) -> Work {
    let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
    Box::new(move || {
        let inputs = numbered(futures::stream::iter((0..10_000_u64).map(Ok))).boxed();
        let results =
            fan_out(&Arc::default(), inputs, black_box(64), ordered, |_, item| async move { Ok(black_box(item)) });
        let sum = runtime.block_on(results.try_fold(0, |sum, item| async move { Ok(sum + item) }));
        assert_eq!(sum.expect("no item fails"), 49_995_000);
    })
}
