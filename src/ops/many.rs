//! Fan-out: a task for each input, so many at a time, their results as they come or in order.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::stream::BoxStream;
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::Operation;
use crate::blocking::joined;
use crate::config::checked_concurrency;
use crate::error::{Error, Result};
use crate::observe::{Counters, Running};
use crate::s3::S3;

/// A many-operation before and while it runs.
pub(super) enum Many<I, T> {
    Ready(Ready<I>),
    /// `None` of one that was refused.
    Running(BoxStream<'static, Result<T>>, Option<Running>),
}

/// What is not begun yet.
pub(super) struct Ready<I> {
    inputs: BoxStream<'static, Result<I>>,
    /// How many objects there are, if that is known.
    objects: Option<usize>,
    concurrency: Option<usize>,
    ordered: bool,
}

impl<I: Send + 'static, T: Send + 'static> Many<I, T> {
    /// Of so many objects, if that is known before the inputs end.
    pub(super) fn new(inputs: impl Stream<Item = Result<I>> + Send + 'static, objects: Option<usize>) -> Self {
        Self::Ready(Ready { inputs: inputs.boxed(), objects, concurrency: None, ordered: false })
    }

    pub(super) fn set_concurrency(&mut self, objects: usize) {
        if let Self::Ready(ready) = self {
            ready.concurrency = Some(objects);
        }
    }

    pub(super) fn set_ordered(&mut self, ordered: bool) {
        if let Self::Ready(ready) = self {
            ready.ordered = ordered;
        }
    }

    /// In place of its results, there is this error, for a setting that cannot be used.
    pub(super) fn refuse(&mut self, error: Error) {
        if let Self::Ready(_) = self {
            *self = Self::Running(futures::stream::iter([Err(error)]).boxed(), None);
        }
    }

