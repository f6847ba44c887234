//! Bodies that do not come at once.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::fault::Pace;

const MIN_SPACES: u32 = 10;

/// When which piece of a body is sent.
#[derive(Debug)]
pub(super) struct Pacer {
    schedule: Schedule,
    pause: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Schedule {
    Trickle { bytes_per_second: u64, sent: u64, start: Option<Instant> },
    Whitespace { declaration: usize, spaces: u32, interval: Duration },
}

/// What is to be sent now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// As many bytes of the body at most.
    Body(usize),
    /// A space that does not belong to the body.
    Space,
}

impl Pacer {
    /// For a body that begins like this.
    pub(super) fn new(pace: Pace, body: &[u8]) -> Self {
        let schedule = match pace {
            Pace::Trickle { bytes_per_second } => Schedule::Trickle { bytes_per_second, sent: 0, start: None },
            Pace::Whitespace { duration } => {
                // One each second at least.
                let spaces = u32::try_from(duration.as_secs()).unwrap_or(u32::MAX).saturating_add(1).max(MIN_SPACES);
                Schedule::Whitespace { declaration: declaration(body), spaces, interval: duration / spaces }
            }
        };
        Self { schedule, pause: None }
    }

    /// Waits until something is to be sent.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        match &mut self.schedule {
            Schedule::Trickle { bytes_per_second, .. } => {
                if let Some(pause) = &mut self.pause {
                    ready!(pause.as_mut().poll(cx));
                    self.pause = None;
                }
                Poll::Ready(Piece::Body(usize::try_from(*bytes_per_second / 10).unwrap_or(usize::MAX).max(1)))
            }
            Schedule::Whitespace { declaration, .. } if *declaration > 0 => Poll::Ready(Piece::Body(*declaration)),
            Schedule::Whitespace { spaces: 0, .. } => Poll::Ready(Piece::Body(usize::MAX)),
            Schedule::Whitespace { spaces, interval, .. } => {
                let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(*interval)));
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
                *spaces -= 1;
                Poll::Ready(Piece::Space)
            }
        }
    }

    /// So many bytes of the body are on their way.
    pub(super) fn sent(&mut self, bytes: usize) {
        match &mut self.schedule {
            Schedule::Trickle { bytes_per_second, sent, start } => {
                *sent += bytes as u64;
                let due = Duration::from_secs_f64(*sent as f64 / *bytes_per_second as f64);
                let start = *start.get_or_insert_with(Instant::now);
                self.pause = Some(Box::pin(tokio::time::sleep_until(start + due)));
            }
            Schedule::Whitespace { declaration, .. } => *declaration = declaration.saturating_sub(bytes),
        }
    }
}

/// The length of the XML declaration with the end of its line.
fn declaration(body: &[u8]) -> usize {
    if !body.starts_with(b"<?xml") {
        return 0;
    }
    body.iter().position(|byte| *byte == b'>').map_or(0, |end| end + 1 + usize::from(body.get(end + 1) == Some(&b'\n')))
}
