//! What several test programs share: providers and gateways on loopback, programs beside the
//! tests, and the harness of those whose tests share something expensive.
//!
//! A helper that one program uses stays in its folder. `tests/README.md` says which program is for
//! what.
#![expect(clippy::missing_panics_doc, reason = "a helper fails as its tests do")]

pub mod batch_vendor;
pub mod bench;
pub mod browser;
pub mod gateway;
pub mod harness;
pub mod http;
pub mod machine;
pub mod malformed;
pub mod message_vendor;
pub mod model_servers;
pub mod namespace;
pub mod parts;
pub mod postgres;
pub mod process;
pub mod provider;
pub mod quick_provider;
pub mod random;
pub mod terminal;

use std::path::{Path, PathBuf};

/// The folder of the project.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("tests/support is in it")
}

/// The program under test: that in `IRIS_PROGRAM`, for another build than Cargo's; else the one that Cargo names. A
/// test program that is run by hand lies beside it.
pub fn iris() -> PathBuf {
    for name in ["IRIS_PROGRAM", "CARGO_BIN_EXE_iris"] {
        if let Some(path) = std::env::var_os(name) {
            return path.into();
        }
    }
    let own = std::env::current_exe().expect("this program");
    let built = own.ancestors().nth(2).expect("a folder of builds");
    built.join("iris")
}
