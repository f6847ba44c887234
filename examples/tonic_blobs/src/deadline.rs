//! How long a caller waits.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::metadata::MetadataMap;

/// For who does not say.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// tonic ends a call at its deadline with `Cancelled`: a tenth of the time, and no more than this, is left for our answer.
const FOR_THE_ANSWER: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// By the `grpc-timeout` of a call.
    pub(crate) fn of(metadata: &MetadataMap) -> Result<Self, Status> {
        let limit = match metadata.get("grpc-timeout") {
            Some(value) => value
                .to_str()
                .ok()
                .and_then(parse)
                .ok_or_else(|| Status::invalid_argument("grpc-timeout is no duration"))?,
            None => LONGEST,
        };
        let limit = limit.min(LONGEST);
        Ok(Self(Instant::now() + limit - (limit / 10).min(FOR_THE_ANSWER)))
    }

    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// What `future` comes to until then.
    pub(crate) async fn limit<T>(self, future: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        tokio::time::timeout_at(self.0, future).await.unwrap_or_else(|_| Err(expired()))
    }

    /// What `stream` yields until then, to be sent to the caller. A task drops it at the deadline, or when the caller goes
    /// away: a body is not even polled while its reader takes nothing.
    pub(crate) fn limit_stream<T: Send + 'static>(
        self,
        stream: impl Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> ReceiverStream<Result<T, Status>> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut stream = Box::pin(stream);
            let forward = async {
                while let Some(item) = stream.next().await {
                    if sender.send(item).await.is_err() {
                        break;
                    }
                }
            };
            let in_time = tokio::select! {
                () = forward => true,
                () = sender.closed() => true,
                () = tokio::time::sleep_until(self.0) => false,
            };
            drop(stream);
            if !in_time {
                // It may have gone away by now.
                let _ = sender.send(Err(expired())).await;
            }
        });
        ReceiverStream::new(receiver)
    }
}

fn expired() -> Status {
    Status::deadline_exceeded("the deadline is over")
}

/// A number of up to 8 digits and its unit:
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests>
fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.len() > 8 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 60 * 60),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        assert_eq!(parse("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parse("3M"), Some(Duration::from_secs(180)));
        assert_eq!(parse("99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("7u"), Some(Duration::from_micros(7)));
        assert_eq!(parse("0n"), Some(Duration::ZERO));
        for wrong in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", "999999999S", "1 S", "1é"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
