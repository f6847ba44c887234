//! What lies between the places that are known: how many keys it probably has, and where.

use super::PROBES;

/// Gaps that differ less than so are worth the same.
const ALIKE: f64 = 0.99;

/// What lies between two stretches.
#[derive(Debug)]
pub(super) struct Gap {
    /// Before this one of the known.
    pub(super) at: usize,
    pub(super) low: String,
    pub(super) high: Option<String>,
    pub(super) left: Edge,
    pub(super) right: Edge,
    /// How many keys it probably has, and how doubtful that is.
    pub(super) mass: f64,
    pub(super) doubt: f64,
    /// How much of it has those keys, from its beginning on, as a binary logarithm: less than all of it where its end is so far beyond the
    /// run before it that this says little.
    pub(super) reach: f64,
    /// Where it probably ends, because other directories end there, if that is not its end.
    pub(super) end: Option<String>,
}

/// What a gap borders on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Edge {
    /// Keys; the binary logarithm of how many there are in a unit of the space.
    Dense(f64),
    /// A place without keys.
    Empty,
    /// Another directory, which says nothing of this one.
    Unknown,
}

impl Gap {
    pub(super) fn new(at: usize, low: String, high: Option<String>, [left, right]: [Edge; 2]) -> Self {
        Self { at, low, high, left, right, mass: 0.0, doubt: 1.0, reach: 0.0, end: None }
    }

    pub(super) fn worth(&self) -> f64 {
        self.mass * self.doubt
    }

    /// Whether it is all of a directory, as far as is known.
    pub(super) fn is_of_unknown_size(&self) -> bool {
        self.left == Edge::Unknown && self.right.density().is_none()
    }

    pub(super) fn is_far(&self) -> bool {
        self.reach < 0.0
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.left == Edge::Unknown && self.right == Edge::Unknown
    }

    /// How many keys there probably are in a gap of such a length, and how doubtful that is.
    pub(super) fn weigh(&self, distance: f64, usual: Option<f64>, page: f64) -> (f64, f64) {
        let (mass, doubt) = match (self.left, self.right) {
            (Edge::Dense(one), Edge::Dense(other)) => {
                let mass = f64::midpoint((distance + one).exp2(), (distance + other).exp2());
                (mass, ((one - other).abs() / 2.0).clamp(0.4, 1.0))
            }
            (Edge::Dense(density), Edge::Unknown) | (Edge::Unknown, Edge::Dense(density)) => {
                ((distance + density).exp2(), 0.5)
            }
            (Edge::Dense(density), Edge::Empty) | (Edge::Empty, Edge::Dense(density)) => {
                ((distance + density).exp2() / 2.0, 1.0)
            }
            (Edge::Empty, Edge::Empty) => (usual.map_or(0.0, |usual| (distance + usual).exp2() / 8.0), 0.5),
            (Edge::Unknown, _) | (_, Edge::Unknown) => {
                (usual.map_or(4.0 * page, |usual| (distance + usual).exp2()), 1.5)
            }
        };
        if mass.is_finite() { (mass, doubt) } else { (page, doubt) }
    }

    /// How far into it so much of its keys lies.
    pub(super) fn share(&self, part: f64) -> f64 {
        match (self.left, self.right) {
            // The density changes evenly: the area of a trapezoid.
            (Edge::Dense(one), Edge::Dense(other)) => {
                let ratio = (other - one).clamp(-20.0, 20.0).exp2();
                let slope = (ratio - 1.0) / 2.0;
                if slope.abs() < 1e-3 {
                    return part;
                }
                ((1.0 + 4.0 * slope * part * (1.0 + slope)).max(0.0).sqrt() - 1.0) / (2.0 * slope)
            }
            (Edge::Dense(_), Edge::Empty) => part / 2.0,
            (Edge::Empty, Edge::Dense(_)) => f64::midpoint(1.0, part),
            _ => part,
        }
    }
}

impl Edge {
    pub(super) fn density(self) -> Option<f64> {
        match self {
            Self::Dense(density) => Some(density),
            Self::Empty | Self::Unknown => None,
        }
    }
}

/// One of the gaps that are worth the same: the first, so that a page shows two directories, and of more than can be looked at so, the
/// middle of those that stand together.
pub(super) fn spread(gaps: &[Gap], worth: f64) -> Option<&Gap> {
    let equal = |gap: &Gap| gap.worth() >= ALIKE * worth;
    let run = gaps.chunk_by(|one, other| equal(one) == equal(other)).filter(|run| equal(&run[0]));
    let longest = run.rev().max_by_key(|run| run.len())?;
    longest.get(if longest.len() > 3 * PROBES { longest.len() / 2 } else { 0 })
}
