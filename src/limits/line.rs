//! Who waits for a resource, and whose turn is next: fair queueing between scopes by their weights, and in a scope between its
//! operations.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::num::NonZeroU32;

/// For whom something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) scope: u64,
    pub(super) weight: NonZeroU32,
    pub(super) operation: u64,
}

/// Those who wait. The next one is of the scope that has least for its weight, and there of the operation that has least; of
/// several, the one who came first.
#[derive(Debug)]
pub(super) struct Line<W> {
    scopes: HashMap<u64, Scope<W>>,
    /// Numbers those who come.
    next: u64,
    history: History,
    /// What the scope had that was served last; who comes anew has no less.
    floor: u128,
}

/// What a scope or an operation has is what it holds now, or what it has had since it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum History {
    Held,
    Had,
}

#[derive(Debug)]
struct Scope<W> {
    has: u128,
    operations: HashMap<u64, Operation<W>>,
    /// Operations that wait, with what each has and the number of its first.
    waiting: BTreeSet<(u128, u64, u64)>,
    floor: u128,
}

#[derive(Debug)]
struct Operation<W> {
    has: u128,
    waiting: VecDeque<(u64, Owner, W)>,
}

impl<W> Default for Scope<W> {
    fn default() -> Self {
        Self { has: 0, operations: HashMap::new(), waiting: BTreeSet::new(), floor: 0 }
    }
}

impl<W> Default for Operation<W> {
    fn default() -> Self {
        Self { has: 0, waiting: VecDeque::new() }
    }
}

/// Of an amount, so that it can be divided by a weight.
const UNIT: u128 = 1 << 32;
/// So many that have nothing and want nothing are kept before they are looked for.
const IDLE: usize = 64;

