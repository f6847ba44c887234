use super::Fault;
use super::action::Action;
use super::chance::{Chance, Draw};
use super::schedule::Schedule;
use super::target::Subject;

/// Several faults of which one at most happens to a call: at a rate, and each by its weight. For soak tests.
///
/// Everything is drawn from a seed and a count of calls, so that a seed is a replay: the same calls in the same order meet the
/// same faults. [`per_key`](Self::per_key) makes that hold for each object by itself, when requests for several run at a time.
///
/// The plan counts the calls that any of its faults is about, and draws among those that are about the call. What
/// faults say about operations, keys, parts and bytes is heeded; what they say about counts and rates
/// ([`on_call`](Fault::on_call), [`times`](Fault::times), [`rate`](Fault::rate), [`per_key`](Fault::per_key)) is not: the plan
/// has its own. A plan with [`refuse`](Fault::refuse) refuses connections at its rate, counted apart from requests.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use s3flow::testing::{Fault, FaultPlan, Operation, S3Server};
///
/// let server = S3Server::start().await?;
/// let client = server.client_builder().retries(20).build()?;
/// let s3 = client.s3().s3root("s3://bucket").build()?;
///
/// let seed = 42;
/// let plan = FaultPlan::random(seed, 0.5, [Fault::close_before_answer(), Fault::lose_answer()])
///     // Three times as often as any of the others.
///     .weighted(3, Fault::status(500, "InternalError"))
///     // Only where there is a body worth cutting.
///     .weighted(1, Fault::close_after(3).operation(Operation::GetObject))
///     .per_key();
/// let injected = server.inject(plan);
///
/// for n in 0..10 {
///     let key = format!("key {n}");
///     s3.put(&*key, "some text").await?;
///     assert_eq!(s3.get(&*key).await?.text().await?, "some text");
/// }
/// assert!(injected.applied() > 0);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a plan does nothing until it is given to `S3Server::inject`"]
pub struct FaultPlan {
    faults: Vec<(u32, Fault)>,
    pub(super) schedule: Schedule,
}

impl FaultPlan {
    /// Lets one of these faults happen to this share of the calls that any of them is about, each as often as any other.
    ///
    /// # Panics
    ///
    /// When `rate` is not a number from 0 to 1.
    pub fn random(seed: u64, rate: f64, faults: impl IntoIterator<Item = Fault>) -> Self {
        let schedule = Schedule { chance: Some(Chance::new(rate, seed)), ..Schedule::default() };
        Self { faults: faults.into_iter().map(|fault| (1, fault)).collect(), schedule }
    }

    /// Adds a fault that happens as often as this many of those with the weight 1.
    pub fn weighted(mut self, weight: u32, fault: Fault) -> Self {
        self.faults.push((weight, fault));
        self
    }

    /// Counts, and draws, for each object by itself, as [`Fault::per_key`] does.
    pub fn per_key(mut self) -> Self {
        self.schedule.per_key = true;
        self
    }

    /// From the `n`-th call on, counted from 1. The default is 1.
    pub fn on_call(mut self, n: usize) -> Self {
        self.schedule.on_call = n.max(1);
        self
    }

    /// To this many calls at most. The default is no limit.
    pub fn times(mut self, times: usize) -> Self {
        self.schedule.times = Some(times);
        self
    }

    /// Whether any of the faults is about the call. `None` stands for a connection.
    pub(super) fn matches(&self, subject: Option<&Subject<'_>>) -> bool {
        self.faults.iter().any(|(weight, fault)| *weight > 0 && fault.matches(subject))
    }

    /// The fault that was drawn for a call.
    pub(super) fn pick(&self, subject: Option<&Subject<'_>>, draw: Draw) -> Option<&Fault> {
        let candidates = || self.faults.iter().filter(|(_, fault)| fault.matches(subject));
        let total = candidates().map(|(weight, _)| u64::from(*weight)).sum();
        let mut position = draw.below(total);
        for (weight, fault) in candidates() {
            match position.checked_sub(u64::from(*weight)) {
                Some(rest) => position = rest,
                None => return Some(fault),
            }
        }
        None
    }
}

impl From<Fault> for FaultPlan {
    /// The fault alone, at the calls that it says itself.
    fn from(fault: Fault) -> Self {
        let schedule = fault.schedule.clone();
        Self { faults: vec![(1, fault)], schedule }
    }
}

impl Fault {
    fn matches(&self, subject: Option<&Subject<'_>>) -> bool {
        match (subject, &self.action) {
            (None, action) => matches!(action, Action::Refuse),
            (Some(_), Action::Refuse) => false,
            (Some(subject), _) => self.target.matches(subject),
        }
    }
}
