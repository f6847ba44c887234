//! Which calls a fault happens to.

use super::Fault;
use super::chance::Chance;
use super::pattern::Keys;
use crate::testing::operation::Operation;

impl Fault {
    /// Only requests for this operation, or for one of several when it is said more than once.
    pub fn operation(mut self, operation: Operation) -> Self {
        self.target.operations.push(operation);
        self
    }

    /// Only requests for one of these operations.
    pub fn operations(mut self, operations: impl IntoIterator<Item = Operation>) -> Self {
        self.target.operations.extend(operations);
        self
    }

    /// Only requests for this exact key, in any bucket.
    ///
    /// Each key of a DeleteObjects request counts as a call of its own, and [`status`](Self::status) makes it fail
    /// inside of the answer, with this code. Other faults do nothing to one key among many.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.target.keys = Some(Keys::Exact(key.into()));
        self
    }

    /// Only requests for keys that begin with this, in any bucket; otherwise like [`key`](Self::key), in place of which it
    /// comes.
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.target.keys = Some(Keys::Prefix(prefix.into()));
        self
    }

    /// Only requests for keys that match this pattern as a whole, in any bucket; otherwise like [`key`](Self::key), in place
    /// of which it comes.
    ///
    /// `*` stands for any characters, slashes included, and `?` for one character.
    pub fn key_glob(mut self, pattern: impl Into<String>) -> Self {
        self.target.keys = Some(Keys::Glob(pattern.into()));
        self
    }

    /// Only requests with this `partNumber`: one part of a multipart upload, whatever the order in which parts arrive.
    pub fn part_number(mut self, number: u16) -> Self {
        self.target.part = Some(number);
        self
    }

    /// Only GET and HEAD of an object from this byte on: one part of a download in ranges, whatever the order in
    /// which they are asked for. A request without a range begins at 0.
    pub fn first_byte(mut self, offset: u64) -> Self {
        self.target.first_byte = Some(offset);
        self
    }

    /// From the `n`-th matching call on, counted from 1. The default is 1, the next call.
    pub fn on_call(mut self, n: usize) -> Self {
        self.schedule.on_call = n.max(1);
        self
    }

    /// For this many calls; `usize::MAX` for ever. They are in a row, unless it happens at a [rate](Self::rate). The default is
    /// 1, and for ever at a rate.
    pub fn times(mut self, times: usize) -> Self {
        self.schedule.times = Some(times);
        self
    }

    /// To this share of the matching calls, from 0 to 1, drawn for each from the seed and the number of matching calls so far.
    /// The same calls in the same order meet the same faults; see [`per_key`](Self::per_key) for calls whose order varies.
    ///
    /// # Panics
    ///
    /// When `rate` is not a number from 0 to 1.
    pub fn rate(mut self, rate: f64, seed: u64) -> Self {
        self.schedule.chance = Some(Chance::new(rate, seed));
        self
    }

    /// Only to calls beyond so many in a second, without an end unless [`times`](Self::times) says so: with
    /// [`status`](Self::status) 503 and a [`key_prefix`](Self::key_prefix), how S3 throttles a prefix. A tenth of a second may be
    /// caught up with.
    ///
    /// ```
    /// use s3flow::testing::Fault;
    ///
    /// let throttled = Fault::status(503, "SlowDown").key_prefix("logs/").beyond(200);
    /// ```
    pub fn beyond(mut self, calls_per_second: u32) -> Self {
        self.schedule.beyond = Some(calls_per_second);
        self
    }

    /// Counts, and draws, for each object by itself: [`on_call(2)`](Self::on_call) is then the second attempt at each.
    ///
    /// Calls are counted together when they are for the same operation, bucket and key, and the same part number or the same
    /// first byte. So what happens to one object does not depend on the order of requests for others: concurrency does not
    /// change what a seed means.
    pub fn per_key(mut self) -> Self {
        self.schedule.per_key = true;
        self
    }
}
