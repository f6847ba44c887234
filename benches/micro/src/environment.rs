//! What figures depend on beside the code: they are compared where it is the same.

use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::count::valgrind;

#[derive(PartialEq, Serialize, Deserialize)]
pub(crate) struct Environment {
    rustc: String,
    target: String,
    valgrind: String,
    /// Its functions that copy and compare are chosen by the processor.
    libc: String,
    /// As a program below valgrind sees them: libraries choose their code by these.
    processor: String,
}

impl Environment {
    pub(crate) fn here() -> Result<Self> {
        let features = valgrind("none")?.arg(std::env::current_exe()?).arg("features").output();
        Ok(Self {
            rustc: env!("RUSTC_VERSION").to_owned(),
            target: env!("TARGET").to_owned(),
            valgrind: said("valgrind", Command::new("valgrind").arg("--version").output())?,
            libc: said("getconf", Command::new("getconf").arg("GNU_LIBC_VERSION").output())?,
            processor: said("valgrind", features)?,
        })
    }

    /// What is another in this one, with both values.
    pub(crate) fn differences(&self, baseline: &Self) -> Vec<String> {
        let fields = |of: &Self| [&of.rustc, &of.target, &of.valgrind, &of.libc, &of.processor].map(String::clone);
        let names = ["rustc", "target", "valgrind", "libc", "processor"];
        let all = names.into_iter().zip(fields(self)).zip(fields(baseline));
        all.filter(|((_, here), there)| here != there)
            .map(|((name, here), there)| format!("{name}: {here:?} here, {there:?} in the baseline"))
            .collect()
    }
}

fn said(program: &str, output: std::io::Result<std::process::Output>) -> Result<String> {
    let output = output.map_err(|error| format!("{program} could not be started: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?.trim().to_owned()),
        false => Err(format!("{program} failed: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// Those of the processor that hashing, checksums and searching are written for.
#[cfg(target_arch = "x86_64")]
pub(crate) fn features() -> Vec<&'static str> {
    macro_rules! present {
        ($($name:tt),*) => { [$(($name, std::arch::is_x86_feature_detected!($name))),*] };
    }
    let all = present!(
        "sse4.1",
        "sse4.2",
        "ssse3",
        "pclmulqdq",
        "vpclmulqdq",
        "avx",
        "avx2",
        "avx512f",
        "bmi2",
        "sha",
        "ermsb"
    );
    all.into_iter().filter_map(|(name, present)| present.then_some(name)).collect()
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn features() -> Vec<&'static str> {
    vec!["of the target"]
}
