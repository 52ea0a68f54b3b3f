//! How the module is linked.
//!
//! `nodelete`: threads that end and processes that fork call into it for as long as the process
//! lives, so that `dlclose`, which OpenSSL calls when a provider is unloaded, must leave it where it
//! is. No undefined symbols but those of the libraries it names: libcrypto's are not for it to use,
//! since a program may have loaded libcrypto for itself alone (RTLD_LOCAL).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,defs");
    }
}