impl<W> Line<W> {
    pub(super) fn new(history: History) -> Self {
        Self { scopes: HashMap::new(), next: 0, history, floor: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.scopes.values().all(|scope| scope.waiting.is_empty())
    }

    pub(super) fn join(&mut self, owner: Owner, waiter: W) {
        let number = self.next;
        self.next += 1;
        let floor = self.floor;
        self.change(owner, |scope, operation| {
            if operation.waiting.is_empty() {
                operation.has = operation.has.max(scope.floor);
                if scope.waiting.is_empty() {
                    scope.has = scope.has.max(floor);
                }
            }
            operation.waiting.push_back((number, owner, waiter));
        });
    }

    /// The one whose turn is next.
    pub(super) fn front(&self) -> Option<(Owner, &W)> {
        let (scope, operation) = self.first()?;
        self.scopes[&scope].operations[&operation].waiting.front().map(|(_, owner, waiter)| (*owner, waiter))
    }

    /// What an operation has.
    pub(super) fn held_by(&self, owner: Owner) -> u64 {
        let operation = self.scopes.get(&owner.scope).and_then(|scope| scope.operations.get(&owner.operation));
        operation.map_or(0, |operation| u64::try_from(operation.has / UNIT).unwrap_or(u64::MAX))
    }

    pub(super) fn pop(&mut self) -> Option<(Owner, W)> {
        let (id, operation) = self.first()?;
        let scope = self.scopes.get_mut(&id)?;
        let (_, owner, _) = scope.operations.get(&operation)?.waiting.front()?;
        let (owner, by_time) = (*owner, self.history == History::Had);
        if by_time {
            self.floor = self.floor.max(scope.has);
        }
        let popped = self.change(owner, |scope, operation| {
            if by_time {
                scope.floor = scope.floor.max(operation.has);
            }
            operation.waiting.pop_front()
        });
        self.forget_idle(id);
        popped.map(|(_, owner, waiter)| (owner, waiter))
    }

    /// `owner` has more.
    pub(super) fn add(&mut self, owner: Owner, amount: u64) {
        let amount = u128::from(amount) * UNIT;
        self.change(owner, |scope, operation| {
            scope.has += amount / u128::from(owner.weight.get());
            operation.has += amount;
        });
    }

    /// `owner` has less.
    pub(super) fn subtract(&mut self, owner: Owner, amount: u64) {
        let amount = u128::from(amount) * UNIT;
        self.change(owner, |scope, operation| {
            scope.has = scope.has.saturating_sub(amount / u128::from(owner.weight.get()));
            operation.has = operation.has.saturating_sub(amount);
        });
        self.forget_idle(owner.scope);
    }

    /// Scope and operation of the one who is next.
    fn first(&self) -> Option<(u64, u64)> {
        let first = |(id, scope): (&u64, &Scope<W>)| {
            let (_, number, operation) = scope.waiting.first()?;
            Some((scope.has, *number, *id, *operation))
        };
        self.scopes.iter().filter_map(first).min().map(|(_, _, scope, operation)| (scope, operation))
    }

    /// Changes what is known of an operation and its scope, and puts it in its new place.
    fn change<T>(&mut self, owner: Owner, change: impl FnOnce(&mut Scope<W>, &mut Operation<W>) -> T) -> T {
        let scope = self.scopes.entry(owner.scope).or_default();
        let mut operation = scope.operations.remove(&owner.operation).unwrap_or_default();
        if let Some((number, ..)) = operation.waiting.front() {
            scope.waiting.remove(&(operation.has, *number, owner.operation));
        }
        let changed = change(scope, &mut operation);
        if let Some((number, ..)) = operation.waiting.front() {
            scope.waiting.insert((operation.has, *number, owner.operation));
        }
        scope.operations.insert(owner.operation, operation);
        changed
    }

    fn forget_idle(&mut self, id: u64) {
        if let Some(scope) = self.scopes.get_mut(&id)
            && scope.operations.len() > IDLE + 2 * scope.waiting.len()
        {
            let floor = scope.floor;
            scope.operations.retain(|_, operation| operation.has > floor || !operation.waiting.is_empty());
        }
        if self.scopes.len() > IDLE {
            let floor = self.floor;
            self.scopes.retain(|_, scope| scope.has > floor || !scope.waiting.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(scope: u64, operation: u64) -> Owner {
        Owner { scope, weight: NonZeroU32::MIN, operation }
    }

    /// Serves so many, each of whom comes again, and each of whom is charged; how often each was served.
    fn serve(line: &mut Line<()>, times: usize, cost: impl Fn(Owner) -> u64) -> HashMap<(u64, u64), usize> {
        let mut served = HashMap::new();
        for _ in 0..times {
            let (owner, ()) = line.pop().unwrap();
            *served.entry((owner.scope, owner.operation)).or_default() += 1;
            line.add(owner, cost(owner));
            line.join(owner, ());
        }
        served
    }

    #[test]
    fn among_equals_the_first_is_first() {
        let mut line = Line::new(History::Held);
        for (number, (scope, operation)) in [(1, 1), (2, 1), (1, 2), (1, 1), (3, 7)].into_iter().enumerate() {
            line.join(owner(scope, operation), number);
        }
        let order: Vec<usize> = std::iter::from_fn(|| line.pop()).map(|(_, number)| number).collect();
        assert_eq!(order, [0, 1, 2, 3, 4]);
        assert!(line.is_empty());
    }

    #[test]
    fn scopes_have_by_their_weights_and_operations_of_a_scope_the_same() {
        let mut line = Line::new(History::Had);
        let heavy = Owner { scope: 2, weight: NonZeroU32::new(3).unwrap(), operation: 1 };
        // The first operation of the first scope has many that wait.
        (0..8).for_each(|_| line.join(owner(1, 1), ()));
        line.join(owner(1, 2), ());
        line.join(heavy, ());
        let served = serve(&mut line, 4000, |_| 1000);
        assert_eq!(served[&(2, 1)], 3000);
        assert!((499..=501).contains(&served[&(1, 1)]), "{served:?}");
        assert!((499..=501).contains(&served[&(1, 2)]), "{served:?}");
    }

    #[test]
    fn who_costs_more_comes_less_often() {
        let mut line = Line::new(History::Had);
        line.join(owner(1, 1), ());
        line.join(owner(2, 1), ());
        let served = serve(&mut line, 1100, |owner| if owner.scope == 1 { 10 } else { 1 });
        assert!((99..=101).contains(&served[&(1, 1)]), "{served:?}");
    }

    #[test]
    fn who_was_away_has_no_credit() {
        let mut line = Line::new(History::Had);
        line.join(owner(1, 1), ());
        serve(&mut line, 1000, |_| 1);
        line.join(owner(2, 1), ());
        let served = serve(&mut line, 100, |_| 1);
        assert!((49..=51).contains(&served[&(2, 1)]), "{served:?}");
    }

    #[test]
    fn who_holds_least_is_next_and_nothing_is_left_of_who_holds_nothing() {
        let mut line = Line::new(History::Held);
        line.add(owner(1, 1), 5);
        line.add(owner(2, 1), 4);
        line.join(owner(1, 1), 'a');
        line.join(owner(2, 1), 'b');
        assert_eq!(line.pop().map(|(_, waiter)| waiter), Some('b'));
        line.add(owner(2, 1), 2);
        line.join(owner(2, 1), 'c');
        assert_eq!(line.front(), Some((owner(1, 1), &'a')));
        assert_eq!((line.held_by(owner(1, 1)), line.held_by(owner(2, 1)), line.held_by(owner(2, 2))), (5, 6, 0));
        line.pop();
        line.pop();
        for number in 0..1000 {
            line.add(owner(number, 1), 1);
            line.subtract(owner(number, 1), 1);
            line.add(owner(1, number + 2), 1);
            line.subtract(owner(1, number + 2), 1);
        }
        let operations: usize = line.scopes.values().map(|scope| scope.operations.len()).sum();
        assert!(operations <= 2 * IDLE + 4, "{operations}");
    }
}
