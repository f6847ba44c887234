//! The code of `proto/blobs.proto`, compiled by a compiler in Rust: `protoc` need not be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const PROTO: &str = "proto/blobs.proto";
    println!("cargo:rerun-if-changed={PROTO}");
    let files = protox::compile([PROTO], ["proto"])?;
    // Chunks are handed on as they are, without a copy into a vector.
    tonic_prost_build::configure().bytes(".").compile_fds(files)?;
    Ok(())
}
