//! How much memory readers take that do not read.

use std::time::Duration;

use s3flow::testing::S3Server;

use crate::program::Program;
use crate::support::{Caller, caller, first, in_time, next, patterned, whole};

const READERS: usize = 64;
const SIZE: usize = 48 << 20;
const LIMIT: u64 = 64 << 20;

/// Of a reader, whatever the object's size: chunks of up to 400 KiB in the connection to S3, on their way, held back until they
/// are compared and being cut into messages; and the messages that HTTP/2 has for it.
const OF_A_READER: u64 = 3 << 20;

/// Together, 3 GiB are asked for. What is read ahead of all readers has an eighth of the memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_slow_readers_of_large_objects_take_bounded_memory() {
    let server = S3Server::start().await.unwrap();
    let bytes = patterned(SIZE);
    server.put_object("bucket", "k", bytes.clone());
    let program = Program::serve(&server, &["--memory", &LIMIT.to_string()]);
    let mut callers: Vec<Caller> = (0..4).map(|_| caller(program.address)).collect();
    let mut one = callers[0].get(whole("k")).await.unwrap().into_inner();
    first(&mut one).await.unwrap();
    drop(one);
    let idle = program.memory("VmRSS");
    let mut readers = Vec::new();
    for number in 0..READERS {
        let mut chunks = callers[number % 4].get(whole("k")).await.unwrap().into_inner();
        first(&mut chunks).await.unwrap();
        readers.push((chunks, 0));
    }
    // Beyond the first MiB, from which on it is read ahead.
    for (chunks, came) in &mut readers {
        while *came < 2 << 20 {
            let chunk = in_time("the next bytes", next(chunks)).await.unwrap().unwrap();
            assert!(chunk == bytes[*came..*came + chunk.len()]);
            *came += chunk.len();
        }
    }
    in_time("it takes no more", program.is_at_rest()).await;
    let peak = program.memory("VmHWM") - idle;
    let bound = LIMIT / 8 + READERS as u64 * OF_A_READER;
    println!(
        "{READERS} readers: {:.1} MiB above idle, {:.0} MiB allowed",
        peak as f64 / 1048576.0,
        bound as f64 / 1048576.0
    );
    assert!(peak < bound, "{peak} of {bound} bytes");

    // Each is still served.
    let (mut chunks, mut came) = readers.pop().unwrap();
    drop(readers);
    while let Some(chunk) = in_time("the next bytes", next(&mut chunks)).await.unwrap() {
        assert!(chunk == bytes[came..came + chunk.len()]);
        came += chunk.len();
    }
    assert_eq!(came, SIZE);
}

impl Program {
    /// Waits until it has used no time for half a second.
    async fn is_at_rest(&self) {
        let mut before = None;
        loop {
            let used = Some(self.processor_time());
            if used == before {
                return;
            }
            before = used;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
