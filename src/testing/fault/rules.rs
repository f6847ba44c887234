use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::HeaderMap;

use super::cleared::Clearing;
use super::effects::Effects;
use super::plan::FaultPlan;
use super::schedule::Counts;
use super::target::Subject;
use crate::testing::answer::Failure;
use crate::testing::call::Call;
use crate::testing::sync::lock;

/// A fault of a server, as [`S3Server::inject`](crate::testing::S3Server::inject) returns it: tells how often it happened.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use s3flow::testing::{Fault, S3Server};
///
/// let server = S3Server::start().await?;
/// let s3 = server.client_builder().build()?.s3().s3root("s3://bucket").build()?;
/// let lost = server.inject(Fault::lose_answer());
/// s3.put("k", "text").await?;
/// assert_eq!(lost.applied(), 1);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct InjectedFault(Tally);

impl InjectedFault {
    /// How often it happened so far.
    ///
    /// A call that was chosen, but to which the fault could do nothing, does not count: a body that was to be closed after
    /// more bytes than it has.
    pub fn applied(&self) -> usize {
        self.0.own.load(Ordering::SeqCst)
    }
}

/// Counts how often a fault, and all of them, took effect.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    own: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
}

impl Tally {
    pub(super) fn applied(&self) {
        self.own.fetch_add(1, Ordering::SeqCst);
        self.all.fetch_add(1, Ordering::SeqCst);
    }
}

/// The faults of a server, with their counts.
#[derive(Debug, Default)]
pub(in crate::testing) struct Faults {
    /// Saves requests the lock while there are none.
    any: AtomicBool,
    applied: Arc<AtomicUsize>,
    clearing: Clearing,
    rules: Mutex<Rules>,
}

#[derive(Debug, Default)]
struct Rules {
    injected: u64,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    number: u64,
    plan: FaultPlan,
    counts: Counts,
    tally: Tally,
}

impl Rule {
    fn is_left(&self) -> bool {
        self.counts.is_left(&self.plan.schedule)
    }
}

impl Faults {
    pub(in crate::testing) fn inject(&self, plan: FaultPlan) -> InjectedFault {
        let tally = Tally { own: Arc::default(), all: Arc::clone(&self.applied) };
        let mut rules = lock(&self.rules);
        let number = rules.injected;
        rules.injected += 1;
        rules.rules.push(Rule { number, plan, counts: Counts::default(), tally: tally.clone() });
        self.any.store(true, Ordering::SeqCst);
        InjectedFault(tally)
    }

    pub(in crate::testing) fn clear(&self) {
        let mut rules = lock(&self.rules);
        rules.rules.clear();
        self.clearing.clear();
        self.any.store(false, Ordering::SeqCst);
    }

    pub(in crate::testing) fn applied(&self) -> usize {
        self.applied.load(Ordering::SeqCst)
    }

    /// Counts a connection, and says whether it is refused.
    pub(in crate::testing) fn refuse(&self) -> bool {
        if !self.any.load(Ordering::SeqCst) {
            return false;
        }
        let mut rules = lock(&self.rules);
        let mut refused = false;
        rules.rules.retain_mut(|rule| {
            let Rule { number: _, plan, counts, tally } = rule;
            if !plan.matches(None) {
                return true;
            }
            if counts.count(&plan.schedule, None).is_some() {
                if !refused {
                    tally.applied();
                }
                refused = true;
            }
            rule.is_left()
        });
        self.any.store(!rules.rules.is_empty(), Ordering::SeqCst);
        refused
    }

    /// Counts the call at every rule that it has not met yet, and adds what bites to `effects`.
    pub(in crate::testing) fn apply(&self, call: &Call, headers: &HeaderMap, effects: &mut Effects) {
        if !self.any.load(Ordering::SeqCst) {
            return;
        }
        let subject = Subject::of(call, headers);
        let mut rules = lock(&self.rules);
        let known = std::mem::replace(&mut effects.known, rules.injected);
        rules.rules.retain_mut(|rule| {
            let Rule { number, plan, counts, tally } = rule;
            if *number < known || !plan.matches(Some(&subject)) {
                return true;
            }
            let chosen = counts.count(&plan.schedule, Some(&subject));
            if let Some(fault) = chosen.and_then(|draw| plan.pick(Some(&subject), draw)) {
                effects.add(fault, tally, &self.clearing.listen());
            }
            rule.is_left()
        });
        self.any.store(!rules.rules.is_empty(), Ordering::SeqCst);
    }

    /// Counts one key of a request for many, at the rules that name it.
    pub(in crate::testing) fn key_fault(&self, call: &Call, key: &str) -> Option<KeyFault> {
        if !self.any.load(Ordering::SeqCst) {
            return None;
        }
        let subject = Subject::one_of_many(call, key);
        let mut rules = lock(&self.rules);
        let mut found = None;
        rules.rules.retain_mut(|rule| {
            let Rule { number: _, plan, counts, tally } = rule;
            if !plan.matches(Some(&subject)) {
                return true;
            }
            let chosen = counts.count(&plan.schedule, Some(&subject));
            if found.is_none()
                && let Some(fault) = chosen.and_then(|draw| plan.pick(Some(&subject), draw))
                && let Some(failure) = fault.action.key_failure()
            {
                tally.applied();
                found = Some(KeyFault { failure, carried_out: fault.carried_out });
            }
            rule.is_left()
        });
        self.any.store(!rules.rules.is_empty(), Ordering::SeqCst);
        found
    }
}

/// What is answered for one key of a request for many.
#[derive(Debug)]
pub(in crate::testing) struct KeyFault {
    pub(in crate::testing) failure: Failure,
    /// Whether the key is served all the same.
    pub(in crate::testing) carried_out: bool,
}
