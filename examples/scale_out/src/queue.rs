//! The work queue: a JetStream stream with a message for each shard, and one durable consumer that all workers share.
//!
//! It only says who does what. What was done is in S3, so nothing is lost with it.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{self, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, AckKind, Context, Message};
use async_nats::{ConnectErrorKind, ConnectOptions, ServerAddr};
use crc_fast::CrcAlgorithm;
use futures::StreamExt as _;

use crate::error::{Error, Result};
use crate::job::{Job, Task};
use crate::patience::Patience;

const CONSUMER: &str = "workers";

/// Between attempts to reach what is not there.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);

/// The queue of one job.
#[derive(Debug, Clone)]
pub struct Queue {
    context: Context,
    /// Of the stream and of its subject.
    name: String,
}

/// What is in the queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Depth {
    /// Those at work included.
    pub(crate) messages: u64,
    /// How many there ever were.
    pub(crate) last_sequence: u64,
}

/// A shard that was given to this worker for as long as its lease.
#[derive(Debug)]
pub(crate) struct Delivery {
    message: Message,
    lease: Duration,
    /// How often, this time included.
    pub(crate) delivered: i64,
}

impl Queue {
    /// Connects, and goes on trying for as long as `patience`.
    ///
    /// # Errors
    ///
    /// When the URL is none, when nobody answers there in time, or refuses.
    pub async fn connect(url: &str, job: &Job, patience: Duration) -> Result<Self> {
        let address: ServerAddr = url.parse().map_err(|error| Error::queue("the URL", error as std::io::Error))?;
        // Without the password that a URL may have.
        let doing = format!("connecting to {}:{}", address.host(), address.port());
        let mut patience = Patience::new(patience);
        let client = loop {
            let options = ConnectOptions::new().name("scale_out").connection_timeout(Duration::from_secs(5));
            let error = match options.connect(address.clone()).await {
                Ok(client) => break client,
                Err(error) => error,
            };
            let may_come =
                matches!(error.kind(), ConnectErrorKind::Io | ConnectErrorKind::TimedOut | ConnectErrorKind::Dns);
            let error = Error::queue(doing.clone(), error);
            if !may_come {
                return Err(error);
            }
            patience.bear(error).await?;
        };
        Ok(Self { context: jetstream::new(client), name: name(job.place()) })
    }

    /// Makes the queue, unless it is there. A worker has a shard for `lease`, and longer while it says so.
    pub(crate) async fn create(&self, lease: Duration) -> Result<Depth> {
        let doing = || format!("the stream {}", self.name);
        let config = stream::Config {
            name: self.name.clone(),
            subjects: vec![self.name.clone()],
            retention: RetentionPolicy::WorkQueue,
            storage: StorageType::File,
            ..stream::Config::default()
        };
        let stream = self.context.get_or_create_stream(config).await.map_err(|error| Error::queue(doing(), error))?;
        let config = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: lease,
            // How many workers there may be.
            max_ack_pending: -1,
            ..pull::Config::default()
        };
        stream.get_or_create_consumer(CONSUMER, config).await.map_err(|error| Error::queue(doing(), error))?;
        let state = &stream.cached_info().state;
        Ok(Depth { messages: state.messages, last_sequence: state.last_sequence })
    }

    /// Adds a shard. Of several messages with one id within two minutes, the queue takes one.
    pub(crate) async fn publish(&self, task: &Task, id: &str) -> Result<()> {
        let doing = || format!("publishing {id}");
        let publish = PublishMessage::build().message_id(id).payload(serde_json::json!(task).to_string().into());
        let stored = self.context.send_publish(self.name.clone(), publish).await;
        stored.map_err(|error| Error::queue(doing(), error))?.await.map_err(|error| Error::queue(doing(), error))?;
        Ok(())
    }

    /// The next shard, if there is one within `wait`.
    pub(crate) async fn next(&self, wait: Duration) -> Result<Option<Delivery>> {
        let doing = || format!("pulling from {}", self.name);
        let consumer: PullConsumer = self
            .context
            .get_consumer_from_stream(CONSUMER, &self.name)
            .await
            .map_err(|error| Error::queue(doing(), error))?;
        let batch = consumer.batch().max_messages(1).expires(wait).messages().await;
        let mut batch = batch.map_err(|error| Error::queue(doing(), error))?;
        let Some(message) = batch.next().await else { return Ok(None) };
        let message = message.map_err(|error| Error::queue(doing(), error))?;
        let delivered = message.info().map_err(|error| Error::queue(doing(), error))?.delivered;
        Ok(Some(Delivery { message, lease: consumer.cached_info().config.ack_wait, delivered }))
    }

    pub(crate) async fn delete(&self) -> Result<()> {
        let deleted = self.context.delete_stream(&self.name).await;
        deleted.map(|_| ()).map_err(|error| Error::queue(format!("deleting the stream {}", self.name), error))
    }
}

/// Streams have no dots, slashes or spaces in their names.
fn name(place: &str) -> String {
    let last = place.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let readable: String = last.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    format!("{readable}-{:016x}", crc_fast::checksum(CrcAlgorithm::Crc64Nvme, place.as_bytes()))
}

impl Delivery {
    pub(crate) fn payload(&self) -> &[u8] {
        &self.message.payload
    }

    /// Keeps the lease for as long as it is polled.
    pub(crate) async fn keep(&self) -> ! {
        loop {
            tokio::time::sleep(self.lease / 3).await;
            if let Err(error) = self.message.ack_with(AckKind::Progress).await {
                tracing::warn!(%error, "a lease is not extended");
            }
        }
    }

    /// It is done.
    pub(crate) async fn done(&self) {
        self.settle(AckKind::Ack).await;
    }

    /// Somebody may have it, after a while.
    pub(crate) async fn give_back(&self, after: Option<Duration>) {
        self.settle(AckKind::Nak(after)).await;
    }

    /// Nobody shall have it again.
    pub(crate) async fn terminate(&self) {
        self.settle(AckKind::Term).await;
    }

    /// Waits until the queue has heard it. If it does not, the message is delivered again, and S3 tells what became of the shard.
    async fn settle(&self, kind: AckKind) {
        if let Err(error) = self.message.double_ack_with(kind).await {
            tracing::warn!(%error, ?kind, "the queue has not heard what became of a shard");
        }
    }
}
