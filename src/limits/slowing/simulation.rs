//! Clients of a service that takes so many requests in a second below a prefix, on a simulated clock.

#![allow(clippy::future_not_send, reason = "all of it runs on one thread")]

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::Slowing;
use crate::limits::Flow;

/// What a service takes, and what it does not.
#[derive(Debug, Clone)]
struct Takes {
    in_a_second: f64,
    refuses_one_in: Option<u32>,
    /// Between these seconds, nothing.
    outage: Range<f64>,
    seed: u64,
}

impl Takes {
    fn at_most(in_a_second: f64) -> Self {
        Self { in_a_second, refuses_one_in: None, outage: 0.0..0.0, seed: 1 }
    }
}

/// What answers.
#[derive(Debug)]
struct Service {
    begun: Instant,
    takes: Takes,
    tokens: Cell<f64>,
    at: Cell<Instant>,
    random: RefCell<fastrand::Rng>,
}

impl Service {
    fn takes(&self) -> bool {
        let now = Instant::now();
        let most = (self.takes.in_a_second * CREDIT).max(1.0);
        let passed = (now - self.at.replace(now)).as_secs_f64();
        let tokens = (self.tokens.get() + passed * self.takes.in_a_second).min(most);
        let at_random = self.takes.refuses_one_in.is_some_and(|one| self.random.borrow_mut().u32(0..one) == 0);
        let is_out = self.takes.outage.contains(&(now - self.begun).as_secs_f64());
        let takes = tokens >= 1.0 && !at_random && !is_out;
        self.tokens.set(tokens - f64::from(u8::from(takes)));
        takes
    }
}

/// What a client wants.
#[derive(Debug, Clone, Copy)]
struct Wants {
    from: f64,
    until: f64,
    workers: usize,
    each: usize,
    /// How many in a second all together, at most.
    at_most: f64,
}

impl Default for Wants {
    fn default() -> Self {
        Self { from: 0.0, until: 1e9, workers: 64, each: usize::MAX, at_most: f64::INFINITY }
    }
}

/// When requests were taken and refused, of each client.
#[derive(Debug, Default)]
struct Saw {
    taken: Vec<f64>,
    refused: Vec<f64>,
}

/// What the service lets be caught up with, in seconds.
const CREDIT: f64 = 0.1;
const LATENCY: Duration = Duration::from_millis(4);