    /// Polls for the next result; the first poll starts the operation, which goes about its inputs in a way of its own.
    pub(super) fn poll_by(
        &mut self,
        cx: &mut Context<'_>,
        counters: &Arc<Counters>,
        default_concurrency: usize,
        start: impl FnOnce(BoxStream<'static, Result<I>>, usize, bool) -> BoxStream<'static, Result<T>>,
    ) -> Poll<Option<Result<T>>> {
        if let Self::Ready(Ready { inputs, objects, concurrency, ordered }) = self {
            let running = counters.begin(objects.map(|objects| objects as u64));
            let inputs = std::mem::replace(inputs, futures::stream::empty().boxed());
            let results = match checked_concurrency(concurrency.unwrap_or(default_concurrency)) {
                Ok(concurrency) => start(inputs, concurrency, *ordered),
                Err(error) => futures::stream::iter([Err(error)]).boxed(),
            };
            *self = Self::Running(results, Some(running));
        }
        let Self::Running(results, running) = self else { return Poll::Ready(None) };
        let next = ready!(Pin::new(results).poll_next(cx));
        if next.is_none() {
            *running = None;
        }
        Poll::Ready(next)
    }
}

/// An operation on inputs with numbers, a task for each. Errors of the input have theirs already.
impl<I: Send + 'static, T: Send + 'static> Many<(usize, I), T> {
    /// Polls for the next result; the first poll starts the operation.
    pub(super) fn poll<F, Fut>(
        &mut self,
        cx: &mut Context<'_>,
        s3: &S3,
        run: impl FnOnce() -> F,
    ) -> Poll<Option<Result<T>>>
    where
        F: Fn(usize, I) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        self.poll_by(cx, s3.counters(), s3.concurrency(), |inputs, concurrency, ordered| {
            fan_out(s3.counters(), inputs, concurrency, ordered, run())
        })
    }
}

/// Runs each input in a task of its own.
///
/// The tasks go on while nobody polls the stream; a stream that only polled its futures would stall them behind a slow
/// consumer. At most `concurrency` of them run or wait to be taken. Dropping the stream aborts them.
pub(super) fn fan_out<I, T, F, Fut>(
    counters: &Arc<Counters>,
    mut inputs: BoxStream<'static, Result<(usize, I)>>,
    concurrency: usize,
    ordered: bool,
    run: F,
) -> BoxStream<'static, Result<T>>
where
    I: Send + 'static,
    T: Send + 'static,
    F: Fn(usize, I) -> Fut + Send + 'static,
    Fut: Future<Output = Result<T>> + Send + 'static,
{
    let (counting, mut objects) = (Arc::clone(counters), 0);
    let inputs = futures::stream::poll_fn(move |cx| {
        let input = ready!(inputs.poll_next_unpin(cx));
        match input {
            Some(_) => objects += 1,
            None => counting.there_are(objects),
        }
        Poll::Ready(input)
    });
    let counters = Arc::clone(counters);
    let tasks = inputs.map(move |input| {
        if input.is_err() {
            counters.count(false);
        }
        let task = input.map(|(index, input)| {
            let counters = Arc::clone(&counters);
            let task = run(index, input).inspect(move |ended| counters.count(ended.is_ok())).in_current_span();
            (index, AbortOnDropHandle::new(tokio::spawn(task)))
        });
        async move {
            let (index, task) = task?;
            task.await.unwrap_or_else(|error| Err(joined(error))).map_err(|error| error.with_index(index))
        }
    });
    if ordered { tasks.buffered(concurrency).boxed() } else { tasks.buffer_unordered(concurrency).boxed() }
}

/// Inputs with their numbers.
pub(super) fn numbered<I>(inputs: impl Stream<Item = Result<I>>) -> impl Stream<Item = Result<(usize, I)>> {
    inputs.enumerate().map(|(index, input)| match input {
        Ok(input) => Ok((index, input)),
        Err(error) => Err(error.with_index(index)),
    })
}

/// Awaits a many-operation: all results, sorted, or the first error, which cancels the rest.
pub(super) fn collect<S, T>(results: S, order: fn(&T, &T) -> std::cmp::Ordering) -> Operation<Vec<T>>
where
    S: Stream<Item = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    Box::pin(async move {
        let mut collected: Vec<T> = results.try_collect().await?;
        collected.sort_by(order);
        Ok(collected)
    })
}

/// How many items a stream has, if it knows that.
pub(super) fn known_length(inputs: &impl Stream) -> Option<usize> {
    let (least, most) = inputs.size_hint();
    most.filter(|most| *most == least)
}

/// What the operations share that have an `s3`.
macro_rules! progress {
    () => {
        /// To look at how far it has come, from elsewhere and while it runs.
        #[must_use]
        pub fn progress(&self) -> $crate::Progress {
            $crate::Progress::of(std::sync::Arc::clone(self.s3.counters()))
        }
    };
}
pub(super) use progress;

/// The setters that the many-operations share, each of which has a `many`.
macro_rules! settings_of_many {
    () => {
        $crate::ops::many::progress!();

        /// How many objects are under way or waiting to be taken, at most. Default: the scope's.
        pub fn concurrency(mut self, objects: usize) -> Self {
            self.many.set_concurrency(objects);
            self
        }

        /// Whether the stream keeps the order of its input, in place of the order of completion. Default: false.
        pub fn ordered(mut self, ordered: bool) -> Self {
            self.many.set_ordered(ordered);
            self
        }
    };
}
pub(super) use settings_of_many;

/// Awaited, a many-operation whose items have an `index()` is a `Vec` in the order of its input.
macro_rules! awaited_in_order {
    ($operation:ty: $item:ty) => {
        impl IntoFuture for $operation {
            type Output = $crate::Result<Vec<$item>>;
            type IntoFuture = $crate::ops::Operation<Vec<$item>>;

            fn into_future(self) -> Self::IntoFuture {
                $crate::ops::many::collect(self, |one, other| one.index().cmp(&other.index()))
            }
        }
    };
}
pub(super) use awaited_in_order;
