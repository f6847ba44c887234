//! Tells the program what compiled it: its figures hold for that.

use std::process::Command;

fn main() {
    let rustc = std::env::var_os("RUSTC").expect("cargo sets RUSTC");
    let output = Command::new(rustc).arg("--version").output().expect("rustc was started to compile this");
    let version = String::from_utf8(output.stdout).expect("a version is text");
    println!("cargo:rustc-env=RUSTC_VERSION={}", version.trim());
    println!("cargo:rustc-env=TARGET={}", std::env::var("TARGET").expect("cargo sets TARGET"));
    println!("cargo:rerun-if-changed=build.rs");
}