async fn client(service: Rc<Service>, wants: Wants, number: u64, begun: Instant, until: f64) -> Saw {
    let saw = Rc::new(RefCell::new(Saw::default()));
    tokio::time::sleep_until(begun + Duration::from_secs_f64(wants.from)).await;
    let slowing = Rc::new(Slowing::default());
    let flow = Flow::default();
    let workers: Vec<_> = (0..wants.workers)
        .map(|worker| {
            let (service, slowing, flow, saw) =
                (Rc::clone(&service), Rc::clone(&slowing), flow.clone(), Rc::clone(&saw));
            let mut random = fastrand::Rng::with_seed((service.takes.seed << 32) | (number * 1000 + worker as u64));
            let until = until.min(wants.until);
            tokio::task::spawn_local(async move {
                let since = || begun.elapsed().as_secs_f64();
                for _ in 0..wants.each {
                    let asked = Instant::now();
                    let mut wait = 0.2;
                    loop {
                        if since() >= until {
                            return;
                        }
                        slowing.wait(&flow, "b", || "p/k").await;
                        let held = flow.begin().await;
                        let sent = Instant::now();
                        tokio::time::sleep(LATENCY / 2).await;
                        let takes = service.takes();
                        let at = since();
                        tokio::time::sleep(LATENCY / 2 + LATENCY.mul_f64(random.f64())).await;
                        if takes {
                            slowing.taken("b", || "p/k", sent);
                            saw.borrow_mut().taken.push(at);
                            break;
                        }
                        slowing.throttled(&flow, "b", "p/k", sent);
                        saw.borrow_mut().refused.push(at);
                        drop(held);
                        tokio::time::sleep(Duration::from_secs_f64(0.5 + wait * (0.5 + random.f64() / 2.0))).await;
                        wait = (wait * 2.0).min(20.0);
                    }
                    let pause = wants.workers as f64 / wants.at_most;
                    tokio::time::sleep_until(asked + Duration::from_secs_f64(pause)).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    saw.take()
}

async fn simulate(takes: Takes, wants: &[Wants], until: f64) -> Vec<Saw> {
    let begun = Instant::now();
    let service = Rc::new(Service {
        begun,
        tokens: Cell::new(takes.in_a_second * CREDIT),
        at: Cell::new(begun),
        random: RefCell::new(fastrand::Rng::with_seed(takes.seed)),
        takes,
    });
    let local = tokio::task::LocalSet::new();
    let wants = wants.to_vec();
    local
        .run_until(async move {
            let clients: Vec<_> = wants
                .iter()
                .enumerate()
                .map(|(number, wants)| {
                    tokio::task::spawn_local(client(Rc::clone(&service), *wants, number as u64, begun, until))
                })
                .collect();
            let mut all = Vec::new();
            for client in clients {
                all.push(client.await.unwrap());
            }
            all
        })
        .await
}

/// How many of these were between the seconds.
fn within(times: &[f64], from: f64, until: f64) -> f64 {
    times.iter().filter(|at| (from..until).contains(*at)).count() as f64
}

/// Of clients in some seconds: what they had together of what was allowed, which share of what they sent was refused, and which
/// part of the mean the one had that had least.
fn shares(saw: &[Saw], allowed: f64, from: f64, until: f64) -> (f64, f64, f64) {
    let taken: Vec<f64> = saw.iter().map(|saw| within(&saw.taken, from, until)).collect();
    let refused: f64 = saw.iter().map(|saw| within(&saw.refused, from, until)).sum();
    let together: f64 = taken.iter().sum();
    let least = taken.iter().copied().fold(f64::INFINITY, f64::min) / (together / taken.len() as f64);
    (together / (allowed * (until - from)), refused / (together + refused), least)
}

#[tokio::test(start_paused = true)]
async fn of_clients_that_begin_together_none_has_less_than_half_of_its_share() {
    for (allowed, clients, seed) in
        [(200.0, 1, 1), (400.0, 2, 1), (400.0, 8, 1), (400.0, 8, 2), (400.0, 8, 3), (400.0, 8, 4), (3500.0, 2, 1)]
    {
        let takes = Takes { seed, ..Takes::at_most(allowed) };
        let saw = simulate(takes, &vec![Wants::default(); clients], 60.0).await;
        let (used, refused, least) = shares(&saw, allowed, 20.0, 60.0);
        println!(
            "{clients} clients, {allowed} requests/s: {used:.2} used, {refused:.3} refused, least share {least:.2}"
        );
        assert!(used > 0.9 && refused < 0.1 && least > 0.5, "{clients} of {allowed}: {used}, {refused}, {least}");
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_come_later_get_their_share_and_those_that_go_leave_theirs() {
    let mut wants = vec![Wants::default(); 8];
    wants[4..].iter_mut().for_each(|wants| wants.from = 20.0);
    wants[..4].iter_mut().for_each(|wants| wants.until = 70.0);
    let saw = simulate(Takes::at_most(400.0), &wants, 110.0).await;
    let (used, refused, least) = shares(&saw, 400.0, 45.0, 70.0);
    assert!(used > 0.9 && refused < 0.1 && least > 0.5, "all: {used}, {refused}, {least}");
    let (used, refused, least) = shares(&saw[4..], 400.0, 85.0, 110.0);
    assert!(used > 0.9 && refused < 0.1 && least > 0.5, "those that stay: {used}, {refused}, {least}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_wants_less_leaves_the_rest_to_the_others() {
    let mut wants = vec![Wants::default(); 8];
    wants[7].at_most = 20.0;
    let saw = simulate(Takes::at_most(400.0), &wants, 60.0).await;
    let (used, refused, _) = shares(&saw, 400.0, 20.0, 60.0);
    assert!(used > 0.9 && refused < 0.1, "{used}, {refused}");
    let least = within(&saw[7].taken, 20.0, 60.0) / 40.0;
    assert!(least > 0.8 * 20.0, "{least} of the 20 that it wants");
}

#[tokio::test(start_paused = true)]
async fn a_short_burst_is_over_soon() {
    for (allowed, gets, soon) in [(50.0, 60, 3.5), (50.0, 30, 2.0), (200.0, 200, 3.0)] {
        let saw =
            simulate(Takes::at_most(allowed), &[Wants { workers: gets, each: 1, ..Wants::default() }], 60.0).await;
        let took = saw[0].taken.iter().copied().fold(0.0, f64::max);
        println!("{gets} gets at {allowed} requests/s: {took:.2} s");
        assert!(saw[0].taken.len() == gets && took < soon, "{gets} at {allowed}: {took}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_refuses_at_random_holds_nobody_up() {
    for one_in in [10, 20, 100] {
        let takes = Takes { refuses_one_in: Some(one_in), ..Takes::at_most(1e9) };
        let saw = simulate(takes, &[Wants::default()], 65.0).await;
        // Each worker waits for 0.65 s at least when it was refused.
        let p = 1.0 / f64::from(one_in);
        let most = 64.0 * (1.0 - p) / (0.006 + p * 0.65);
        let (used, ..) = shares(&saw, most, 5.0, 65.0);
        println!("one in {one_in} refused: {used:.2} of what {most:.0} would be");
        assert!(used > 0.4, "one in {one_in}: {used}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_refuses_one_in_four_is_taken_at_its_word() {
    let takes = Takes { refuses_one_in: Some(4), ..Takes::at_most(1e9) };
    let saw = simulate(takes, &[Wants::default()], 60.0).await;
    let (_, refused, _) = shares(&saw, 1.0, 20.0, 60.0);
    let sent = within(&saw[0].taken, 20.0, 60.0) / (1.0 - refused) / 40.0;
    assert!(sent < 20.0, "{sent} requests/s");
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_what_a_service_takes_is_found_again_in_seconds() {
    for lasts in [2.0, 10.0] {
        let takes = Takes { outage: 10.0..10.0 + lasts, ..Takes::at_most(1000.0) };
        let saw = simulate(takes, &[Wants::default()], 30.0 + lasts).await;
        let since = |seconds: f64| 10.0 + lasts + seconds;
        let (used, ..) = shares(&saw, 1000.0, since(5.0), since(10.0));
        println!("from 5 s to 10 s after an outage of {lasts} s: {used:.2} used");
        assert!(used > 0.8, "{lasts}: {used}");
    }
}
